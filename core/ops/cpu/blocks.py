"""Element-wise work in pieces that stay in the cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.backend import Array

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


_zeros = {np.dtype(dtype): np.zeros(BLOCK, dtype) for dtype in (np.float32, np.float64, np.float16)}
for _array in _zeros.values():
    _array.setflags(write=False)

# A number of each type, as an array: NumPy begins sooner with it than with a number of Python's.
ZERO = {dtype: array[:1].reshape(()) for dtype, array in _zeros.items()}
HALF = {dtype: np.full((), 0.5, dtype) for dtype in _zeros}


def zeros(size: int, like: Array) -> Array:
    """So many zeros, BLOCK at most, that nobody may write to."""
    return _zeros[like.dtype][:size]
