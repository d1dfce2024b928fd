import json
import string

import numpy as np
import pytest

from core.data.synthetic import (
    SHAPE_CLASSES,
    STROKE_CLASSES,
    characters,
    digits,
    features,
    strokes,
    textured_shapes,
)


def capitals(n, seed):
    return characters(string.ascii_uppercase, n, seed)


IMAGE_MAKERS = [
    (digits, 10, (28, 28)),
    (capitals, 26, (28, 28)),
    (textured_shapes, len(SHAPE_CLASSES), (32, 32, 3)),
]


@pytest.mark.parametrize(("make", "classes", "shape"), IMAGE_MAKERS)
def test_images_have_the_format_of_what_they_stand_for(make, classes, shape):
    images, labels = make(3 * classes + 2, seed=1)
    assert images.dtype == np.uint8
    assert images.shape == (3 * classes + 2, *shape)
    assert labels.dtype == np.int64
    counts = np.bincount(labels)
    assert len(counts) == classes
    assert np.ptp(counts) == 1
    assert (np.diff(labels) != 0).any()
    assert (np.diff(labels) < 0).any()  # shuffled


@pytest.mark.parametrize("make", [digits, capitals, textured_shapes, features, strokes])
def test_the_same_seed_makes_the_same_data(make):
    first, again, other = make(40, seed=3), make(40, seed=3), make(40, seed=4)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_equal(a, b)
    assert not np.array_equal(first[1], other[1])


@pytest.mark.parametrize("make", [digits, capitals, textured_shapes, features, strokes])
def test_nothing_asked_for_is_nothing_made(make):
    samples, labels = make(0, seed=0)
    assert len(samples) == len(labels) == 0


def test_digits_look_like_mnist():
    images, _ = digits(500, seed=0)
    ink = images / 255
    mass = ink.sum(axis=(1, 2))
    coordinates = np.arange(28)
    for axis in (1, 2):
        centre = ink.sum(axis=axis) @ coordinates / mass
        assert np.abs(centre - 13.5).max() < 1  # centred by mass to whole pixels, before strokes are saturated
        assert np.abs(centre - 13.5).mean() < 0.35
    border = np.ones((28, 28), bool)
    border[2:-2, 2:-2] = False
    assert (images[:, border] > 0).mean() < 0.02
    assert 0.05 < ink.mean() < 0.3
    assert (images == 0).mean() > 0.5
    assert images.max() == 255


def nearest_centre_accuracy(make, n=1500):
    (x, y), (x_test, y_test) = make(n, seed=0), make(500, seed=1)
    x, x_test = (a.reshape(len(a), -1).astype(np.float64) for a in (x, x_test))
    scale = x.std(axis=0) + 1e-9
    centres = np.stack([x[y == label].mean(axis=0) for label in range(y.max() + 1)])
    distance = np.square((x_test[:, None] - centres) / scale).sum(axis=2)
    return (distance.argmin(axis=1) == y_test).mean()


@pytest.mark.parametrize(("make", "least"), [(digits, 0.6), (capitals, 0.55), (features, 0.6)])
def test_what_is_learnt_on_one_seed_holds_on_another(make, least):
    assert nearest_centre_accuracy(make) > least


def test_features_are_noisy_and_of_very_different_scales():
    rows, _ = features(300, seed=0)
    assert rows.dtype == np.float32
    assert rows.shape == (300, 57)
    assert rows.std(axis=0).max() > 1000 * rows.std(axis=0).min()
    assert nearest_centre_accuracy(features) < 1
    assert set(features(60, 0, columns=4, classes=3)[1]) == {0, 1, 2}


def test_equal_characters_differ_from_each_other():
    images, labels = characters("A", 50, seed=0)
    assert (labels == 0).all()
    assert len(np.unique(images.reshape(50, -1), axis=0)) == 50
    varied = images.astype(float).std(axis=0)
    assert varied.max() > 60


def test_small_characters_stay_small():
    images, labels = characters(["-", ".", "8"], 90, seed=0)
    ink = [(images[labels == label] / 255).sum(axis=(1, 2)).mean() for label in range(3)]
    assert max(ink[:2]) < 0.5 * ink[2]


def test_characters_that_cannot_be_drawn_are_refused():
    with pytest.raises(ValueError, match="draws nothing for ' '"):
        characters([" "], 3, seed=0)
    with pytest.raises(ValueError, match="characters to draw"):
        characters([], 3, seed=0)
    with pytest.raises(ValueError, match="n >= 0, got 1 and -1"):
        characters("A", -1, seed=0)


def test_the_colours_of_textured_shapes_do_not_give_the_class_away():
    images, labels = textured_shapes(2000, seed=0)
    means = np.stack([images[labels == label].mean(axis=(0, 1, 2)) for label in range(len(SHAPE_CLASSES))])
    assert np.ptp(means, axis=0).max() < 16
    assert images.std() > 40


def test_strokes_have_the_form_of_simplified_quick_draw_data():
    drawings, labels = strokes(60, seed=0)
    assert labels.dtype == np.int64
    assert np.ptp(np.bincount(labels)) == 0
    assert len(np.bincount(labels)) == len(STROKE_CLASSES)
    assert json.loads(json.dumps(drawings)) == drawings  # plain lists of plain integers
    for drawing in drawings:
        points = np.concatenate([np.array(stroke) for stroke in drawing], axis=1)
        assert points.min() == 0
        assert points.max() == 255
        assert (points.min(axis=1) == 0).all()
        for x, y in drawing:
            assert len(x) == len(y) >= 2


def test_strokes_of_one_class_differ_but_share_their_number_of_strokes():
    drawings, labels = strokes(200, seed=0)
    cross, house = (STROKE_CLASSES.index(name) for name in ("cross", "house"))
    for label, expected in ((cross, 2), (house, 3)):
        mine = [drawing for drawing, of in zip(drawings, labels, strict=True) if of == label]
        assert {len(drawing) for drawing in mine} == {expected}
        assert len({json.dumps(drawing) for drawing in mine}) == len(mine)
