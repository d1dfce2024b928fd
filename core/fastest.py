"""The fastest of several ways to the same result, which is found by trying them, now and then anew.

How much another core helps, nobody can tell beforehand. The two cores of a virtual machine may be two threads of one
real core today and two cores tomorrow; BLAS's own threads, which wait in a loop, halve a product's time on a quiet
machine, and on a busy one multiply it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
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
        self._took = [[inf] * TRIES for _ in ways]  # seconds of each way's tries

    def __call__(self, *arguments: Any) -> None:
        turn = self._calls % PERIOD
        self._calls += 1
        if turn >= TRIES * len(self._ways) or len(self._ways) == 1:
            self._best(*arguments)
        else:
            self._try(*divmod(turn, TRIES), *arguments)

    def _try(self, number: int, attempt: int, *arguments: Any) -> None:
        start, self._took[number][attempt] = perf_counter(), inf  # where it fails
        self._ways[number](*arguments)
        self._took[number][attempt] = perf_counter() - start
        if number == len(self._ways) - 1 and attempt == TRIES - 1:
            typical = [median(seconds) for seconds in self._took]
            self._best = self._ways[typical.index(min(typical))]
