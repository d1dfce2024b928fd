"""The steps of packed sequences, and their copy on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.backend import Array, array_module

__all__ = ["Steps"]


class Steps(tuple[tuple[int, int], ...]):
    """(first row, number of rows) of each step, in the order of a walk: a tuple for the host, an array for a GPU.

    Kernels read the steps from the GPU's memory. They are sent there once, however many layers and passes use them.
    """

    _sent: Any = None

    @classmethod
    def of(cls, spans: Sequence[tuple[int, int]]) -> Steps:
        """`spans` themselves, if they are such steps already."""
        return spans if isinstance(spans, cls) else cls(spans)

    def array(self, like: Array) -> Array:
        """The same as int32 (L, 2) where `like` lives."""
        xp = array_module(like)
        if not isinstance(self._sent, xp.ndarray):
            self._sent = xp.asarray(np.array(self, np.int32).reshape(-1, 2))
        return self._sent  # type: ignore[no-any-return]
