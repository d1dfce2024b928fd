"""Where NumPy's arrays lie: at the beginning of a cache line, and what stays as it is side by side in large pages.

NumPy's own arrays begin 16 bytes behind a line, so that AVX-512, which reads a whole line at once, touches two of them.
That shows most in a row times a matrix that lies in the second-level cache. A GPU's arrays lie well already.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from core.backend import Array, array_module, on_cpu

LINE = 64  # bytes of a cache line
FLOATS = LINE // 4  # float32 in it
LARGE_PAGE = 2 << 20  # bytes; NumPy asks Linux for such pages wherever it takes 4 MB or more at once
SHELF = 4 << 20  # bytes
WORTH_ASKING = 64 << 20  # bytes; whether fewer are there, nobody asks
MEMINFO = Path("/proc/meminfo")


def expect_room(size: int) -> None:
    """MemoryError, which says what there is, if the system cannot give so many bytes; only Linux is asked.

    Linux promises more memory than it has, and ends without a word the process that later uses it.
    """
    there = available() if size >= WORTH_ASKING else None
    if there is not None and size > there:
        raise MemoryError(
            f"{size / 1e9:,.1f} GB are needed at once, and {there / 1e9:,.1f} GB are free; "
            "a smaller network or batch needs less"
        )


def available() -> int | None:
    """The bytes that Linux can still give, on disk too; None where nobody says."""
    try:
        lines = [line.split() for line in MEMINFO.read_text("ascii").splitlines()]
        kilobytes = {words[0]: int(words[1]) for words in lines}
        return 1024 * (kilobytes["MemAvailable:"] + kilobytes["SwapFree:"])
    except (OSError, ValueError, LookupError):
        return None


def empty(shape: int | tuple[int, ...], dtype: DTypeLike, like: Array) -> Array:
    """An uninitialised C-contiguous array on the device of `like`."""
    return _on_a_line(np.empty, shape, dtype) if on_cpu(like) else array_module(like).empty(shape, dtype)


def zeros(shape: int | tuple[int, ...], dtype: DTypeLike, like: Array) -> Array:
    """The same, of zeros."""
    return _on_a_line(np.zeros, shape, dtype) if on_cpu(like) else array_module(like).zeros(shape, dtype)


def aligned(array: Array) -> Array:
    """The array itself if it is C-contiguous and begins well, else a copy that does."""
    if not on_cpu(array):
        return array_module(array).ascontiguousarray(array)  # type: ignore[no-any-return]
    if array.flags.c_contiguous and _address(array) % LINE == 0:
        return array
    copy = empty(array.shape, array.dtype, array)
    copy[...] = array
    return copy


def lies_on_lines(array: Array) -> bool:
    """Whether all rows of an array of NumPy's begin with a line; their elements lie side by side."""
    *distances, element = array.strides
    in_rows = element == array.itemsize and all(distance % LINE == 0 for distance in distances)
    return in_rows and _address(array) % LINE == 0


def constant(array: Array) -> Array:
    """A copy that nobody can write to, at least not on a CPU."""
    if not on_cpu(array):
        copy: Array = array.copy()
        return copy
    copy = _place_on_shelf(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    copy.setflags(write=False)
    return copy


def is_constant(array: Array) -> bool:
    """Whether nobody can write to an array of NumPy's, nor to the memory that it shows."""
    if not isinstance(array, np.ndarray) or array.flags.writeable:
        return False
    return array.base is None or (isinstance(array.base, np.ndarray) and not array.base.flags.writeable)


def bytes_on_a_line(size: int) -> Array:
    """So many bytes, uninitialised: uint8 (size,)."""
    return _on_a_line(np.empty, size, np.uint8)


def _on_a_line(make: Callable[..., Array], shape: int | tuple[int, ...], dtype: DTypeLike) -> Array:
    shape, kind = (shape,) if isinstance(shape, int) else shape, np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    expect_room(size)
    memory = make(size + LINE, np.uint8)
    first = -_address(memory) % LINE
    return memory[first : first + size].view(kind).reshape(shape)


def _address(array: Array) -> int:
    return array.__array_interface__["data"][0]  # type: ignore[no-any-return]


class _Shelf:
    """A block of memory for arrays that will be constant, each of which keeps all of it alive."""

    def __init__(self, size: int) -> None:
        memory = np.empty(size + LARGE_PAGE, np.uint8)
        first = -_address(memory) % LARGE_PAGE
        self._memory = memory[first : first + size]
        memory.setflags(write=False)  # so that `is_constant` knows; who has a view from before can still write
        self._used = 0

    def take(self, size: int) -> Array | None:
        """So many bytes, which others can write to until they say that they do not want to; None if it is full."""
        first, after = self._used, self._used + size
        if after > len(self._memory):
            return None
        self._used = -(-after // LINE) * LINE
        return self._memory[first:after]


_shelf = _Shelf(0)
_putting = threading.Lock()


def _place_on_shelf(size: int) -> Array:
    global _shelf
    with _putting:
        place = _shelf.take(size)
        if place is None:
            _shelf = _Shelf(max(SHELF, size))
            place = _shelf.take(size)
    assert place is not None
    return place
