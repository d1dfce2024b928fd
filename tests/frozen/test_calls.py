"""Calls that are made by one thread or shared by several: the same results, and the faster way of the two."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from core.fastest import TRIES
from core.frozen import calls
from core.frozen.calls import Calls
from core.layers import Sequential
from core.ops.cpu import large_product
from core.workers import alone, set_threads

RNG = np.random.default_rng(0)


def stack(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def listed(*its_calls):
    """The calls of what takes one number, which nobody looks at."""
    return Calls(X, np.zeros(1), list(its_calls), np.zeros(1), Sequential())


X = np.ones(1)


@pytest.fixture(autouse=True)
def all_is_worth_sharing(two_workers, monkeypatch):
    monkeypatch.setattr(calls, "MULTIPLICATIONS_WORTH_SHARING", 1)


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("head_start", [0, 0.1, 0.5, 30])
@pytest.mark.parametrize("count", [7, 16, 36])
def test_every_worker_gets_a_part_and_the_first_one_more(count, head_start, workers):
    borders = calls._borders(count, workers, head_start)
    parts = np.diff(borders)
    assert (borders[0], borders[-1], len(parts)) == (0, count, workers)
    assert parts.min() > 0
    assert workers == 1 or np.ptp(parts[1:]) <= 1
    if count == 36 and workers == 2:
        assert parts[0] - parts[1] == {0: 0, 0.1: 4, 0.5: 18, 30: 34}[head_start]


@pytest.mark.parametrize(("count", "matrices"), [(2, 2), (3, 3), (5, 5), (36, 36), (5, 1)])
def test_both_ways_lead_to_the_same_bits(count, matrices, runs):
    a, b, out = stack(count, 1, 4, 8), stack(matrices, 3, 8, 16), stack(count, 3, 4, 16)
    total = stack(4, 16)
    program = listed(partial(np.matmul, a, b, out), partial(np.add.reduce, out[:, 0], axis=0, out=total))
    expected = np.matmul(a, b)
    for _ in range(2 * TRIES):
        out[...] = total[...] = np.nan
        program.answer(X)
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(total, expected[:, 0].sum(axis=0))
    assert len(runs) == TRIES


@pytest.mark.parametrize(
    "shapes",
    [
        ((1, 4, 8), (1, 8, 16), (1, 4, 16)),  # cannot be cut
        ((4, 8), (8, 16), (4, 16)),
        ((6, 6), (6, 6, 8), (6, 6, 8)),  # one matrix for all
        ((4, 4, 8), (8, 16), (4, 4, 16)),
        ((2, 1, 3, 4, 8), (2, 1, 8, 16), (2, 2, 3, 4, 16)),  # the first axes are not the same, though equally long
    ],
)
def test_other_calls_are_made_by_one_thread(shapes, runs):
    a, b, out = (stack(*shape) for shape in shapes)
    program = listed(partial(np.matmul, a, b, out))
    for _ in range(3 * TRIES):
        program.answer(X)
    np.testing.assert_allclose(out, a @ b, rtol=1e-5, atol=1e-5)
    assert not runs


def test_a_product_with_options_is_made_by_one_thread(runs):
    a, b, out = stack(4, 4, 8), stack(4, 8, 16), stack(4, 4, 16)
    program = listed(partial(np.matmul, a, b, out=out, casting="same_kind"))
    for _ in range(3 * TRIES):
        program.answer(X)
    np.testing.assert_allclose(out, a @ b, rtol=1e-5, atol=1e-5)
    assert program.multiplications == 0
    assert not runs


def test_the_only_way_is_not_timed(monkeypatch):
    monkeypatch.setattr("core.fastest.perf_counter", None)
    made = []
    program = listed(partial(made.append, 1))
    for _ in range(3):
        program.answer(X)
    assert made == [1, 1, 1]


def test_where_nothing_can_be_shared_nobody_looks_for_workers(monkeypatch):
    monkeypatch.setattr(calls, "free_workers", None)
    x, weight, y = stack(20), stack(20, 30), stack(30)
    program = listed(partial(np.ndarray.dot, x, weight, y), partial(np.maximum, y, 0, out=y))
    program.answer(X)
    np.testing.assert_allclose(y, np.maximum(x @ weight, 0), rtol=1e-5, atol=1e-5)


def test_a_worker_shares_nothing(runs):
    program = listed(partial(np.matmul, stack(4, 4, 8), stack(4, 8, 16), stack(4, 4, 16)))
    with alone():
        for _ in range(3 * TRIES):
            program.answer(X)
    assert not runs


@pytest.mark.parametrize(("shape", "K"), [((40,), 33), ((3, 40), 33)])
def test_a_large_product_is_made_in_three_ways(shape, K, runs, monkeypatch):
    monkeypatch.setattr(calls, "SHARED_BY_BLAS", 500)
    monkeypatch.setattr(large_product, "SHARED_BY_BLAS", 500)
    lent = []
    monkeypatch.setattr(calls, "with_blas_threads", lambda count, make, *args: lent.append(count) or make(*args))
    x, weight, y = stack(*shape), stack(K, 40).T, stack(*shape[:-1], K)
    program = listed(partial(np.ndarray.dot, x, weight, out=y))
    for turn in range(3 * TRIES):
        y[...] = np.nan
        program.answer(X)
        np.testing.assert_allclose(y, x @ weight, rtol=1e-5, atol=1e-5)
        assert len(runs) == min(max(turn + 1 - TRIES, 0), TRIES)
        assert lent == [2] * max(turn + 1 - 2 * TRIES, 0)


@pytest.mark.parametrize(("rows", "worth", "ways"), [(8, 1, 2), (7, 1, 1), (8, 10**9, 1)])
def test_workers_share_the_rows_of_a_large_product(rows, worth, ways, runs, monkeypatch):
    monkeypatch.setattr(calls, "MANY_ROWS", 8)
    monkeypatch.setattr(calls, "MULTIPLICATIONS_WORTH_SHARING", worth)
    monkeypatch.setattr(large_product, "SHARED_BY_BLAS", 7 * 20 * 30)
    monkeypatch.setattr(calls, "with_blas_threads", lambda count, make, *args: make(*args))
    x, weight, y = stack(rows, 20), stack(20, 30), stack(rows, 30)
    program = listed(partial(np.matmul, x, weight, y))
    for _ in range((ways + 1) * TRIES):
        y[...] = np.nan
        program.answer(X)
        np.testing.assert_allclose(y, x @ weight, rtol=1e-5, atol=1e-5)
    assert len(runs) == (ways - 1) * TRIES


def test_the_calls_for_threads_are_made_with_blas_threads_alone(monkeypatch):
    made = []
    monkeypatch.setattr(calls, "with_blas_threads", lambda count, make, *args: made.append(count) or make(*args))
    monkeypatch.setattr(large_product, "SHARED_AS_COMPLEX", 400)
    x, weight, y = stack(20).view(np.complex64), stack(10, 40).view(np.complex64), np.zeros(20, np.complex64)
    dot = partial(np.ndarray.dot, x, weight, y)
    inputs = np.zeros(1)
    calls_for_threads = [partial(made.append, "many"), dot]
    program = Calls(
        X, inputs, [partial(made.append, "one")], np.zeros(1), Sequential(), calls_for_threads=calls_for_threads
    )
    for _ in range(2 * TRIES):
        program.answer(X)
    assert made == ["one"] * TRIES + [2, "many"] * TRIES
    np.testing.assert_allclose(y, x @ weight, rtol=1e-5, atol=1e-5)
    made.clear()
    with alone():
        program.answer(X)
    assert made == ["one"]
    assert inputs == 1


def test_other_workers_get_parts_of_their_own(runs):
    a, b, out = stack(6, 4, 8), stack(6, 8, 16), stack(6, 4, 16)
    program = listed(partial(np.matmul, a, b, out))
    for count in (2, 3, 1, 2):
        set_threads(count)
        runs.clear()
        for _ in range(2 * TRIES):
            out[...] = np.nan
            program.answer(X)
            np.testing.assert_array_equal(out, np.matmul(a, b))
        assert len(runs) == (0 if count == 1 else TRIES)


def test_an_error_of_another_worker_is_raised(monkeypatch):
    def fails_for_others(call, pool):
        return partial(pool.run, lambda rank: 1 / (1 - rank))

    monkeypatch.setattr(calls, "_shared", fails_for_others)
    program = listed(partial(np.matmul, stack(4, 4, 8), stack(4, 8, 16), stack(4, 4, 16)))
    for _ in range(TRIES):
        program.answer(X)
    with pytest.raises(ZeroDivisionError):
        program.answer(X)


def test_after_ctrl_c_between_two_answers_there_are_more():
    a, b, out = stack(6, 4, 8), stack(6, 8, 16), stack(6, 4, 16)
    program = listed(partial(np.matmul, a, b, out))
    program.answer(X)
    with pytest.raises(KeyboardInterrupt):
        program._turns._turns.throw(KeyboardInterrupt)  # as a signal does it inside of a generator
    for _ in range(3 * TRIES):
        out[...] = np.nan
        program.answer(X)
        np.testing.assert_array_equal(out, np.matmul(a, b))
