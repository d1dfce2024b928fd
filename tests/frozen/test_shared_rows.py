"""Many rows through a frozen network, a part of them on each worker: the answers are those of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from to_freeze import BUILDERS, images, perceptron, replayed, trained

from core.fastest import TRIES
from core.frozen import replay as replaying
from core.frozen.calls import Calls
from core.frozen.shared_rows import FEWEST_ROWS, SharedRows, stretches_of
from core.layers import Layer, Linear, Sequential
from core.workers import set_threads

ROWS = 2 * FEWEST_ROWS + 3

pytestmark = pytest.mark.usefixtures("two_workers", "little_is_worth_sharing")


@pytest.fixture
def little_is_worth_sharing(monkeypatch):
    monkeypatch.setattr(replaying, "MULTIPLICATIONS_WORTH_SHARING", 1)


def calls_of(replay):
    (calls,) = replay._calls.values()
    return calls


@pytest.mark.parametrize("build", BUILDERS)
def test_both_ways_answer_as_the_network_does(build, runs):
    network = trained(build)
    replay = replayed(network, images(ROWS))
    assert isinstance(calls_of(replay), SharedRows)
    del runs[:]
    for seed in range(3 * TRIES):
        x = np.random.default_rng(seed).standard_normal((ROWS, 4, 4, 3))
        np.testing.assert_allclose(replay.forward(x), network.forward(x), rtol=0, atol=1e-10)
    assert len(runs) >= TRIES


def test_few_rows_and_workers_themselves_share_nothing():
    assert [len(stretches_of(rows, 2)) for rows in (1, 2 * FEWEST_ROWS - 1, 2 * FEWEST_ROWS)] == [0, 0, 2]
    assert stretches_of(1000, 1) == []
    assert stretches_of(100, 3) == [slice(0, 33), slice(33, 66), slice(66, 100)]
    network, few = trained(perceptron), images(2 * FEWEST_ROWS - 1)
    assert isinstance(calls_of(replayed(network, few)), Calls)
    set_threads(1)
    assert isinstance(calls_of(replayed(network, images(ROWS))), Calls)


@pytest.mark.parametrize(("least", "kind"), [(0, SharedRows), (1, Calls)])
def test_only_an_answer_with_enough_multiplications_is_shared(least, kind, monkeypatch):
    network = Sequential(Linear(5, 7, rng=np.random.default_rng(0)), Linear(7, 3, rng=np.random.default_rng(1)))
    monkeypatch.setattr(replaying, "MULTIPLICATIONS_WORTH_SHARING", ROWS * (5 * 7 + 7 * 3) + least)
    x = np.random.default_rng(2).standard_normal((ROWS, 5)).astype(np.float32)
    assert isinstance(calls_of(replayed(network, x)), kind)


def test_after_another_number_of_workers_the_answers_are_right(runs):
    network, x = trained(perceptron), images(ROWS)
    replay = replayed(network, x)
    set_threads(1)
    del runs[:]
    for _ in range(3 * TRIES):
        np.testing.assert_allclose(replay.forward(x), network.forward(x), rtol=0, atol=1e-10)
    assert not runs


def test_other_workers_get_parts_of_their_own(runs):
    network, x = trained(perceptron), images(3 * FEWEST_ROWS)
    replay = replayed(network, x)
    before = calls_of(replay)
    set_threads(3)
    del runs[:]
    for _ in range(3 * TRIES):
        np.testing.assert_allclose(replay.forward(x), network.forward(x), rtol=0, atol=1e-10)
    assert calls_of(replay) is not before
    assert len(runs) >= TRIES


class Mixes(Layer):
    """An answer that is not the same for a part of the rows."""

    def __init__(self, mix):
        super().__init__()
        self.mix = mix

    def forward(self, x, train=False):
        return self.mix(x)


MIXING = {
    "ranks": lambda x: x.argsort(axis=0).argsort(axis=0) + x * 0,
    "the first three rows": lambda x: x[:3].copy(),
    "half of the rows": lambda x: x[: len(x) // 2].copy(),
    "the sum of each column": lambda x: x.sum(axis=0),
    "the sum of all": lambda x: x.sum(keepdims=True),
}


@pytest.mark.parametrize("mix", MIXING)
def test_a_network_that_mixes_rows_answers_them_together(mix):
    network = Sequential(Linear(48, 5, rng=np.random.default_rng(0), dtype=np.float64), Mixes(MIXING[mix]))
    x = images(ROWS).reshape(ROWS, 48)
    replay = replayed(network, x)
    assert isinstance(calls_of(replay), Calls)
    np.testing.assert_array_equal(replay.forward(x), network.forward(x))


def test_weights_that_change_are_seen():
    network, x = trained(perceptron), images(ROWS)
    replay = replayed(network, x)
    before = replay.forward(x).copy()
    next(layer for _, layer in replay.walk() if isinstance(layer, Linear)).bias = None
    network.layers["1"].bias = None
    for _ in range(3 * TRIES):
        np.testing.assert_allclose(replay.forward(x), network.forward(x), rtol=0, atol=1e-10)
    assert np.abs(replay.forward(x) - before).max() > 0.1


def test_an_error_of_another_worker_is_raised(monkeypatch):
    network, x = trained(perceptron), images(ROWS)
    shared = calls_of(replayed(network, x))

    def fails(_):
        raise RuntimeError("a worker's own")

    monkeypatch.setattr(shared._parts[1], "answer", fails)
    with pytest.raises(RuntimeError, match="a worker's own"):
        shared._by_all(x)
