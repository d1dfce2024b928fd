"""Element-wise work in pieces that stay in the cache."""

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


# A line of zeros of each type, and a single one.
ZEROS = {np.dtype(dtype): np.zeros(1 << 14, dtype) for dtype in (np.float32, np.float64, np.float16)}
ZERO = {dtype: np.zeros((), dtype) for dtype in ZEROS}
for _array in (*ZEROS.values(), *ZERO.values()):
    _array.setflags(write=False)


def number(value: float, like: Array) -> Array | float:
    """A number to compute with: where `like` is NumPy's as an array, with which NumPy begins sooner."""
    return _as_array(value, like.dtype) if on_cpu(like) else value


@cache
def _as_array(value: float, dtype: np.dtype[Any]) -> Array:
    array = np.full((), value, dtype)
    array.setflags(write=False)
    return array
