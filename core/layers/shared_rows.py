"""Many rows through a frozen network: all at once, or a part of them on each worker, whichever is faster.

Workers who share one call after another meet after each of them, and then fetch from each other's caches what the last
one has left there. Those who take some of the rows through the whole network meet once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from core.backend import Array
from core.fastest import Fastest
from core.layers.calls import Calls, is_close
from core.workers import Workers, free_workers

FEWEST_ROWS = 32  # of a part; for fewer it is not worth while to write down the calls of each


class SharedRows:
    """The calls for all rows, and for each worker of a pool those for some of the rows."""

    def __init__(self, whole: Calls, parts: Sequence[Calls], stretches: Sequence[slice], pool: Workers) -> None:
        self._whole, self._parts, self._stretches, self._pool = whole, parts, stretches, pool
        self._outputs: Array | None = None
        self._answer: Array | None = None
        self._fastest = Fastest([SharedRows._all_at_once, SharedRows._by_parts])  # not of this one: no cycle

    def suits(self, x: Array) -> bool:
        """Whether the answers to the parts of `x`, one below the other, are the answer to all of it: ask this first."""
        expected = self._whole.answer(x)
        answers = [calls.answer(x[stretch]) for calls, stretch in zip(self._parts, self._stretches, strict=True)]
        if expected is None or any(answer is None or answer.shape[1:] != expected.shape[1:] for answer in answers):
            return False
        self._outputs = np.concatenate([answer for answer in answers if answer is not None])
        return self._outputs.shape == expected.shape and is_close(self._outputs, expected)

    def answer(self, x: Array) -> Array | None:
        """The answer to `x`, in memory that the next one overwrites; None where these calls do not lead to it."""
        if free_workers() is not self._pool:
            return self._whole.answer(x)
        self._fastest(self, x)
        return self._answer

    def _all_at_once(self, x: Array) -> None:
        self._answer = self._whole.answer(x)

    def _by_parts(self, x: Array) -> None:
        answers: list[Array | None] = [None] * len(self._parts)

        def run(rank: int) -> None:
            answers[rank] = self._parts[rank].answer(x[self._stretches[rank]])

        self._pool.run(run)
        made = [answer for answer in answers if answer is not None]
        self._answer = np.concatenate(made, out=self._outputs) if len(made) == len(answers) else None


def stretches_of(rows: int, count: int) -> list[slice]:
    """The rows of each of `count` parts, about equally many; none if these would be too few to share."""
    if count < 2 or rows < FEWEST_ROWS * count:
        return []
    borders = [rank * rows // count for rank in range(count + 1)]
    return [slice(first, last) for first, last in pairwise(borders)]
