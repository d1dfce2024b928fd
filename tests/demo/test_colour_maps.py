"""Explanations of answers about colour pictures: where, what when covered, and the filters as pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from core.demo.colour_maps import ClassActivation, filter_mosaic, over_picture
from core.demo.occlusion import GREY, occlude
from core.demo.upload import colour_square, open_colour
from core.errors import UserError
from core.layers import BatchNorm, Conv2d, GlobalAvgPool, Linear, ReLU, Sequential

RNG = np.random.default_rng(0)


def test_behind_a_mean_over_all_places_it_is_the_class_activation_map():
    """Zhou et al.: the weighted sum of the maps, with the weights of the answer."""
    features = Sequential(Conv2d(3, 5, 3, padding=1, rng=RNG), BatchNorm(5), ReLU())
    linear = Linear(5, 4, rng=RNG)
    x = RNG.standard_normal((1, 6, 6, 3)).astype(np.float32)
    found = ClassActivation(features, Sequential(GlobalAvgPool(), linear))(x)
    maps = features.forward(x)[0]  # (6, 6, 5)
    logits = linear.forward(maps.mean(axis=(0, 1))[None])[0]
    k = int(logits.argmax())
    weights = linear.weight.data
    expected = maps @ (weights[:, k] - (weights.sum(axis=1) - weights[:, k]) / 3) / 36
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert found.shape == (6, 6)


def test_a_map_is_enlarged_over_the_grey_picture():
    picture = np.full((32, 32, 3), 200, np.uint8)
    values = np.zeros((4, 4))
    values[0, 0], values[3, 3] = 1, -1
    shown = over_picture(picture, values)
    assert shown.shape == (32, 32, 3)
    assert shown[2, 2, 2] > shown[2, 2, 0], "blue where it is above 0"
    assert shown[29, 29, 0] > shown[29, 29, 2], "orange where it is below"


def sees_red(pictures: np.ndarray) -> np.ndarray:
    """Probabilities of "red at the top left" and of nothing."""
    red = (pictures[:, :8, :8, 0].astype(float) - pictures[:, :8, :8, 1]).mean(axis=(1, 2)) / 255
    return np.stack([red, 1 - red], axis=1)


def test_covering_what_counts_changes_the_answer():
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:8, :8, 0] = 255
    found = occlude(sees_red, picture)
    top, left = np.unravel_index(found.drop.argmax(), found.drop.shape)
    assert max(top, left) < 8
    assert found.drop[20:, 20:].max() == 0
    assert (found.worst[:8, :8] == GREY).all()
    np.testing.assert_array_equal(found.worst[8:], picture[8:])
    np.testing.assert_allclose(found.worst_probabilities, [0, 1])
    assert 0 < found.changed < 0.2
    assert (picture[:8, :8, 0] == 255).all(), "the picture itself stays"


def test_nothing_changes_an_answer_that_looks_nowhere():
    found = occlude(lambda pictures: np.tile([0.7, 0.3], (len(pictures), 1)), np.zeros((32, 32, 3), np.uint8))
    assert found.changed == 0
    assert not found.drop.any()


def test_a_picture_smaller_than_the_patch_is_refused():
    with pytest.raises(ValueError, match="at least 8x8 pixels, got 6x9"):
        occlude(lambda pictures: np.ones((len(pictures), 2)) / 2, np.zeros((6, 9, 3), np.uint8))


def test_each_filter_fills_the_scale_by_itself():
    filters = np.zeros((3, 3, 3, 4), np.float32)
    filters[1, 1, 0, 0], filters[1, 1, 2, 1], filters[0, 0, :, 3] = 1e-3, -5, 2
    mosaic = filter_mosaic(filters)
    assert mosaic.shape == (7, 7, 3)
    assert tuple(mosaic[1, 1]) == (255, 128, 128)
    assert tuple(mosaic[1, 5]) == (128, 128, 0)
    assert tuple(mosaic[4, 4]) == (255, 255, 255)


def test_the_strongest_of_many_filters_are_shown():
    filters = RNG.standard_normal((4, 4, 3, 100)) * np.arange(100)
    assert filter_mosaic(filters, most=16).shape == (4 * 5 - 1, 4 * 5 - 1, 3)


@pytest.mark.parametrize(("size", "side"), [((100, 60), 32), ((20, 31), 32), ((32, 32), 32), ((1, 500), 32)])
def test_the_middle_square_is_kept(size, side):
    picture = np.zeros((*size, 3), np.uint8)
    picture[size[0] // 2, size[1] // 2] = 255
    assert colour_square(picture, side).shape == (side, side, 3)


def test_a_picture_of_the_right_size_stays_as_it_is(tmp_path):
    picture = RNG.integers(0, 256, (32, 32, 3)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    np.testing.assert_array_equal(colour_square(open_colour(tmp_path / "picture.png"), 32), picture)


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="not a picture"):
        open_colour(tmp_path / "x.png")
