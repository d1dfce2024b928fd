"""Element-wise work in pieces that stay in the cache."""

from __future__ import annotations

from collections.abc import Iterator

from core.backend import Array, device_of

BLOCK = 1 << 14  # elements: four float32 operands of this length fit into a 1 MB second-level cache with room to spare


def blocks(*arrays: Array) -> Iterator[list[Array]]:
    """Matching pieces of equally large C-contiguous arrays, as flat views; on a GPU, all in one piece."""
    flat = [array.reshape(-1) for array in arrays]
    size = flat[0].size
    if size <= BLOCK or device_of(flat[0]) == "gpu":
        yield flat
        return
    for start in range(0, size, BLOCK):
        yield [array[start : start + BLOCK] for array in flat]
