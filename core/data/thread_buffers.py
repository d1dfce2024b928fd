"""Arrays that are allocated once and used again in every batch, separately in each thread."""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import DTypeLike

from core.backend import Array


class ThreadBuffers(threading.local):
    """Named scratch arrays: `array("grid", (32, 28, 28))` is the same memory in every call of one thread.

    A fresh array of a few megabytes costs thousands of page faults, several times the arithmetic done on it. Each
    thread sees buffers of its own, so an object that holds ThreadBuffers may be called from many threads at once.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Array] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> Array:
        """An uninitialised C-contiguous array of `shape`; it shares its memory with the last one of the same name."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size or buffer.dtype != dtype:
            buffer = self._buffers[name] = np.empty(size, dtype)
        return buffer[:size].reshape(shape)
