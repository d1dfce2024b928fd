"""Our own products of matrices, to learn from: layers take cuBLAS. See `core/kernels/gemm.cu`."""

from __future__ import annotations

from core.backend import Array
from core.kernels import launch

__all__ = ["gemm_blocked", "gemm_naive", "gemm_tiled"]

SIDE = 32  # threads along each side of a block
TILE, TILE_THREADS = 64, 256  # rows and columns that a block makes, and its threads; as in tile.cuh


def gemm_naive(a: Array, b: Array, c: Array) -> None:
    """c = a b for a (M, K), b (K, N), c (M, N), an element a thread."""
    launch("gemm_naive", _grid(c), (SIDE, SIDE), a=a, b=b, c=c)


def gemm_tiled(a: Array, b: Array, c: Array) -> None:
    """The same, in tiles of shared memory."""
    launch("gemm_tiled", _grid(c), (SIDE, SIDE), a=a, b=b, c=c)


def gemm_blocked(a: Array, b: Array, c: Array) -> None:
    """The same, with 4 x 4 elements a thread."""
    M, N = c.shape
    launch("gemm_blocked", (tiles(M), tiles(N)), TILE_THREADS, a=a, b=b, c=c)


def tiles(size: int) -> int:
    """How many tiles cover so many rows or columns."""
    return -(-size // TILE)


def _grid(c: Array) -> tuple[int, int]:
    M, N = c.shape
    return -(-N // SIDE), -(-M // SIDE)
