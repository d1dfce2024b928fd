"""Many rows through a frozen network: a part of them on each worker, or all on one, whichever is faster.

Workers who share one call after another meet after each of them, and then fetch from each other's caches what the last
one has left there. Those who take some of the rows through the whole network meet once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from core.backend import Array
from core.fastest import Fastest
from core.frozen.calls import Calls, is_close
from core.workers import Workers, alone, free_workers

FEWEST_ROWS = 32  # of a part; for fewer it is not worth while to write down the calls of each


class SharedRows:
    """For each worker of a pool the calls that take some of the rows through the network."""

    def __init__(self, parts: Sequence[Calls], stretches: Sequence[slice], pool: Workers) -> None:
        self._parts, self._stretches, self._pool = parts, stretches, pool
        self._answers: list[Array | None] = [None] * len(parts)
        self._outputs: Array | None = None  # all answers, one below the other
        self._fastest = Fastest([SharedRows._by_one, SharedRows._by_all])  # not of this one: no cycle

    def suits(self, x: Array, expected: Array) -> bool:
        """Whether the answers to the parts of `x`, one below the other, are the one that is expected: ask this first.

        It shows whether the network answers each row by itself.
        """
        self._by_one(x)
        made = [answer for answer in self._answers if answer is not None]
        if len(made) < len(self._parts) or any(answer.shape[1:] != expected.shape[1:] for answer in made):
            return False
        self._outputs = np.concatenate(made)
        return self._outputs.shape == expected.shape and is_close(self._outputs, expected)

    def answer(self, x: Array) -> Array | None:
        """The answer to `x`, in memory that the next one overwrites; None where these calls do not lead to it.

        Nor do they where there are other workers by now, who need parts of their own.
        """
        pool = free_workers()
        if pool is self._pool:
            self._fastest(self, x)
        elif pool is None:
            self._by_one(x)
        else:
            return None
        made = [answer for answer in self._answers if answer is not None]
        return np.concatenate(made, out=self._outputs) if len(made) == len(self._parts) else None

    def _by_one(self, x: Array) -> None:
        with alone():
            for place in range(len(self._parts)):
                self._answer_part(place, x)

    def _by_all(self, x: Array) -> None:
        self._pool.run(lambda rank: self._answer_part(rank, x))

    def _answer_part(self, place: int, x: Array) -> None:
        self._answers[place] = self._parts[place].answer(x[self._stretches[place]])


def stretches_of(rows: int, count: int) -> list[slice]:
    """The rows of each of `count` parts, about equally many; none if these would be too few to share."""
    if count < 2 or rows < FEWEST_ROWS * count:
        return []
    borders = [rank * rows // count for rank in range(count + 1)]
    return [slice(first, last) for first, last in pairwise(borders)]
