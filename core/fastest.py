"""The fastest of several ways to the same result, which is found by trying them, now and then anew.

How much another core helps, nobody can tell beforehand. The two cores of a virtual machine may be two threads of one
real core today and two cores tomorrow; BLAS's own threads, which wait in a loop, halve a product's time on a quiet
machine, and on a busy one multiply it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice, repeat
from math import inf
from statistics import median
from time import perf_counter
from typing import Any, TypeAlias

Call: TypeAlias = Callable[..., Any]
Way: TypeAlias = Iterator[Sequence[Call]]  # endless; what to make each time

TRIES = 8  # of each way
PERIOD = 512  # calls at least, before all are tried again
LEAST_PERIOD = 2.0  # seconds, too: after a try BLAS's threads wait in their loop for a while, and take a core's time
LONGEST_PERIOD = 32.0  # which it grows to while the first way stays the best: then a try costs more than it may gain
REST = 0.11  # seconds, in which OpenBLAS's go to sleep; until then they slow the first way down
CLEARLY = 0.95  # of the first way's time; the time of another core is worth something


class Fastest:
    """Calls one of `ways`, all of which take the same arguments and do the same: the first, or a clearly faster one."""

    def __init__(self, ways: Sequence[Call]) -> None:
        self._ways = ways
        self._turns = Turns([repeat((way,)) for way in ways])

    def __call__(self, *arguments: Any) -> None:
        for call in next(self._turns):
            call(*arguments)

    def __reduce__(self) -> tuple[type[Fastest], tuple[Sequence[Call]]]:
        return Fastest, (self._ways,)  # copies find out for themselves


class Turns(Iterator[Sequence[Call]]):
    """The calls to make next, again and again: each way's own next ones to try it, or those of the fastest way."""

    def __init__(self, ways: Sequence[Way]) -> None:
        self._ways = ways
        self._turns = _turns(ways)

    def __next__(self) -> Sequence[Call]:
        calls = next(self._turns, None)
        if calls is None:  # Ctrl-C, raised inside a generator, ends it
            self._turns = _turns(self._ways)
            calls = next(self._turns)
        return calls


def _turns(ways: Sequence[Way]) -> Iterator[Sequence[Call]]:
    """The turns of `Turns`. The last call of a try stops the clock: whoever makes the calls needs only a loop."""
    took = [[inf] * TRIES for _ in ways]  # seconds
    period = 0.0
    while True:
        for seconds, way in zip(took, ways, strict=True):
            for attempt in range(TRIES):
                seconds[attempt] = inf  # where it fails
                yield [*next(way), partial(_stop, perf_counter(), seconds, attempt)]
        best = _choose(ways, took)
        period = min(max(2 * period, LEAST_PERIOD), LONGEST_PERIOD) if best is ways[0] else LEAST_PERIOD
        next_tries = perf_counter() + period
        yield from islice(best, PERIOD)
        while (rest := next_tries - perf_counter()) > 0:
            yield from islice(ways[0] if rest < REST else best, PERIOD)


def _stop(start: float, seconds: list[float], attempt: int, *_: Any) -> None:
    seconds[attempt] = perf_counter() - start


def _choose(ways: Sequence[Way], took: list[list[float]]) -> Way:
    typical = [median(seconds) for seconds in took]
    shortest = min(typical)
    return ways[typical.index(shortest) if shortest < CLEARLY * typical[0] else 0]
