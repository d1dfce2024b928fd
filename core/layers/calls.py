"""A list of NumPy calls, made by one thread or by several: what `core.layers.replay` makes again and again.

BLAS's own threads help with a single large product, see `core.workers.blas_threads`. A call for many small products is
cut, and each worker makes a part of it, if that is faster. Whether it is nobody can tell beforehand: the two cores of a
virtual machine may be two threads of one real core today, and two cores tomorrow. So now and then both ways are tried.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

from core.ops.cpu.linear import SHARED_BY_BLAS
from core.workers import Workers, blas_threads, can_share, workers

Call: TypeAlias = partial[Any]

WORTH_SHARING = 1_500_000  # multiplications of a call, done in some 20 microseconds; another worker is awake after 5
TRIES = 8  # of each way
PERIOD = 512  # times that the calls are made before both ways are tried again


class CallList:
    """Calls in their order, and the faster way to make them."""

    def __init__(self, calls: list[Call]) -> None:
        self._calls = calls
        self._has_large_product = any(is_large_product(call) for call in calls)
        self._shared_calls: list[Call] = []  # the same calls, some of which are shared by
        self._pool: Workers | None = None
        self._is_worth_sharing = False
        self._times = 0
        self._took: tuple[list[float], list[float]] = [], []  # seconds, alone and shared
        self._sharing_is_faster = False

    def __len__(self) -> int:
        return len(self._calls)

    def make(self) -> None:
        """Make all calls."""
        if self._has_large_product:
            with blas_threads:
                self._make()
        else:
            self._make()

    def _make(self) -> None:
        if not can_share():
            _make_all(self._calls)
            return
        if self._pool is not workers():
            self._cut(workers())
        if not self._is_worth_sharing:
            _make_all(self._calls)
            return
        turn, self._times = self._times % PERIOD, self._times + 1
        if turn < 2 * TRIES:
            self._try(shared=turn >= TRIES)
        else:
            _make_all(self._shared_calls if self._sharing_is_faster else self._calls)

    def _try(self, shared: bool) -> None:
        """Make all calls one way and take the time; after the last try it is known which way is faster."""
        start = perf_counter()
        _make_all(self._shared_calls if shared else self._calls)
        self._took[shared].append(perf_counter() - start)
        if len(self._took[True]) == TRIES:
            self._sharing_is_faster = median(self._took[True]) < median(self._took[False])
            self._took = [], []

    def _cut(self, pool: Workers) -> None:
        """Prepare for these workers."""
        self._shared_calls, self._pool = [_shared(call, pool) for call in self._calls], pool
        self._is_worth_sharing = any(new is not old for new, old in zip(self._shared_calls, self._calls, strict=True))
        self._times, self._took = 0, ([], [])


def _make_all(calls: list[Call]) -> None:
    for call in calls:
        call()


def is_large_product(call: Call) -> bool:
    """Whether BLAS would share a product between its threads."""
    if call.func not in (np.matmul, np.ndarray.dot):
        return False
    a, b, *_ = call.args
    rows, columns = (a.shape[-2] if a.ndim > 1 else 1), (b.shape[-1] if b.ndim > 1 else 1)
    return rows * columns * a.shape[-1] >= SHARED_BY_BLAS  # type: ignore[no-any-return]


def _shared(call: Call, pool: Workers) -> Call:
    """The call as one for all workers, each of whom makes a part of it; the call itself where that cannot pay."""
    if call.func is not np.matmul or len(call.args) < 3 or is_large_product(call):
        return call
    a, _, out = stacks = call.args
    count = len(out)
    stacked = all(stack.ndim > 2 and len(stack) == count for stack in stacks)
    if not stacked or count < pool.count or out.size * a.shape[-1] < WORTH_SHARING:
        return call
    borders = pairwise(rank * count // pool.count for rank in range(pool.count + 1))
    parts = [partial(np.matmul, *(stack[first:last] for stack in stacks)) for first, last in borders]
    return partial(pool.run, lambda rank: parts[rank]())
