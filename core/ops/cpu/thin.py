"""Products of matrices of which one has few rows, cut into pieces that OpenBLAS multiplies where they lie.

OpenBLAS lays a matrix out anew before it multiplies, which with few rows takes longer than the product. For processors
with AVX-512 it has kernels that do without, but only for small products: so the large ones are cut. A weight that stays
as it is can be laid out for that once, in panels: then each product reads one piece of memory from end to end.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from core.backend import Array
from core.memory import FLOATS
from core.ops.cpu.frames import Workspace

FEW_ROWS = 32  # with more, laying out the weight pays
MOST_MULTIPLICATIONS = 1_000_000  # of one product that is multiplied in place
PANEL = 64  # columns, as many as OpenBLAS multiplies at once
MOST_TRANSPOSED = 1024  # elements of the result, where the weight is transposed
WORTH_CUTTING = 1 << 17  # multiplications; fewer are done sooner than cut
NARROWEST = 64  # columns of a piece, whose rows would be too short stretches of memory otherwise
MOST_PARTIAL = 1 << 18  # elements of all sums over a part of the weight's rows
KERNELS_IN_PLACE = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # OpenBLAS's names for its kernels with AVX-512


@cache
def multiplies_in_place() -> bool:
    """Whether NumPy's BLAS has kernels for small products here."""
    from threadpoolctl import threadpool_info

    return any(library.get("architecture") in KERNELS_IN_PLACE for library in threadpool_info())


def product(x: Array, weight: Array, y: Array) -> None:
    """y = x W; x (M, D), weight (D, K), y (M, K)."""
    (M, D), K = x.shape, weight.shape[1]
    pieces = -(-M * D * K // MOST_MULTIPLICATIONS)
    if _suits(M, M * D * K) and pieces > 1:
        across, down = equal_pieces(K // FLOATS, pieces) if K % FLOATS == 0 else 1, equal_pieces(D, pieces)
        if across > 1 and K // across >= NARROWEST:
            columns = weight.reshape(D, across, -1).transpose(1, 0, 2)  # (pieces, D, K / pieces)
            np.matmul(x, columns, out=y.reshape(M, across, -1).transpose(1, 0, 2))
            return
        if down > 1 and down * y.size <= MOST_PARTIAL:
            partial = np.empty((down, M, K), y.dtype)
            np.matmul(x.reshape(M, down, -1).transpose(1, 0, 2), weight.reshape(down, -1, K), out=partial)
            np.add.reduce(partial, axis=0, out=y)
            return
    np.matmul(x, weight, out=y)


def product_with_transposed(dy: Array, weight: Array, dx: Array) -> None:
    """dx = dy W^T; dy (M, K), weight (D, K), dx (M, D)."""
    (M, K), D = dy.shape, len(weight)
    pieces = equal_pieces(D, -(-M * D // MOST_TRANSPOSED)) if _suits(M, M * D * K) else 1
    if pieces > 1:
        rows = weight.reshape(pieces, -1, K).transpose(0, 2, 1)  # (pieces, K, D / pieces)
        np.matmul(dy, rows, out=dx.reshape(M, pieces, -1).transpose(1, 0, 2))
    else:
        np.matmul(dy, weight.T, out=dx)


def product_of_transposed(x: Array, dy: Array, dweight: Array) -> None:
    """dW = x^T dy; x (M, D), dy (M, K), dweight (D, K)."""
    (M, D), K = x.shape, dy.shape[1]
    pieces = equal_pieces(D, -(-M * D * K // MOST_MULTIPLICATIONS)) if _suits(M, M * D * K) else 1
    if pieces > 1:
        np.matmul(x.T.reshape(pieces, -1, M), dy, out=dweight.reshape(pieces, -1, K))
    else:
        np.matmul(x.T, dy, out=dweight)


def pieces_of_panels(rows: int, D: int, K: int) -> int:
    """Into how many pieces to cut panels of a weight (D, K) for so many rows; 0 where panels do not pay."""
    if not _suits(rows, rows * D * K) or K % PANEL:
        return 0
    pieces = equal_pieces(D, -(-rows * D * PANEL // MOST_MULTIPLICATIONS))
    return pieces if rows * (D // pieces) * PANEL <= MOST_MULTIPLICATIONS else 0


def panels(weight: Array, pieces: int) -> Array:
    """A weight (D, K) in panels of columns, cut into pieces, contiguous: (pieces, K / 64, D / pieces, 64)."""
    D, K = weight.shape
    return np.ascontiguousarray(weight.reshape(pieces, D // pieces, K // PANEL, PANEL).transpose(0, 2, 1, 3))


def product_with_panels(x: Array, panels: Array, y: Array, workspace: Workspace) -> None:
    """y = x W for a weight in panels; x (M, D), y (M, K)."""
    (M, K), pieces = y.shape, len(panels)
    partial = y[None] if pieces == 1 else workspace("partial sums", (pieces, M, K), y)
    cut = x.reshape(M, pieces, -1).transpose(1, 0, 2)[:, None]  # (pieces, 1, M, D / pieces)
    np.matmul(cut, panels, out=partial.reshape(pieces, M, -1, PANEL).transpose(0, 2, 1, 3))
    if pieces > 1:
        np.add.reduce(partial, axis=0, out=y)


def _suits(rows: int, multiplications: int) -> bool:
    """Whether to cut; a single row is no product of matrices."""
    return 1 < rows <= FEW_ROWS and multiplications >= WORTH_CUTTING and multiplies_in_place()


def equal_pieces(size: int, least: int) -> int:
    """The smallest number of equal pieces of `size` from `least` to twice that, or 1 if there is none."""
    return next((pieces for pieces in range(least, 2 * least + 1) if size % pieces == 0), 1)
