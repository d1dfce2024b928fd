"""Draws that depend on where they are used, not on what was drawn before."""

import numpy as np

from core.layers import Dropout
from core.random import Stream


def test_draws_are_the_same_after_going_back():
    stream = Stream(7)
    stream.seek(3, 5)
    first = stream.uint16(1, 4, 50).copy()
    stream.seek(3, 6)
    assert (stream.uint16(1, 4, 50) != first).any()
    stream.seek(3, 5)
    np.testing.assert_array_equal(stream.uint16(1, 4, 50), first)
    np.testing.assert_array_equal(Stream(7).generator(1).random(5), Stream(7).generator(1).random(5))


def test_dropout_repeats_its_mask_until_the_stream_is_moved_on_and_says_so():
    stream, x = Stream(0), np.ones((4, 50), np.float32)
    layer = Dropout(0.5, stream=stream)
    first = layer.forward(x, train=True).copy()
    np.testing.assert_array_equal(layer.forward(x, train=True), first)
    stream.seek(0, 1)
    assert (layer.forward(x, train=True) != first).any()
    assert "stream.seek(epoch, batch)" in str(Dropout.__doc__)
    assert "stream.seek(epoch, batch)" in str(Stream.__doc__)


def test_every_coordinate_of_the_place_matters():
    draws = []
    for seed, epoch, batch, salt in [(0, 0, 0, 1), (1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1), (0, 0, 0, 2)]:
        stream = Stream(seed)
        stream.seek(epoch, batch)
        draws += [stream.uint16(salt, 3, 40).tobytes(), stream.generator(salt).bytes(240)]
    assert len(set(draws)) == len(draws)


def test_rows_do_not_depend_on_the_shard():
    whole = Stream(1)
    expected = whole.uint16(1, 10, 23)
    shard = Stream(1)
    shard.follow(whole, first_row=4)
    np.testing.assert_array_equal(shard.uint16(1, 6, 23), expected[4:])


def test_what_is_drawn_for_other_rows_than_the_shards_is_no_other_shards():
    """Such as 30 steps of the shard's 4 sequences: its draws began among those of the shard before."""
    whole, shards = Stream(1), (Stream(1), Stream(1))
    drawn = []
    for number, shard in enumerate(shards):
        shard.follow(whole, first_row=4 * number, rows=4)
        drawn += [row.tobytes() for row in shard.uint16(1, 30, 23)]
    assert len(set(drawn)) == 60


def test_draws_are_uniform():
    draws = Stream(2).uint16(1, 1000, 1000)
    assert draws.dtype == np.uint16
    counts = np.histogram(draws, bins=16, range=(0, 65536))[0]
    chi_squared = ((counts - 62_500) ** 2 / 62_500).sum()  # 15 degrees of freedom
    assert chi_squared < 40


def test_dropout_keeps_the_expectation_and_the_rate():
    layer = Dropout(0.3, stream=Stream(0))
    y = layer.forward(np.ones((1000, 400), np.float32), train=True)
    kept = y != 0
    assert abs(kept.mean() - 0.7) < 0.003
    np.testing.assert_allclose(y[kept], 1 / 0.7, rtol=1e-4)
    dx = layer.backward(np.ones_like(y))
    np.testing.assert_array_equal(dx, y)


def test_a_rate_next_to_one_keeps_few():
    x = np.ones((300, 1000), np.float32)
    y = Dropout(0.9999999, stream=Stream(1)).forward(x, train=True)
    assert 0 < np.count_nonzero(y) < 20  # one of 65,536
    assert y.max() == 65536


def test_two_dropouts_drop_different_things():
    stream, x = Stream(0), np.ones((50, 50), np.float32)
    first, second = Dropout(0.5, stream=stream), Dropout(0.5, stream=stream)
    assert (first.forward(x, train=True) != second.forward(x, train=True)).any()


def test_no_dropout_in_inference():
    x = np.ones((3, 3), np.float32)
    assert Dropout(0.5, stream=Stream(0)).forward(x) is x
