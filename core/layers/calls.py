"""A list of NumPy calls, made by one thread or by several: what `core.layers.replay` makes again and again.

Three ways are tried, see `core.fastest`: one thread makes all calls; or the workers share the long ones, each of whom
makes a part; or BLAS's own threads share the large products.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from core.fastest import Fastest
from core.ops.cpu.linear import SHARED_BY_BLAS, multiply_by_columns
from core.workers import Workers, blas_threads, can_share, workers

Call: TypeAlias = partial[Any]

WORTH_SHARING = 1_500_000  # multiplications of a call; most of fewer are done before the others are awake
HEAD_START = 800_000  # multiplications that the caller has done when the others are awake


class CallList:
    """Calls in their order, and the fastest way to make them."""

    def __init__(self, calls: list[Call]) -> None:
        self._calls = calls
        self._pool: Workers | None = None
        self._make_with_others: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def make(self) -> None:
        """Make all calls."""
        if not can_share():
            _make_all(self._calls)
            return
        if self._make_with_others is None or self._pool is not workers():
            self._pool = workers()
            self._make_with_others = Fastest(_ways(self._calls, self._pool))
        self._make_with_others()


def _ways(calls: list[Call], pool: Workers) -> list[Callable[[], None]]:
    """Those that may pay with these workers."""
    ways: list[Callable[[], None]] = [partial(_make_all, calls)]
    shared_calls = [_shared(call, pool) for call in calls]
    if any(new is not old for new, old in zip(shared_calls, calls, strict=True)):
        ways.append(partial(_make_all, shared_calls))
    if any(map(_is_large_product, calls)):
        ways.append(partial(_make_all_with_blas_threads, calls))
    return ways


def _make_all_with_blas_threads(calls: list[Call]) -> None:
    with blas_threads:
        _make_all(calls)


def _make_all(calls: list[Call]) -> None:
    for call in calls:
        call()


def _is_large_product(call: Call) -> bool:
    """Whether it is one product of matrices that BLAS would share between its threads."""
    if call.func not in (np.matmul, np.ndarray.dot) or call.args[1].ndim > 2:
        return False
    x, weight, *_ = call.args
    return x.size * weight.shape[-1] >= SHARED_BY_BLAS  # type: ignore[no-any-return]


def _shared(call: Call, pool: Workers) -> Call:
    """The call as one of which each worker makes a part; the call itself where that cannot pay."""
    if _is_large_product(call) and call.args[1].size >= SHARED_BY_BLAS:  # a small weight has too few columns to share
        x, weight, *rest = call.args
        return partial(multiply_by_columns, x, weight, *rest, *call.keywords.values())
    if call.func is not np.matmul or len(call.args) < 3:
        return call
    a, _, out = stacks = call.args
    count = len(out)
    stacked = all(stack.ndim == out.ndim > 2 and len(stack) == count for stack in stacks)
    if not stacked or count < pool.count or out.size * a.shape[-1] < WORTH_SHARING:
        return call
    borders = pairwise(_borders(count, pool.count, HEAD_START / (out.size * a.shape[-1])))
    parts = [partial(np.matmul, *(stack[first:last] for stack in stacks)) for first, last in borders]
    return partial(pool.run, lambda rank: parts[rank]())


def _borders(count: int, workers: int, head_start: float) -> list[int]:
    """Where each worker's part of `count` products begins, and where the last one ends.

    The first worker, who calls the others, gets more by `head_start`, a share of the whole; everyone gets something.
    """
    others = workers - 1
    first = min(count - others, round(count * (1 + others * head_start) / workers))
    return [0, *(first + (count - first) * rank // others for rank in range(others)), count] if others else [0, count]
