"""A list of NumPy calls, made by one thread or by several: what `core.frozen.replay` makes again and again.

The ways that may pay are tried, see `core.fastest`: one thread makes all calls; or the workers share the long ones,
each of whom makes a part; or BLAS's own threads share the large products.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import cycle, pairwise, repeat
from typing import Any, TypeAlias, TypeGuard

import numpy as np

from core.backend import Array
from core.blas import with_blas_threads
from core.fastest import Call, Turns, Way
from core.layers.base import Layer
from core.ops.cpu.large_product import (
    MANY_ROWS,
    SHARED_BY_BLAS,
    multiply_by_columns,
    multiply_by_rows,
    shared_by_blas,
)
from core.params import Parameter
from core.workers import Workers, free_workers

Source: TypeAlias = tuple[dict[str, Any], str, Array]  # the attributes of a parameter's layer, its name, its data
Absence: TypeAlias = tuple[dict[str, Any], str]  # of a bias, which somebody may add by hand

MULTIPLICATIONS_WORTH_SHARING = 1_500_000  # of a call or an answer; most of fewer are over before others are awake
HEAD_START = 800_000  # multiplications that the caller has done when the others are awake
CLOSE = 1e-3  # relative; answers may differ by rounding in another order


class Calls:
    """All calls from an input to a network's answer, the parameters that they know, and the fastest way to make them.

    The input `x` shows which ones they answer; they are copied to `inputs`, perhaps to several places there.
    `calls_in_turn`, if there are any, are the same ones in another order, for every second input. `calls_for_threads`
    do the same as `calls`, but suit BLAS's threads better.
    """

    def __init__(
        self,
        x: Array,
        inputs: Array,
        calls: list[Call],
        outputs: Array,
        network: Layer,
        calls_in_turn: list[Call] | None = None,
        calls_for_threads: list[Call] | None = None,
    ) -> None:
        self._inputs, self._calls, self._outputs = inputs, calls, outputs
        self._sources, self._absences = list(_sources(network)), list(_absences(network))
        self._calls_for_threads = calls_for_threads or calls
        self._shape, self._dtype = x.shape, x.dtype  # which NumPy makes anew whenever it is asked
        self._alone: Way = cycle((calls, calls_in_turn or calls))
        self._turns: Way = self._alone
        self._pool: Workers | None = None  # for whom the turns are
        self._is_for_one = not any(map(_may_be_shared, [*calls, *self._calls_for_threads]))

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def multiplications(self) -> int:
        """How many there are in all products: about how much work an answer is."""
        return sum(map(_multiplications, self._calls))

    def answer(self, x: Array) -> Array | None:
        """The answer to `x`, in memory that the next one overwrites; None where these calls do not lead to it.

        They do if `x` is like the input that they are for, and the network still has the parameters that they know.
        """
        try:
            for attributes, name, data in self._sources:
                if attributes[name].data is not data:
                    return None
        except AttributeError:  # somebody took a bias away
            return None
        for attributes, name in self._absences:
            if attributes[name] is not None:
                return None
        if x.dtype != self._dtype or x.shape != self._shape:
            return None
        self._inputs[...] = x
        for call in next(self._alone if self._is_for_one else self._next_turns()):
            call()
        return self._outputs

    def _next_turns(self) -> Way:
        pool = free_workers()
        if pool is None:
            return self._alone
        if pool is not self._pool:
            ways = self._ways(pool)
            self._pool, self._turns = pool, Turns(ways) if len(ways) > 1 else self._alone
        return self._turns

    def _ways(self, pool: Workers) -> list[Way]:
        """Those that may pay with these workers."""
        calls, for_threads = self._calls, self._calls_for_threads
        ways = [self._alone]
        shared_calls = [_shared(call, pool) for call in calls]
        if any(new is not old for new, old in zip(shared_calls, calls, strict=True)):
            ways.append(repeat(shared_calls))
        if any(map(_is_large_product, for_threads)):
            ways.append(repeat([partial(with_blas_threads, pool.count, _make_all, for_threads)]))
        return ways


def is_close(answer: Array, expected: Array) -> bool:
    """Whether one way to an answer leads to the same as another, but for rounding."""
    return np.allclose(answer, expected, rtol=CLOSE, atol=CLOSE * np.abs(expected).max())


def _sources(network: Layer) -> Iterator[Source]:
    for _, layer in network.walk():
        for name, value in vars(layer).items():
            if isinstance(value, Parameter):
                yield vars(layer), name, value.data


def _absences(network: Layer) -> Iterator[Absence]:
    return ((vars(layer), "bias") for _, layer in network.walk() if getattr(layer, "bias", layer) is None)


def _make_all(calls: list[Call]) -> None:
    for call in calls:
        call()


def _is_product(call: Call) -> TypeGuard[partial[Any]]:
    """Whether it is a product of two arrays into a third, and nothing else about it."""
    if not isinstance(call, partial) or call.func not in (np.matmul, np.ndarray.dot):
        return False
    return len(call.args) + len(call.keywords) == 3 and call.keywords.keys() <= {"out"}


def _multiplications(call: Call) -> int:
    """How many of a product of matrices; none of another call."""
    if not _is_product(call):
        return 0
    x, _, out = (*call.args, *call.keywords.values())
    return out.size * x.shape[-1]  # type: ignore[no-any-return]


def _is_large_product(call: Call) -> TypeGuard[partial[Any]]:
    """Whether it is one product of matrices that BLAS would share between its threads."""
    if not _is_product(call) or call.args[1].ndim > 2:
        return False
    return _multiplications(call) >= shared_by_blas(call.args[0].dtype)


def _is_large_stack(call: Call) -> TypeGuard[partial[Any]]:
    """Whether it is a product of stacks of matrices, equally many or a single one, that is worth sharing."""
    if not _is_product(call) or call.func is not np.matmul or call.keywords:
        return False
    out = call.args[2]
    stacked = all(stack.ndim == out.ndim > 2 and len(stack) in (1, len(out)) for stack in call.args)
    return stacked and _multiplications(call) >= MULTIPLICATIONS_WORTH_SHARING


def _may_be_shared(call: Call) -> bool:
    return _is_large_product(call) or _is_large_stack(call)


def _shared(call: Call, pool: Workers) -> Call:
    """The call as one of which each worker makes a part; the call itself where that cannot pay."""
    if _is_large_product(call):
        x, weight, *rest = call.args
        if weight.size >= SHARED_BY_BLAS:  # a small one has too few columns to share
            return partial(multiply_by_columns, x, weight, *rest, *call.keywords.values())
        if x.ndim == 2 and len(x) >= MANY_ROWS and x.size * weight.shape[1] >= MULTIPLICATIONS_WORTH_SHARING:
            return partial(multiply_by_rows, x, weight, *rest, *call.keywords.values())
    if not _is_large_stack(call) or len(call.args[2]) < pool.count:
        return call
    a, _, out = stacks = call.args
    borders = pairwise(_borders(len(out), pool.count, HEAD_START / (out.size * a.shape[-1])))
    parts = [
        partial(np.matmul, *(stack[first:last] if len(stack) > 1 else stack for stack in stacks))
        for first, last in borders
    ]
    return partial(pool.run, lambda rank: parts[rank]())


def _borders(count: int, workers: int, head_start: float) -> list[int]:
    """Where each worker's part of `count` products begins, and where the last one ends.

    The first worker, who calls the others, gets more by `head_start`, a share of the whole; everyone gets something.
    """
    others = workers - 1
    first = min(count - others, round(count * (1 + others * head_start) / workers))
    return [0, *(first + (count - first) * rank // others for rank in range(others)), count] if others else [0, count]
