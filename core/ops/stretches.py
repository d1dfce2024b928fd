"""Where the parameters lie in the flat buffers, for updates that treat each of them by its own rule."""

from __future__ import annotations

import math
from typing import NamedTuple

from core.backend import Array

__all__ = ["Stretch"]


class Stretch(NamedTuple):
    """One parameter: its first element in the flat buffers, its shape, and its rate; None for a matrix of Muon's."""

    start: int
    shape: tuple[int, ...]
    rate: float | None

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def of(self, buffer: Array) -> Array:
        """The parameter's part of a buffer (N,), in its shape."""
        part: Array = buffer[self.start : self.start + self.size].reshape(self.shape)
        return part
