"""Calls are not written down where they depend on values or cannot be seen, whatever NumPy offers."""

from __future__ import annotations

import numpy as np
import pytest
from to_freeze import replayed

from core.frozen.replay import WORTH_WRITING_DOWN, Replay, write_down
from core.layers import Flatten, Layer


class Looks(Flatten):
    """A layer whose calls depend on what it sees."""

    def forward(self, x, train=False):
        return super().forward(x * 2 if x.flat[0] > 0 else x, train)


class Compares(Flatten):
    def forward(self, x, train=False):
        return super().forward(x * 2 if (x > 0).all() else x, train)


class Masks(Flatten):
    def forward(self, x, train=False):
        y = np.copy(super().forward(x, train))
        y[y > 0] = 1 - y[y > 0]
        return y


class Chooses(Flatten):
    def forward(self, x, train=False):
        return super().forward(x, train) * len(np.copy(x)[x > 0])


class Hides(Flatten):
    """A layer that works on memory of which nobody sees that it is written to."""

    def forward(self, x, train=False):
        unseen = np.frombuffer(bytearray(x.tobytes()), x.dtype).reshape(x.shape)
        return super().forward(np.add(unseen, 1, out=self.workspace("y", x.shape, like=x)), train)


@pytest.mark.parametrize("kind", [Looks, Compares, Masks, Chooses, Hides])
def test_what_depends_on_values_or_cannot_be_seen_is_not_written_down(kind):
    layer = kind()
    assert write_down(layer, np.ones((2, 3))) is None
    assert write_down(layer, np.ones((1, 1))) is None  # so small that masks of other inputs may choose as much
    replay = Replay(layer)
    for _ in range(WORTH_WRITING_DOWN + 2):
        for sign in (1, -1):
            x = sign * np.ones((2, 3))
            np.testing.assert_array_equal(replay.forward(x), layer.forward(x))


def keep_largest(x):
    return x * (np.arange(x.shape[1]) == x.argmax(axis=1)[:, None])


def keep_largest_by_function(x):
    return np.where(np.arange(x.shape[1]) == np.argmax(x, axis=1)[:, None], x, 0)


def in_order(x):
    return np.take_along_axis(x, x.argsort(axis=1), axis=1)


def sort(x):
    y = x.copy()
    y.sort(axis=1)
    return y


def halve_above_the_middle(x):
    y = x.copy()
    y.partition(1, axis=1)
    return np.where(x > y[:, 1:2], x / 2, x)


def spread(x):
    rows, columns = np.nonzero(x > 0)
    return np.add.reduce(x, axis=1, keepdims=True) * len(rows) + columns.sum()


def count(x):
    return x * np.count_nonzero(x > 0)


def count_once(x):
    return x + len(np.unique(np.sign(x)))


def pick(x):
    return x + np.flatnonzero(x > 0).sum()


def up_to(x):
    return x.cumsum(axis=1) - np.cumsum(x[:, ::-1], axis=1)


def rounded(x):
    return x.round(1)


def search(x):
    return x + np.arange(4.0).searchsorted(x) + np.searchsorted(np.arange(4.0), x)


class Does(Layer):
    def __init__(self, what):
        super().__init__()
        self.what = what

    def forward(self, x, train=False):
        y = self.workspace("y", x.shape, like=x)
        y[...] = self.what(x)
        return y


DOINGS = [keep_largest, keep_largest_by_function, in_order, sort, halve_above_the_middle, spread, count, count_once]


@pytest.mark.parametrize("what", [*DOINGS, pick, up_to, rounded, search])
@pytest.mark.parametrize("place", range(3))
def test_whatever_numpy_can_do_the_answers_stay_right(what, place):
    layer, rng = Does(what), np.random.default_rng(1)
    # One of these resembles the input by which the calls are proved: there, too, the largest number is in this place.
    replay = replayed(layer, np.roll([[1.0, 0.1, -0.2]], place))
    for _ in range(20):
        x = rng.standard_normal((1, 3))
        np.testing.assert_allclose(replay.forward(x), layer.forward(x), rtol=1e-6)


@pytest.mark.parametrize("what", [keep_largest, keep_largest_by_function, in_order, up_to])
def test_places_and_running_sums_can_be_written_down(what):
    assert write_down(Does(what), np.ones((2, 3))) is not None
