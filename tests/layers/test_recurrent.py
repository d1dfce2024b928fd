"""Recurrent layers: gradients, lengths that never leak, and what they refuse."""

import numpy as np
import pytest
from recurrent_nets import CELLS, LENGTHS, RAGGED, D, H, Padded, build, outcome, padded, random_dy

from core.fastest import TRIES
from core.frozen import freeze
from core.gradcheck import TOLERANCE, gradcheck
from core.layers import (
    GRU,
    LSTM,
    EachStep,
    LastState,
    LayerNorm,
    Linear,
    MeanState,
    Parallel,
    Sequences,
    Sequential,
    Tanh,
)
from core.ops.cpu import gru_of_one_sequence
from core.predict import predict
from core.random import Stream
from core.workers import Workers, set_threads, workers


@pytest.mark.parametrize("kind", LENGTHS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("pool", [None, LastState, MeanState])
def test_gradients_are_right(cell, kind, pool):
    lengths = LENGTHS[kind]
    body = Sequential(build(cell), *([pool()] if pool else []))
    assert gradcheck(Padded(body, lengths), padded(lengths), np.random.default_rng(2), samples=8) < TOLERANCE


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("options", [{"num_layers": 1}, {"bidirectional": False}, {"num_layers": 3, "dropout": 0.5}])
def test_gradients_are_right_in_other_forms(cell, options):
    layer = build(cell, **options, stream=Stream(4))
    head = Linear(layer.output_size, 3, rng=np.random.default_rng(1), dtype=np.float64)
    body = Padded(Sequential(layer, LastState(), head), RAGGED)
    assert gradcheck(body, padded(RAGGED), np.random.default_rng(2), samples=8) < TOLERANCE


@pytest.mark.parametrize("cell", CELLS)
def test_an_array_stands_for_sequences_of_equal_length(cell):
    body = Sequential(build(cell), LastState())
    x = padded([4, 4, 4])
    assert gradcheck(body, x, np.random.default_rng(2), samples=8) < TOLERANCE
    packed = body.forward(Sequences.pack_padded(x)).copy()
    np.testing.assert_array_equal(body.forward(x), packed)


@pytest.mark.parametrize("fill", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("cell", CELLS)
def test_what_stands_in_the_padding_changes_nothing(cell, fill):
    layer = build(cell, np.float32)
    clean, dirty = (Sequences.pack_padded(padded(RAGGED, np.float32, f), RAGGED) for f in (0, fill))
    for a, b in zip(outcome(layer, clean, random_dy()), outcome(layer, dirty, random_dy()), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cell", CELLS)
def test_a_sequence_does_not_feel_the_others(cell):
    layer = build(cell)
    x = padded(RAGGED, fill=np.nan)
    together = layer.forward(Sequences.pack_padded(x, RAGGED))
    states, last = together.to_padded(), together.last.copy()
    for number, length in enumerate(RAGGED):
        alone = layer.forward(Sequences.pack_padded(x[number : number + 1, :length]))
        np.testing.assert_allclose(alone.last[0], last[number], rtol=1e-12)
        np.testing.assert_allclose(alone.to_padded()[0], states[number, :length], rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("hidden", [6, 5])  # two by two complex numbers, or not
@pytest.mark.parametrize("frozen", [True, False])
def test_one_sequence_of_any_length_is_read_as_in_training(frozen, hidden, bidirectional, dtype, monkeypatch):
    before, lent = workers().count, []
    set_threads(2)
    monkeypatch.setattr(gru_of_one_sequence, "has_blas_threads", lambda: True)
    monkeypatch.setattr(
        gru_of_one_sequence, "with_blas_threads", lambda count, make, *args: lent.append(count) or make(*args)
    )
    layer = GRU(D, hidden, rng=np.random.default_rng(0), num_layers=2, bidirectional=bidirectional, dtype=dtype)
    for parameter in layer.parameters():
        parameter.data[...] = np.random.default_rng(1).normal(size=parameter.data.shape)
    reader = freeze(layer) if frozen else layer
    monkeypatch.setattr(gru_of_one_sequence, "MOST_STEPS", 15)
    for number, T in enumerate([3, 1, 9, 20] * TRIES):  # memory grows, is longer than wanted, and not kept for 20 steps
        x = Sequences.pack_padded(np.random.default_rng(number).standard_normal((1, T, D)).astype(dtype))
        expected = layer.forward(x, train=True)
        states, last = expected.rows.copy(), expected.last.copy()
        answer = reader.forward(x)
        tolerance = {np.float64: 1e-12, np.float32: 1e-5, np.float16: 2e-2}[dtype]
        np.testing.assert_allclose(answer.rows, states, atol=tolerance)
        np.testing.assert_allclose(answer.last, last, atol=tolerance)
    (walk,) = (reader.network if frozen else reader).directions_of(0)[0].workspace._plans.values()
    assert len(walk._views) == 9
    tries = 2 * TRIES if frozen and hidden == 6 and dtype is not np.float16 else 0  # of two layers
    assert len(lent) >= tries
    assert set(lent) == ({2} if tries else set())
    set_threads(before)


def test_one_sequence_may_have_another_precision_than_the_weights(monkeypatch):
    """NumPy's own numbers are float64: pairs of them are no pairs of the weights'."""
    before = workers().count
    set_threads(2)
    monkeypatch.setattr(gru_of_one_sequence, "has_blas_threads", lambda: True)
    layer = build(GRU, np.float32)
    reader, x = freeze(layer), padded([7])
    expected = layer.forward(x).rows.copy()
    for _ in range(4 * TRIES):
        np.testing.assert_allclose(reader.forward(x).rows, expected, atol=1e-5)
    set_threads(before)


@pytest.mark.parametrize("cell", CELLS)
def test_the_order_of_the_batch_does_not_matter(cell):
    model = Sequential(build(cell, dropout=0.0), LastState())
    x, order = Sequences.pack_padded(padded(RAGGED), RAGGED), np.array([4, 2, 0, 5, 1, 3])
    dy = random_dy(dtype=np.float64)[: len(RAGGED)]
    y = model.forward(x, train=True).copy()
    dx = model.backward(dy).to_padded()
    grads = [parameter.grad.copy() for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.zero_grad()
    np.testing.assert_allclose(model.forward(x[order], train=True), y[order], rtol=1e-12)
    np.testing.assert_allclose(model.backward(dy[order]).to_padded(), dx[order], rtol=1e-9, atol=1e-15)
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        np.testing.assert_allclose(parameter.grad, grad, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS)
def test_the_contract_of_the_two_verbs(cell):
    layer, x = build(cell, np.float32), Sequences.pack_padded(padded(RAGGED, np.float32), RAGGED)
    rows, dy, dy_given = x.rows.copy(), random_dy(), random_dy()
    for array in outcome(layer, x, dy):
        assert array.dtype == np.float32
    np.testing.assert_array_equal(x.rows, rows)
    np.testing.assert_array_equal(dy, dy_given)
    with pytest.raises(RuntimeError, match="forward"):
        layer.backward(Sequences(None, x.layout))
    layer.forward(x, train=True)
    y = layer.forward(x)
    with pytest.raises(RuntimeError, match="forward"):
        layer.backward(y)
    assert layer.skip_input_grad() is layer
    layer.forward(x, train=True)
    assert layer.backward(y) is None


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_add_up_over_batches(cell):
    layer = build(cell)
    x, dy = padded([3, 3]), random_dy(dtype=np.float64)
    for _ in range(2):
        y = layer.forward(x, train=True)
        layer.backward(Sequences(dy[: len(y.rows)], y.layout))
    twice = [parameter.grad.copy() for parameter in layer.parameters()]
    for parameter in layer.parameters():
        parameter.zero_grad()
    layer.forward(x, train=True)
    layer.backward(Sequences(dy[: len(y.rows)], y.layout))
    for parameter, expected in zip(layer.parameters(), twice, strict=True):
        np.testing.assert_allclose(2 * parameter.grad, expected, rtol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("pool", [LastState, MeanState])
def test_an_empty_batch_passes(cell, pool):
    model = Sequential(build(cell), pool())
    x = np.zeros((0, 4, D))
    y = model.forward(x, train=True)
    assert y.shape == (0, 2 * H)
    assert model.backward(y).shape == (0, 4, D)


def test_the_state_keeps_its_names():
    assert sorted(build(GRU).state_dict()) == sorted(
        f"{place}.{name}"
        for place in ("l0", "l0_reverse", "l1", "l1_reverse")
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    assert {name for name, parameter in build(GRU).named_parameters() if parameter.decay} == {
        f"{place}.weight_{kind}" for place in ("l0", "l0_reverse", "l1", "l1_reverse") for kind in ("ih", "hh")
    }


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_a_layer_of_rows_is_taken_through_every_step(lengths):
    rng = np.random.default_rng(0)
    head = Sequential(Linear(2 * H, 5, rng=rng, dtype=np.float64), LayerNorm(5, dtype=np.float64), Tanh())
    model = Sequential(build(GRU), EachStep(head), build(LSTM, num_layers=1, inputs=5), EachStep(Tanh()))
    assert gradcheck(Padded(model, lengths), padded(lengths), rng) < TOLERANCE
    y = model.forward(Sequences.pack_padded(padded(lengths), lengths))
    assert y.last is None
    with pytest.raises(ValueError, match="LastState expected the result of a recurrent layer"):
        LastState().forward(y)


def test_the_first_layer_of_each_step_may_spend_nothing_on_its_input():
    model = Sequential(EachStep(Linear(D, H, rng=np.random.default_rng(0))), MeanState()).skip_input_grad()
    y = model.forward(Sequences.pack_padded(padded(RAGGED, np.float32), RAGGED), train=True)
    assert model.backward(y) is None
    assert np.any(model.layers["0"].layer.weight.grad)


@pytest.mark.parametrize("batch_size", [2, 100])
@pytest.mark.parametrize("wrap", [lambda model: model, lambda model: Parallel(model, Workers(2)), freeze])
def test_predict_answers_sequences_where_the_network_does(batch_size, wrap):
    model = build(GRU, dtype=np.float32)
    x = Sequences.pack_padded(padded(RAGGED, np.float32), RAGGED)
    expected, y = model.forward(x).copy(), predict(wrap(model), x, batch_size)
    np.testing.assert_allclose(y.rows, expected.rows, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(y.last, expected.last, rtol=1e-5, atol=1e-6)
    assert not np.shares_memory(y.rows, model.forward(x).rows)


def test_what_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="a stream to draw its dropout from"):
        GRU(3, 4, num_layers=2, dropout=0.1, rng=rng)
    with pytest.raises(ValueError, match=r"LSTM expected \(N, T, 3\), got \(2, 5, 4\)"):
        LSTM(3, 4, rng=rng).forward(np.zeros((2, 5, 4)))
    with pytest.raises(ValueError, match="LastState expected the result of a recurrent layer"):
        LastState().forward(Sequences.pack_padded(padded(RAGGED), RAGGED))
    gru = GRU(D, H, rng=rng, dtype=np.float64)
    gru.forward(padded(RAGGED), train=True)
    for takes in (LastState().forward, MeanState().forward, EachStep(Tanh()).forward, gru.backward):
        with pytest.raises(TypeError, match=r"expected Sequences, got ndarray: see Sequences\.pack_padded"):
            takes(padded(RAGGED))


@pytest.mark.parametrize("wrap", [lambda model: model, lambda model: Parallel(model, Workers(2))])
@pytest.mark.parametrize("build_layer", [lambda: build(GRU), lambda: EachStep(Tanh())])
def test_gradients_of_other_sequences_are_refused(build_layer, wrap):
    model, x = wrap(build_layer()), Sequences.pack_padded(padded(RAGGED), RAGGED)
    y = model.forward(x, train=True)
    others = [
        Sequences.pack_padded(padded(RAGGED[::-1]), RAGGED[::-1]),  # as many rows, but of other sequences
        x[:-1],
        Sequences.join([x, x]),
        Sequences(np.ones((y.layout.rows, 1)), y.layout),
        Sequences(y.rows, y.layout, last=np.ones((len(y), 1))),
    ]
    for wrong in others:
        model.forward(x, train=True)
        with pytest.raises(ValueError, match=r"\.backward expected .*, got"):
            model.backward(wrong)
    if not isinstance(model, Parallel):
        assert model.backward(y.copy()) is not None  # the right one is still taken
    model.forward(x, train=True)
    with pytest.raises(TypeError, match="expected floating-point numbers, got int64"):
        model.backward(Sequences(np.ones(y.rows.shape, np.int64), y.layout))
