"""Our own products of matrices, to learn from: layers take cuBLAS. See `core/kernels/gemm.cu`."""

from __future__ import annotations

from core.backend import Array
from core.kernels import launch

__all__ = ["gemm_blocked", "gemm_naive", "gemm_tiled"]

SIDE = 32  # threads along each side of a block
TILE_ROWS, TILE_THREADS = 128, 256  # what a block makes, and its threads; as in tile.cuh, like what follows


def gemm_naive(a: Array, b: Array, c: Array) -> None:
    """c = a b for a (M, K), b (K, N), c (M, N), an element a thread."""
    launch("gemm_naive", _grid(c), (SIDE, SIDE), a=a, b=b, c=c)


def gemm_tiled(a: Array, b: Array, c: Array) -> None:
    """The same, in tiles of shared memory."""
    launch("gemm_tiled", _grid(c), (SIDE, SIDE), a=a, b=b, c=c)


def gemm_blocked(a: Array, b: Array, c: Array) -> None:
    """The same, with 32 elements a thread, or on tensor cores."""
    M, N = c.shape
    launch("gemm_blocked", tiles(M, N, c), TILE_THREADS, a=a, b=b, c=c)


def tiles(rows: int, columns: int, like: Array) -> int:
    """How many tiles cover a matrix whose elements are of the type of `like`."""
    return -(-rows // TILE_ROWS) * -(-columns // (128 if like.itemsize == 2 else 64))


def _grid(c: Array) -> tuple[int, int]:
    M, N = c.shape
    return -(-N // SIDE), -(-M // SIDE)
