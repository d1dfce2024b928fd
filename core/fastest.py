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
PERIOD = 512  # calls at least, before all are tried again
LEAST_PERIOD = 2.0  # seconds, too: after a try BLAS's threads wait in their loop for a while, and take a core's time
REST = 0.06  # seconds, in which they go to sleep; until then they slow the first way down
CLEARLY = 0.95  # of the first way's time; the time of another core is worth something


class Fastest:
    """Calls one of `ways`, all of which take the same arguments and do the same: the first, or a clearly faster one."""

    def __init__(self, ways: Sequence[Callable[..., Any]]) -> None:
        self._ways = ways
        self._best = ways[0]
        self._took = [[inf] * TRIES for _ in ways]  # seconds of each way's tries
        self._tried = 0
        self._left = 0  # calls before the next look at the clock
        self._next_tries = 0.0  # when

    def __call__(self, *arguments: Any) -> None:
        if self._left > 0:
            self._left -= 1
            self._best(*arguments)
        elif self._tried == 0 and (rest := self._next_tries - perf_counter()) > 0:
            if rest < REST:
                self._best = self._ways[0]
            self._left = PERIOD - 1
            self._best(*arguments)
        else:
            self._try(*arguments)

    def _try(self, *arguments: Any) -> None:
        number, attempt = divmod(self._tried, TRIES)
        self._tried = (self._tried + 1) % (TRIES * len(self._ways))
        start, self._took[number][attempt] = perf_counter(), inf  # where it fails
        self._ways[number](*arguments)
        self._took[number][attempt] = perf_counter() - start
        if self._tried == 0:
            self._choose()

    def _choose(self) -> None:
        typical = [median(seconds) for seconds in self._took]
        shortest = min(typical)
        self._best = self._ways[typical.index(shortest) if shortest < CLEARLY * typical[0] else 0]
        self._left, self._next_tries = PERIOD, perf_counter() + LEAST_PERIOD
