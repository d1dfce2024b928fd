"""Element-wise work in pieces that stay in the cache, and the constants that such work reads."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from core.backend import Array, on_cpu

# Elements: two float32 operands of this length fill a second-level cache of 1 MB. Shorter pieces would be as good for
# one thread, but two meet at the interpreter's lock after every call and sleep there for longer than a short one takes.
BLOCK = 1 << 17


def blocks(*arrays: Array) -> Iterator[list[Array]]:
    """Matching pieces of equally large C-contiguous arrays, as flat views."""
    flat = [array.reshape(-1) for array in arrays]
    size = flat[0].size
    if size <= BLOCK:
        yield flat
        return
    for start in range(0, size, BLOCK):
        yield [array[start : start + BLOCK] for array in flat]


class _Zeros(dict[np.dtype[Any], Array]):
    """Zeros of each type that somebody has asked for, to which nobody can write."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self._shape = shape

    def __missing__(self, dtype: np.dtype[Any]) -> Array:
        self[dtype] = np.zeros(self._shape, dtype)
        self[dtype].setflags(write=False)
        return self[dtype]


ZEROS, ZERO = _Zeros((1 << 14,)), _Zeros(())  # a line of them, and a single one


def number(value: float, like: Array) -> Array | float:
    """A number to compute with: where `like` is NumPy's as an array, with which NumPy begins sooner."""
    return _as_array(value, like.dtype) if on_cpu(like) else value


@cache
def _as_array(value: float, dtype: np.dtype[Any]) -> Array:
    array = np.full((), value, dtype)
    array.setflags(write=False)
    return array
