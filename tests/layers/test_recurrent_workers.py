"""Recurrent layers compute the same wherever their samples go: dropout, and workers who share a batch."""

import numpy as np
import pytest
from recurrent_nets import CELLS, RAGGED, H, build, outcome, padded, random_dy

from core.layers import GRU, LSTM, Dropout, LastState, Linear, Parallel, Sequences, Sequential
from core.losses import softmax_cross_entropy
from core.random import Stream
from core.workers import Workers


def test_dropout_depends_on_seed_and_batch_alone():
    def states(seed, batch):
        stream = Stream(seed)
        layer = build(GRU, dropout=0.5, stream=stream)
        stream.seek(2, batch)
        return layer.forward(Sequences.pack_padded(padded(RAGGED), RAGGED), train=True).rows.copy()

    np.testing.assert_array_equal(states(1, 3), states(1, 3))
    assert (states(1, 3) != states(1, 4)).any()
    assert (states(1, 3) != states(2, 3)).any()


def test_dropout_is_drawn_per_sample_wherever_the_sample_is_computed():
    stream = Stream(1)
    layer = build(GRU, dropout=0.5, stream=stream)
    x = Sequences.pack_padded(padded(RAGGED), RAGGED)
    whole = layer.forward(x, train=True).last.copy()
    for start, stop in ((0, 2), (2, 6)):
        stream.first_row = start
        np.testing.assert_allclose(layer.forward(x[start:stop], train=True).last, whole[start:stop], rtol=1e-12)


def test_dropout_drops_the_same_features_at_all_steps_and_none_in_inference():
    layer = build(GRU, dropout=0.5, stream=Stream(1))
    x = Sequences.pack_padded(padded(RAGGED), RAGGED)
    layer.forward(x, train=True)
    between = Sequences(layer.workspace("y0", (x.layout.rows, 2 * H), like=x.rows), x.layout).to_padded(np.nan)
    for states, length in zip(between, RAGGED, strict=True):
        assert ((states[:length] == 0) == (states[0] == 0)).all()
    assert 0.2 < (between[:, 0] == 0).mean() < 0.8
    np.testing.assert_array_equal(layer.forward(x).last, build(GRU).forward(x).last)


@pytest.mark.parametrize("cell", CELLS)
def test_two_workers_and_one_give_the_same_bits(cell, monkeypatch):
    layer, x = build(cell, np.float32), Sequences.pack_padded(padded(RAGGED, np.float32), RAGGED)
    results = []
    for count in (1, 2, 3):
        pool = Workers(count)
        monkeypatch.setattr("core.layers.recurrent.workers", lambda pool=pool: pool)
        results.append(outcome(layer, x, random_dy()))
    for one, two, three in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


def test_an_error_in_a_worker_frees_the_workers(monkeypatch):
    pool = Workers(2)
    monkeypatch.setattr("core.layers.recurrent.workers", lambda: pool)
    layer, x = build(GRU), padded([4] * 5)
    with monkeypatch.context() as broken:
        broken.setattr(layer.directions_of(0)[1], "run", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            layer.forward(x)
    assert np.isfinite(layer.forward(x).rows).all()


@pytest.mark.parametrize("count", [2, 3])
def test_inside_parallel_the_result_is_the_same(count, monkeypatch):
    """Shared workers or workers of its own: a layer inside a worker's task must not wait for the workers."""
    x = padded([5] * 7)
    labels = np.arange(7) % 3

    def gradients(wrap):
        stream = Stream(1)
        stream.seek(0, 5)
        layer = build(LSTM, dropout=0.3, stream=stream)
        head = Linear(2 * H, 3, rng=np.random.default_rng(1), dtype=np.float64)
        model = wrap(Sequential(layer, LastState(), Dropout(0.3, stream=stream), head))
        model.backward(softmax_cross_entropy(model.forward(x, train=True), labels)[1])
        return [parameter.grad for parameter in model.parameters()]

    pool = Workers(count)
    monkeypatch.setattr("core.layers.recurrent.workers", lambda: pool)
    alone = gradients(lambda model: model)
    for other in (pool, Workers(count)):
        for a, b in zip(alone, gradients(lambda model, other=other: Parallel(model, other)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-14)
