"""The weights for a single row lie as one thread or several read them fastest, and the answers stay right."""

from __future__ import annotations

import contextlib
import itertools
import timeit
from functools import partial

import numpy as np
import pytest
from to_freeze import distance, multi

from core.fastest import TRIES
from core.frozen import calls, freeze, one_row
from core.frozen.one_row import PLACES
from core.frozen.replay import WORTH_WRITING_DOWN
from core.layers import LeakyReLU, Linear, ReLU, Sequential
from core.memory import is_constant
from core.ops.cpu import large_product, products
from core.workers import alone, set_threads

pytestmark = pytest.mark.usefixtures("two_workers")


def weights(calls):
    return [call.args[1] for call in calls if getattr(call, "func", None) in (np.matmul, np.ndarray.dot)]


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
    monkeypatch.setattr(large_product, "SHARED_AS_COMPLEX", 600)
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
    assert is_the_same == (not is_complex)  # a large weight is kept only once
    for call in frozen._calls._calls_for_threads:
        call()
    assert distance(frozen._calls._outputs, network.forward(x)) < 2e-5


@pytest.mark.parametrize(("threads", "shape"), [(1, (2 * 70, 64)), (2, (70, 128))])
def test_a_large_weight_lies_in_pairs_of_panels_only_if_nobody_shares_it(threads, shape, small_pairs, monkeypatch):
    monkeypatch.setattr(one_row, "SHARED_BY_BLAS", 5000)
    set_threads(threads)
    network, (x, *_) = multi(69, 128)  # 70 x 128 weights with the bias
    frozen = freeze(network)
    assert distance(frozen.forward(x), network.forward(x)) < 2e-5
    assert [weight.shape for weight in weights(frozen._calls._calls)] == [shape]


@pytest.mark.parametrize("why", ["a worker", "no BLAS threads"])
def test_without_threads_nothing_is_laid_out_for_them(why, monkeypatch):
    monkeypatch.setattr(one_row, "WEIGHTS_WORTH_SHARING", 100)
    monkeypatch.setattr(one_row, "has_blas_threads", lambda: why == "a worker")
    network, (x, *_) = multi(15, 20)
    frozen = freeze(network)
    with alone() if why == "a worker" else contextlib.nullcontext():
        frozen.forward(x)
    assert frozen._calls._calls == frozen._calls._calls_for_threads
