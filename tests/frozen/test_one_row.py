"""One row goes through the last layers of a frozen network in a few calls, which know the parameters by heart."""

from __future__ import annotations

import contextlib
import copy
import itertools
import pickle
import timeit
from functools import partial

import numpy as np
import pytest
from to_freeze import convolutional, distance, images, perceptron, trained

from core.fastest import TRIES
from core.frozen import calls, freeze, one_row, replay
from core.frozen.one_row import PLACES, OneRowAtOnce
from core.frozen.replay import WORTH_WRITING_DOWN, write_down
from core.layers import Flatten, LeakyReLU, Linear, ReLU, Sequential
from core.memory import constant, is_constant
from core.ops.cpu import linear, products
from core.params import Constant
from core.predict import predict
from core.workers import alone

pytestmark = pytest.mark.usefixtures("two_workers")


def multi(*sizes, dtype=np.float32, bias=True):
    """Fully connected layers of these sizes, with a ReLU between two of them, behind a Flatten; and three inputs."""
    rng = np.random.default_rng(0)
    layers = [Flatten()]
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [Linear(inputs, outputs, rng=rng, bias=bias, dtype=dtype), ReLU()]
        if bias:
            layers[-2].bias.data[:] = rng.normal(size=outputs)
    network = Sequential(*layers[:-1])
    return network, [rng.standard_normal((1, sizes[0])).astype(dtype) for _ in range(3)]


def weights(calls):
    return [call.args[1] for call in calls if getattr(call, "func", None) in (np.matmul, np.ndarray.dot)]


def test_one_row_goes_the_short_way_and_everything_else_the_usual_one(monkeypatch):
    frozen = freeze(trained(perceptron, np.float32))
    assert isinstance(frozen, OneRowAtOnce)
    first, second = images(2, np.float32)[:, None]
    answer = frozen.forward(first).copy()
    assert distance(frozen.forward(second), answer) > 0.1  # nothing is left of the first row
    np.testing.assert_array_equal(frozen.forward(first), answer)
    usual = []
    monkeypatch.setattr(Linear, "forward", lambda self, x, train=False: usual.append((len(x), x.dtype, train)) or x)
    frozen.forward(first)
    assert not usual
    frozen.forward(images(2, np.float32))
    frozen.forward(first.astype(np.float64))
    frozen.forward(first, train=True)
    assert usual[::2] == [(2, np.float32, False), (1, np.float64, False), (1, np.float32, True)]
    monkeypatch.undo()
    with pytest.raises(ValueError, match="expected"):
        frozen.forward(np.zeros((1, 5), np.float32))


def test_the_short_way_begins_at_the_first_of_the_last_layers_that_can_take_it():
    linear = Linear(4, 4, rng=np.random.default_rng(0))
    assert OneRowAtOnce.suits([Flatten(), linear, ReLU(), linear])
    assert not OneRowAtOnce.suits([])
    assert not OneRowAtOnce.suits([Flatten()])
    assert not OneRowAtOnce.suits([linear, LeakyReLU()])
    layers = {"a": linear, "b": LeakyReLU(), "c": ReLU(), "d": Flatten(), "e": linear, "f": ReLU()}
    assert OneRowAtOnce(**layers).before == [linear, layers["b"], layers["c"]]
    layers = {"a": Flatten(), "b": ReLU(), "c": Flatten(), "d": linear, "e": ReLU(), "f": linear}
    assert OneRowAtOnce(**layers).before == [layers["a"], layers["b"]]
    x = np.linspace(-1, 1, 4, dtype=np.float32).reshape(1, 2, 2)
    network = Sequential(Flatten(), ReLU(), Flatten(), linear)
    assert distance(freeze(network).forward(x), network.forward(x)) < 1e-6


@pytest.mark.parametrize("shape", [(1, 4, 12), (1, 48, 1), (1, 47), (1, 1, 48), (1, 1, 1, 48)])
def test_a_row_of_another_shape_is_for_the_layers_to_judge(shape):
    network = Sequential(Linear(48, 5, rng=np.random.default_rng(0)))
    frozen = freeze(network)
    frozen.forward(np.zeros((1, 48), np.float32))
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    if shape[-1] != 48:
        with pytest.raises(ValueError, match="expected"):
            frozen.forward(x)
    else:
        answer = frozen.forward(x)
        assert answer.shape == (*shape[:-1], 5)
        assert distance(answer, network.forward(x)) < 1e-6


@pytest.fixture
def small_pairs(monkeypatch):
    """Pairs of panels also for the small weights of these tests, whatever the processor."""
    monkeypatch.setattr(products, "multiplies_in_place", lambda: True)
    monkeypatch.setattr(products, "WORTH_CUTTING", 2 * 33 * 64)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_weight_of_middle_size_lies_in_pairs_of_panels_for_one_thread(in_place, small_pairs, monkeypatch):
    monkeypatch.setattr(products, "multiplies_in_place", lambda: in_place)
    network, inputs = multi(47, 32, 128, 64, 4)
    frozen = freeze(network)
    with alone():
        for x in inputs:
            assert distance(frozen.forward(x), network.forward(x)) < 2e-5
    shapes = [weight.shape for weight in weights(frozen._calls._calls)]
    # 47 and 31 more for the bias are even, 32 and 128 need a row of zeros, too.
    assert shapes == [(48, 32), (2 * 34, 64) if in_place else (34, 128), (130, 64), (66, 4)]
    assert all(map(is_constant, weights(frozen._calls._calls)))
    rows = [call.args[0].ndim for call in frozen._calls._calls if isinstance(call, partial)]
    assert rows == ([1, 2, 2, 1] if in_place else [1, 1, 1, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize(
    "sizes",
    [(70, 64), (70, 128), (71, 192), (70, 320, 3), (70, 128, 64, 128, 5), (5, 64, 64, 7, 640), (2, 33, 33, 33, 64)],
)
def test_pairs_of_panels_anywhere_in_the_chain(sizes, relu, bias, dtype, small_pairs):
    network, inputs = multi(*sizes, dtype=dtype, bias=bias)
    layers = [layer for _, layer in network.children() if relu or not isinstance(layer, ReLU)]
    network = Sequential(*layers, *([ReLU()] if sizes[-1] == 192 else []))
    frozen = freeze(network)
    with alone():
        for x in 2 * inputs:  # each in both orders
            assert distance(frozen.forward(x), network.forward(x)) < (2e-5 if dtype is np.float32 else 1e-12)
    assert any(call.args[0].ndim == 2 for call in frozen._calls._calls if isinstance(call, partial))


def test_pairs_are_read_forwards_and_backwards_in_turn(small_pairs):
    network, (x, *_) = multi(70, 384, 3)
    frozen = freeze(network)
    first = frozen.forward(x).copy()
    calls = frozen._calls
    orders = [[id(weight) for weight in weights(next(calls._alone))] for _ in range(3)]
    *pairs, last = [id(weight) for weight in weights(calls._calls)]
    assert len(pairs) == 3
    assert sorted(orders[:2]) == sorted([[*pairs, last], [*reversed(pairs), last]])
    assert orders[2] == orders[0]
    with alone():
        for _ in range(3):
            np.testing.assert_array_equal(frozen.forward(x), first)


@pytest.mark.parametrize("sizes", [(70, 128, 5), (70, 64, 5), (20, 33)])
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_what_is_not_finite_in_a_row_shows_as_in_the_network_itself(sizes, value, small_pairs):
    network, (x, *_) = multi(*sizes)
    x[0, 3] = value
    frozen = freeze(network)
    with alone(), np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(np.isnan(frozen.forward(x)), np.isnan(network.forward(x)))


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_weight_that_is_not_finite_concerns_its_own_output_alone(value, small_pairs):
    network, (x, *_) = multi(70, 128)
    network.layers["1"].weight.data[5, 3] = value
    frozen = freeze(network)
    for _ in range(2):
        np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(frozen.forward(x))), [3])


def test_of_several_places_the_fastest_stays(monkeypatch):
    network, (x, *_) = multi(600, 300, 5)
    frozen, timed = freeze(network), []

    def seconds(row, calls):
        assert row is x
        timed.append(calls)
        return abs(len(timed) - 3)

    monkeypatch.setattr(one_row, "_seconds", seconds)
    assert distance(frozen.forward(x), network.forward(x)) < 2e-5
    assert len(timed) == PLACES
    assert frozen._calls is timed[2]
    assert len({weights(calls._calls)[0].ctypes.data for calls in timed}) == PLACES
    frozen.forward(x)
    assert len(timed) == PLACES


def test_the_time_of_an_answer_is_that_of_the_quickest(monkeypatch):
    network, (x, *_) = multi(20, 5)
    frozen = freeze(network)
    frozen.forward(x)
    monkeypatch.setattr(timeit, "repeat", lambda action, number, repeat: [action() is not None, number, repeat])
    assert one_row._seconds(x, frozen._calls) == 1


@pytest.mark.parametrize("sizes", [(60, 30, 5), (800, 800, 5)])
def test_where_the_weights_fit_or_are_too_large_anyway_the_place_does_not_matter(sizes, monkeypatch):
    network, (x, *_) = multi(*sizes)
    monkeypatch.setattr(one_row, "_seconds", None)
    frozen = freeze(network)
    assert distance(frozen.forward(x), network.forward(x)) < 2e-5


def test_no_places_are_tried_while_calls_are_written_down(monkeypatch):
    rng = np.random.default_rng(0)
    network = Sequential(LeakyReLU(), Linear(600, 300, rng=rng), ReLU(), Linear(300, 5, rng=rng))
    frozen, timed, seconds = freeze(network), [], one_row._seconds
    monkeypatch.setattr(one_row, "_seconds", lambda *args: timed.append(1) or seconds(*args))
    x = rng.standard_normal((1, 600)).astype(np.float32)
    for _ in range(WORTH_WRITING_DOWN + 2):
        assert distance(frozen.forward(x), network.forward(x)) < 2e-5
    assert len(timed) == PLACES  # before, in the usual way
    (calls,) = frozen._calls.values()
    assert len(calls) < 8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [(48, 32, 32, 5), (47, 33), (5, 40, 40, 1)])
def test_blas_threads_share_a_product_of_middle_size_as_one_of_complex_numbers(sizes, bias, dtype, monkeypatch):
    monkeypatch.setattr(one_row, "WEIGHTS_WORTH_SHARING", 600)
    monkeypatch.setattr(linear, "SHARED_AS_COMPLEX", 600)
    monkeypatch.setattr(one_row, "has_blas_threads", lambda: True)
    network, inputs = multi(*sizes, dtype=dtype, bias=bias)
    expected = [network.forward(x).copy() for x in inputs]
    frozen, lent = freeze(network), []
    monkeypatch.setattr(calls, "with_blas_threads", lambda count, make, *args: lent.append(count) or make(*args))
    for turn in range(2 * TRIES):
        for x, answer in zip(inputs, expected, strict=True):
            assert distance(frozen.forward(x), answer) < (2e-5 if dtype is np.float32 else 1e-12)
        assert len(lent) >= min(max(3 * turn + 3 - TRIES, 0), TRIES)
    assert set(lent) == {2}
    kinds = [weight.dtype.kind for weight in weights(frozen._calls._calls_for_threads)]
    assert kinds == ["c" if (D + 2 - D % 2) * K >= 600 else "f" for D, K in itertools.pairwise(sizes)]
    assert "c" in kinds
    for weight in weights(frozen._calls._calls_for_threads):
        assert weight.T.flags.c_contiguous or weight.dtype.kind == "f"
        assert is_constant(weight)


def test_half_precision_has_no_complex_numbers(monkeypatch):
    monkeypatch.setattr(one_row, "WEIGHTS_WORTH_SHARING", 100)
    monkeypatch.setattr(one_row, "has_blas_threads", lambda: True)
    network, inputs = multi(31, 40, 3, dtype=np.float16)
    frozen = freeze(network)
    for x in inputs:
        assert distance(frozen.forward(x), network.forward(x)) < 1e-2
    assert not any(map(np.iscomplexobj, weights(frozen._calls._calls_for_threads)))


@pytest.mark.parametrize("in_pairs", [False, True])
@pytest.mark.parametrize(("largest", "is_complex"), [(5000, False), (10000, True)])
def test_a_large_weight_stays_real(largest, is_complex, in_pairs, small_pairs, monkeypatch):
    monkeypatch.setattr(products, "multiplies_in_place", lambda: in_pairs)
    monkeypatch.setattr(one_row, "WEIGHTS_WORTH_SHARING", 100)
    monkeypatch.setattr(one_row, "SHARED_BY_BLAS", largest)
    monkeypatch.setattr(one_row, "has_blas_threads", lambda: True)
    network, (x, *_) = multi(69, 128)  # 70 x 128 weights with the bias
    frozen = freeze(network)
    assert distance(frozen.forward(x), network.forward(x)) < 2e-5
    (weight,) = weights(frozen._calls._calls_for_threads)
    assert np.iscomplexobj(weight) == is_complex
    assert weight.T.flags.c_contiguous
    is_the_same = frozen._calls._calls == frozen._calls._calls_for_threads
    assert is_the_same == (not is_complex and not in_pairs)  # a large weight is kept only once
    for call in frozen._calls._calls_for_threads:
        call()
    assert distance(frozen._calls._outputs, network.forward(x)) < 2e-5


@pytest.mark.parametrize("why", ["a worker", "no BLAS threads"])
def test_without_threads_nothing_is_laid_out_for_them(why, monkeypatch):
    monkeypatch.setattr(one_row, "WEIGHTS_WORTH_SHARING", 100)
    monkeypatch.setattr(one_row, "has_blas_threads", lambda: why == "a worker")
    network, (x, *_) = multi(15, 20)
    frozen = freeze(network)
    with alone() if why == "a worker" else contextlib.nullcontext():
        frozen.forward(x)
    assert frozen._calls._calls == frozen._calls._calls_for_threads


@pytest.mark.parametrize("build", [perceptron, convolutional])
def test_a_whole_network_replays_many_rows_itself(build, monkeypatch):
    network, written = trained(build, np.float32), []
    monkeypatch.setattr(replay, "write_down", lambda *args: written.append(args[1].shape) or write_down(*args))
    frozen = freeze(network)
    for duplicate in (frozen, copy.deepcopy(frozen), freeze(frozen)):
        written.clear()
        for seed in range(2 * WORTH_WRITING_DOWN):
            x = np.random.default_rng(seed).standard_normal((5, 4, 4, 3)).astype(np.float32)
            assert distance(duplicate.forward(x), network.forward(x)) < 2e-5
        assert written == [x.shape]
    answer = frozen.forward(x, train=True)
    assert frozen.backward(answer).shape == x.shape


@pytest.mark.parametrize("change", ["weight", "data", "bias"])
@pytest.mark.parametrize("place", [0, 1])
def test_the_short_way_notices_other_parameters_of_any_layer(place, change):
    frozen, x = freeze(trained(convolutional)), images(1)
    dense = frozen.network._linear
    assert len(dense) == 2
    before = frozen.network.forward(x).copy()
    layer = dense[place]
    if change == "bias":
        layer.bias = Constant(layer.bias.data + 1)
    elif change == "data":
        layer.weight.data = constant(2 * layer.weight.data)
    else:
        layer.weight = Constant(2 * layer.weight.data)
    both = np.concatenate([x, x])
    expected = frozen.network.forward(both)[:1].copy()  # two images go the usual way
    assert distance(expected, before) > 0.01
    assert distance(frozen.network.forward(x), expected) < 1e-12


def test_a_bias_that_is_given_to_a_layer_without_one_is_noticed():
    network, (x, *_) = multi(48, 5, bias=False)
    frozen = freeze(network)
    before = frozen.forward(x).copy()
    linear_layer = next(layer for _, layer in frozen.walk() if isinstance(layer, Linear))
    linear_layer.bias = Constant(np.ones(5, np.float32), decay=False)
    assert distance(frozen.forward(x), before + 1) < 1e-6
    linear_layer.bias = None
    assert distance(frozen.forward(x), before) < 1e-6


def test_a_bias_that_is_taken_away_is_noticed():
    network, (x, *_) = multi(48, 5)
    frozen = freeze(network)
    before = frozen.forward(x).copy()
    linear_layer = next(layer for _, layer in frozen.walk() if isinstance(layer, Linear))
    bias, linear_layer.bias = linear_layer.bias, None
    assert distance(frozen.forward(x), before - bias.data) < 1e-5


def test_a_type_is_known_by_what_it_is(monkeypatch):
    """Arrays that come from another process have a dtype object of their own."""
    network, inputs = multi(48, 5)
    frozen, laid_out = freeze(network), []
    lay_out = OneRowAtOnce._lay_out
    monkeypatch.setattr(OneRowAtOnce, "_lay_out", lambda *args: laid_out.append(1) or lay_out(*args))
    for x in inputs:
        frozen.forward(pickle.loads(pickle.dumps(x)))
        frozen.forward(x)
    assert laid_out == [1]


def test_the_answers_of_one_row_are_kept_apart_by_copies():
    """Each call overwrites the answer of the one before, as every layer may: `core.predict` copies."""
    frozen = freeze(trained(perceptron, np.float32))
    one, other = frozen.forward(images(1, np.float32)), frozen.forward(images(1, np.float32))
    assert np.shares_memory(one, other)
    one, other = (predict(frozen, images(1, np.float32)) for _ in range(2))
    assert not np.shares_memory(one, other)


def test_moving_a_frozen_network_takes_the_short_way_along():
    frozen, x = freeze(trained(perceptron, np.float32)), images(1, np.float32)
    before = frozen.forward(x).copy()
    frozen.to(dtype=np.float64)
    assert distance(frozen.forward(x.astype(np.float64)), before.astype(np.float64)) < 1e-5
    for parameter in (layer.weight for _, layer in frozen.walk() if isinstance(layer, Linear)):
        parameter.data = 2 * parameter.data
        parameter.data.setflags(write=False)
    assert distance(frozen.forward(x.astype(np.float64)), before.astype(np.float64)) > 0.1
