"""A list of NumPy calls, made by one thread or by several: what `core.layers.replay` makes again and again.

The ways that may pay are tried, see `core.fastest`: one thread makes all calls; or the workers share the long ones,
each of whom makes a part; or BLAS's own threads share the large products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, TypeAlias, TypeGuard

import numpy as np

from core.backend import Array
from core.fastest import Fastest
from core.layers.base import Layer
from core.ops.cpu.linear import MANY_ROWS, SHARED_BY_BLAS, multiply_by_columns, multiply_by_rows, shared_by_blas
from core.params import Parameter
from core.workers import Workers, free_workers, with_blas_threads

Call: TypeAlias = Callable[[], Any]  # mostly a partial, which shows what is called
Source: TypeAlias = tuple[dict[str, Any], str, Parameter, Array]  # its layer's attributes, its name, itself, its data
Absence: TypeAlias = tuple[dict[str, Any], str]  # of a bias, which somebody may add by hand

WORTH_SHARING = 1_500_000  # multiplications of a call; most of fewer are done before the others are awake
HEAD_START = 800_000  # multiplications that the caller has done when the others are awake


class Calls:
    """All calls from an input to a network's answer, the parameters that they know, and the fastest way to make them.

    `calls_for_threads`, if there are any, do the same as `calls`, but suit BLAS's threads better.
    """

    def __init__(
        self,
        inputs: Array,
        calls: list[Call],
        outputs: Array,
        network: Layer,
        calls_for_threads: list[Call] | None = None,
    ) -> None:
        self._inputs, self._calls, self._outputs = inputs, calls, outputs
        self._sources, self._absences = list(_sources(network)), list(_absences(network))
        self._calls_for_threads = calls_for_threads or calls
        self._shape, self._dtype = inputs.shape, inputs.dtype  # which NumPy makes anew whenever it is asked
        self._pool: Workers | None = None
        self._make_alone: Callable[[Array], None] = partial(_make_all, inputs, calls)
        self._make_with_others: Callable[[Array], None] = self._make_alone

    def __len__(self) -> int:
        return len(self._calls)

    def suit(self, x: Array) -> bool:
        """Whether they answer inputs like `x`, and the network still has the parameters that they know."""
        for attributes, name, parameter, data in self._sources:
            if attributes[name] is not parameter or parameter.data is not data:
                return False
        for attributes, name in self._absences:
            if attributes[name] is not None:
                return False
        return x.dtype == self._dtype and x.shape == self._shape

    def make(self, x: Array) -> Array:
        """The answer to `x`, in memory that the next one overwrites."""
        pool = free_workers()
        if pool is self._pool:
            self._make_with_others(x)
        elif pool is None:
            self._make_alone(x)
        else:
            ways = self._ways(pool)
            self._pool, self._make_with_others = pool, Fastest(ways) if len(ways) > 1 else ways[0]
            self._make_with_others(x)
        return self._outputs

    def _ways(self, pool: Workers) -> list[Callable[[Array], None]]:
        """Those that may pay with these workers."""
        inputs, calls, for_threads = self._inputs, self._calls, self._calls_for_threads
        ways = [self._make_alone]
        shared_calls = [_shared(call, pool) for call in calls]
        if any(new is not old for new, old in zip(shared_calls, calls, strict=True)):
            ways.append(partial(_make_all, inputs, shared_calls))
        if any(map(_is_large_product, for_threads)):
            ways.append(partial(with_blas_threads, pool.count, _make_all, inputs, for_threads))
        return ways


def _sources(network: Layer) -> Iterator[Source]:
    for _, layer in network.walk():
        for name, value in vars(layer).items():
            if isinstance(value, Parameter):
                yield vars(layer), name, value, value.data


def _absences(network: Layer) -> Iterator[Absence]:
    return ((vars(layer), "bias") for _, layer in network.walk() if getattr(layer, "bias", layer) is None)


def _make_all(inputs: Array, calls: list[Call], x: Array) -> None:
    inputs[...] = x
    for call in calls:
        call()


def _is_large_product(call: Call) -> TypeGuard[partial[Any]]:
    """Whether it is one product of matrices that BLAS would share between its threads."""
    if not isinstance(call, partial) or call.func not in (np.matmul, np.ndarray.dot) or call.args[1].ndim > 2:
        return False
    x, weight, *_ = call.args
    return x.size * weight.shape[-1] >= shared_by_blas(x.dtype)  # type: ignore[no-any-return]


def _shared(call: Call, pool: Workers) -> Call:
    """The call as one of which each worker makes a part; the call itself where that cannot pay."""
    if _is_large_product(call):
        x, weight, *rest = call.args
        if weight.size >= SHARED_BY_BLAS:  # a small one has too few columns to share
            return partial(multiply_by_columns, x, weight, *rest, *call.keywords.values())
        if x.ndim == 2 and len(x) >= MANY_ROWS and x.size * weight.shape[1] >= WORTH_SHARING:
            return partial(multiply_by_rows, x, weight, *rest, *call.keywords.values())
    if not isinstance(call, partial) or call.func is not np.matmul or len(call.args) < 3:
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
