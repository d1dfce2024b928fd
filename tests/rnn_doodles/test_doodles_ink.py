"""Ink, its augmentation, its encoding, and batches of like length."""

import numpy as np
import pytest
from tiny_doodles import some_drawings

from core.data.quickdraw import MIN_POINTS, Drawings
from rnn_doodles.augment import Augment
from rnn_doodles.buckets import Buckets
from rnn_doodles.ink import UNIT, Ink, encode

ALL = {"rotate": 20, "stretch": 0.3, "jitter": 0.02, "drop_strokes": 0.3, "drop_points": 0.3, "flip": True}


def drawing(*strokes):
    points = [[x, y, place == len(stroke) - 1] for stroke in strokes for place, (x, y) in enumerate(stroke)]
    return Drawings(np.array(points, np.uint8), np.array([len(points)], np.uint16))


def ink_of(n=50):
    return Ink.of(some_drawings(200)[0][:n])


def test_encoding_is_movement_in_tenths_of_the_longer_side():
    x = encode(Ink.of(drawing([(0, 0), (100, 0)], [(100, 50), (200, 100)])))
    assert x.rows.dtype == np.float32
    movements = [[-5, -2.5, 0], [5, 0, 1], [0, 2.5, 0], [5, 2.5, 1]]
    np.testing.assert_allclose(x.to_padded()[0], movements, atol=1e-6)
    assert UNIT == 0.1


def test_size_and_place_do_not_matter():
    ink = ink_of()
    moved = Ink(ink.xy * 0.37 + np.array([31, -7], np.float32), ink.lifted, ink.lengths)
    np.testing.assert_allclose(encode(moved).rows, encode(ink).rows, atol=1e-4)


def test_the_pen_is_lifted_at_the_end_also_of_a_drawing_that_was_cut():
    begun = some_drawings(200)[0].beginnings(0.4)
    x = encode(Ink.of(begun)).to_padded()
    assert (x[np.arange(len(begun)), begun.lengths.astype(int) - 1, 2] == 1).all()


def test_a_dot_can_be_encoded():
    assert np.isfinite(encode(Ink.of(drawing([(7, 7)] * 6))).rows).all()


def test_without_distortions_nothing_changes():
    ink = ink_of()
    same = Augment()(ink, np.random.default_rng(0))
    np.testing.assert_allclose(encode(same).rows, encode(ink).rows, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_each_distortion_distorts_and_is_decided_by_the_generator(name):
    augment, ink = Augment(**{name: ALL[name]}), ink_of()
    first, again, other = (augment(ink, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(encode(first).rows, encode(again).rows)
    assert len(first.lengths) == len(ink.lengths)
    assert len(first.lifted) == len(first.xy) == first.lengths.sum()
    assert first.lengths.min() >= MIN_POINTS
    assert not np.array_equal(first.xy, other.xy)


def test_a_rotation_turns_by_at_most_the_angle_and_keeps_lengths():
    ink = ink_of()
    turned = Augment(rotate=20)(ink, np.random.default_rng(0))
    before, after = np.diff(ink.xy[:20], axis=0), np.diff(turned.xy[:20], axis=0)
    np.testing.assert_allclose(np.hypot(*after.T), np.hypot(*before.T), rtol=1e-4)
    angle = np.degrees(np.angle((after @ [1, 1j]) / (before @ [1, 1j])))
    assert angle.std() < 1e-2
    assert 0.1 < abs(angle.mean()) < 20


def test_a_flip_mirrors_half_of_the_drawings():
    ink = ink_of(200)
    flipped = Augment(flip=True)(ink, np.random.default_rng(0))
    low, high = ink.box()
    middle = ((low + high) / 2)[ink.drawing_of_point()]
    mirrored = (flipped.xy - (ink.xy - middle) * [-1, 1])[ink.starts].round(3) == 0
    assert 70 < mirrored.all(axis=1).sum() < 130


def test_dropped_strokes_go_as_a_whole_and_lifts_stay():
    square, dots = [(0, 0), (9, 0), (9, 9), (0, 9)], [(50, 50), (60, 60)]
    ink = Ink.of(drawing(square, dots, square))
    seen = set()
    for seed in range(60):
        thin = Augment(drop_strokes=0.4)(ink, np.random.default_rng(seed))
        assert thin.lengths[0] >= MIN_POINTS
        assert thin.lifted[-1]
        seen.add((int(thin.lengths[0]), int(thin.lifted.sum())))
    assert seen == {(10, 3), (8, 2), (6, 2)}


def test_dropped_points_leave_the_lifts_where_they_are():
    ink = ink_of(200)
    thin = Augment(drop_points=0.4)(ink, np.random.default_rng(0))
    assert thin.lifted.sum() == ink.lifted.sum()
    assert len(thin.xy) < 0.8 * len(ink.xy)


def test_buckets_keep_every_row_and_sort_by_length():
    lengths = np.random.default_rng(0).integers(6, 250, 1000)
    rows = np.random.default_rng(1).permutation(1000)[:930]
    order = np.random.default_rng(2).permutation(930)
    plain, buckets = (Buckets(rows, lengths, 32, bucket) for bucket in (0, 10))
    assert len(buckets) == 930
    np.testing.assert_array_equal(plain[order], rows[order])
    arranged = buckets[order]
    assert sorted(arranged) == sorted(rows)
    np.testing.assert_array_equal(buckets[order], arranged)
    spread = [np.ptp(lengths[arranged[start : start + 32]]) for start in range(0, 930, 32)]
    assert np.mean(spread) < 60
    assert np.corrcoef(lengths[arranged], np.arange(930))[0, 1] < 0.3
