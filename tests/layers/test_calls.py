"""Calls that are made by one thread or shared by several: the same results, and the faster way of the two."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from core.layers import calls
from core.layers.calls import PERIOD, TRIES, CallList
from core.workers import Workers, alone, set_threads, workers

RNG = np.random.default_rng(0)


def stack(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.fixture(autouse=True)
def two_workers(monkeypatch):
    before = workers().count
    set_threads(2)
    monkeypatch.setattr(calls, "WORTH_SHARING", 1)
    yield
    set_threads(before)


@pytest.fixture
def runs(monkeypatch):
    """Notes the tasks that workers were given."""
    noted, run = [], Workers.run
    monkeypatch.setattr(Workers, "run", lambda pool, task: noted.append(task) or run(pool, task))
    return noted


@pytest.mark.parametrize("count", [2, 3, 5, 36])
def test_both_ways_lead_to_the_same_bits(count, runs):
    a, b, out = stack(count, 1, 4, 8), stack(count, 3, 8, 16), stack(count, 3, 4, 16)
    total = stack(4, 16)
    program = CallList([partial(np.matmul, a, b, out), partial(np.add.reduce, out[:, 0], axis=0, out=total)])
    expected = np.matmul(a, b)
    for _ in range(2 * TRIES):
        out[...] = total[...] = np.nan
        program.make()
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(total, expected[:, 0].sum(axis=0))
    assert len(runs) == TRIES


@pytest.mark.parametrize(
    ("shapes", "large"),
    [
        (((1, 4, 8), (1, 8, 16), (1, 4, 16)), False),  # cannot be cut
        (((4, 8), (8, 16), (4, 16)), False),
        (((6, 6), (6, 6, 8), (6, 6, 8)), False),  # one matrix for all
        (((4, 4, 8), (8, 16), (4, 4, 16)), False),
        (((4, 4, 8), (4, 8, 16), (4, 4, 16)), True),  # BLAS's own threads share it
    ],
)
def test_other_calls_are_made_by_one_thread(shapes, large, runs, monkeypatch):
    if large:
        monkeypatch.setattr(calls, "SHARED_BY_BLAS", 100)
    a, b, out = (stack(*shape) for shape in shapes)
    program = CallList([partial(np.matmul, a, b, out)])
    for _ in range(3 * TRIES):
        program.make()
    np.testing.assert_allclose(out, a @ b, rtol=1e-5, atol=1e-5)
    assert not runs


def test_a_worker_shares_nothing(runs):
    program = CallList([partial(np.matmul, stack(4, 4, 8), stack(4, 8, 16), stack(4, 4, 16))])
    with alone():
        for _ in range(3 * TRIES):
            program.make()
    assert not runs


def test_the_faster_way_is_found_again_and_again(monkeypatch):
    costs, clock, ways = {"alone": 1.0, "shared": 2.0}, [0.0], []
    program = CallList([partial(np.matmul, stack(4, 4, 8), stack(4, 8, 16), stack(4, 4, 16))])

    def make_all(list_of_calls):
        ways.append("alone" if list_of_calls is program._calls else "shared")
        clock[0] += costs[ways[-1]]

    monkeypatch.setattr(calls, "_make_all", make_all)
    monkeypatch.setattr(calls, "perf_counter", lambda: clock[0])
    for faster in ("alone", "shared", "alone"):
        costs[faster], costs[{"alone": "shared", "shared": "alone"}[faster]] = 1.0, 1.5
        ways.clear()
        for _ in range(PERIOD):
            program.make()
        assert ways == ["alone"] * TRIES + ["shared"] * TRIES + [faster] * (PERIOD - 2 * TRIES)


def test_other_workers_get_parts_of_their_own(runs):
    a, b, out = stack(6, 4, 8), stack(6, 8, 16), stack(6, 4, 16)
    program = CallList([partial(np.matmul, a, b, out)])
    for count in (2, 3, 1, 2):
        set_threads(count)
        runs.clear()
        for _ in range(2 * TRIES):
            out[...] = np.nan
            program.make()
            np.testing.assert_array_equal(out, np.matmul(a, b))
        assert len(runs) == (0 if count == 1 else TRIES)


def test_an_error_of_another_worker_is_raised(monkeypatch):
    program = CallList([partial(np.matmul, stack(4, 4, 8), stack(4, 8, 16), stack(4, 4, 16))])
    program._cut(workers())
    program._shared_calls = [partial(workers().run, lambda rank: 1 / (1 - rank))]
    for _ in range(TRIES):
        program.make()
    with pytest.raises(ZeroDivisionError):
        program.make()
