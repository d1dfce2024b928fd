"""The fastest of several ways to the same result, which is found by trying them, now and then anew.

How much another core helps, nobody can tell beforehand. The two cores of a virtual machine may be two threads of one
real core today and two cores tomorrow; BLAS's own threads, which wait in a loop, halve a product's time on a quiet
machine, and on a busy one multiply it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter
from typing import Any

TRIES = 8  # of each way
PERIOD = 512  # calls, after which all are tried again


class Fastest:
    """Calls one of `ways`, each of which takes the same arguments and does the same."""

    def __init__(self, ways: Sequence[Callable[..., Any]]) -> None:
        self._ways = ways
        self._best = ways[0]
        self._calls = 0
        self._took: list[float] = []  # seconds, of all tries of the first way, of the second ...

    def __call__(self, *arguments: Any) -> None:
        turn = self._calls % PERIOD
        self._calls += 1
        if turn >= TRIES * len(self._ways) or len(self._ways) == 1:
            self._best(*arguments)
            return
        start = perf_counter()
        self._ways[turn // TRIES](*arguments)
        self._took.append(perf_counter() - start)
        if len(self._took) == TRIES * len(self._ways):
            self._best = min(self._ways, key=self._typical_time)
            self._took = []

    def _typical_time(self, way: Callable[..., Any]) -> float:
        first = self._ways.index(way) * TRIES
        return median(self._took[first : first + TRIES])
