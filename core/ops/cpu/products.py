"""Products of matrices, cut into pieces that OpenBLAS multiplies where they lie.

OpenBLAS lays matrices out anew before it multiplies, which takes a good part of the time, and with few rows or columns
most of it. For processors with AVX-512 it has kernels that do without, but only for small products: so large ones are
cut. The kernels read a line of the second matrix at a time, and take a good third longer where each line of it lies on
two of the cache: matrices of many rows are cut only where the other one begins well, see `core.memory`. A weight that
stays as it is can be laid out once, in panels: then each product reads one piece of memory from end to end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from core.backend import Array, array_module, on_cpu
from core.memory import FLOATS, lies_on_lines
from core.workspaces import Workspace

FEW_ROWS = 32  # which pay to be cut wherever the weight lies
MOST_MULTIPLICATIONS = 1_000_000  # of one product that is multiplied in place
PANEL = 64  # columns, as many as OpenBLAS multiplies at once
NARROW_PANELS = 32, 16  # where that does not divide the columns
LEAST_PIECE = 512  # elements of the result; a smaller piece has too little to do with what it reads
LARGEST_WEIGHT = 1 << 18  # elements; of a larger one, a piece finds nothing left of what the last one has read
MOST_TRANSPOSED = 1024  # elements of the result, where the weight is transposed
WORTH_CUTTING = 1 << 17  # multiplications; fewer are done sooner than cut
MOST_PARTIAL = 1 << 18  # elements of all sums over a part of the weight's rows
KERNELS_IN_PLACE = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # OpenBLAS's names for its kernels with AVX-512


@cache
def multiplies_in_place() -> bool:
    """Whether NumPy's BLAS has kernels for small products here: if the process has several, each of them."""
    from threadpoolctl import threadpool_info

    found = [library.get("architecture") for library in threadpool_info() if library["user_api"] == "blas"]
    return bool(found) and KERNELS_IN_PLACE.issuperset(found)


def product(x: Array, weight: Array, y: Array) -> None:
    """y = x W; x (..., M, D), weight (..., D, K), y (..., M, K)."""
    (M, D), K = x.shape[-2:], weight.shape[-1]
    if M > 1 and M * D * K > MOST_MULTIPLICATIONS and multiplies_in_place():
        rows, columns = _piece(M, D, K)
        if rows and (M <= FEW_ROWS or (D * K <= LARGEST_WEIGHT and lies_on_lines(weight))):
            _multiply_in_pieces(x, weight, y, rows, columns)
            return
        down = equal_pieces(D, -(-M * D * K // MOST_MULTIPLICATIONS))
        if M <= FEW_ROWS and x.ndim == weight.ndim == 2 and down > 1 and down * y.size <= MOST_PARTIAL:
            partial = np.empty((down, M, K), y.dtype)
            np.matmul(x.reshape(M, down, -1).transpose(1, 0, 2), weight.reshape(down, -1, K), out=partial)
            np.add.reduce(partial, axis=0, out=y)
            return
    np.matmul(x, weight, out=y)


def product_for(like: Array) -> Callable[[Array, Array, Array], Any]:
    """`product`, or what does the same on the GPU of `like`."""
    return product if on_cpu(like) else lambda x, weight, y: array_module(like).matmul(x, weight, out=y)


@cache
def _piece(M: int, D: int, K: int) -> tuple[int, int]:
    """The rows and columns of a piece of the result that is multiplied in place; (0, 0) if there is none.

    The columns are divided, the rows if possible; or a few are left over.
    """
    columns = next((width for width in (PANEL, *NARROW_PANELS) if K % width == 0), K)
    most = min(M, MOST_MULTIPLICATIONS // (D * columns))
    if columns % FLOATS or most * columns < LEAST_PIECE:
        return 0, 0
    equal = next((rows for rows in range(most, most // 2, -1) if M % rows == 0), 0)
    return equal or M // -(-M // most), columns


def _multiply_in_pieces(x: Array, weight: Array, y: Array, rows: int, columns: int) -> None:
    (M, D), K = x.shape[-2:], weight.shape[-1]
    down, across = M // rows, K // columns
    whole = down * rows
    first_x, first_y = x[..., :whole, :], y[..., :whole, :]
    np.matmul(
        first_x.reshape(*x.shape[:-2], down, 1, rows, D),
        weight.reshape(*weight.shape[:-2], 1, D, across, columns).swapaxes(-3, -2),
        out=first_y.reshape(*y.shape[:-2], down, rows, across, columns).swapaxes(-3, -2),
    )
    if whole < M:
        product(x[..., whole:, :], weight, y[..., whole:, :])


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
    """dW = x^T dy; x (..., M, D), dy (..., M, K), dweight (..., D, K)."""
    (M, D), K = x.shape[-2:], dy.shape[-1]
    pieces = equal_pieces(D, -(-M * D * K // MOST_MULTIPLICATIONS)) if x.ndim == 2 and _suits(M, M * D * K) else 1
    if pieces > 1:
        np.matmul(x.T.reshape(pieces, -1, M), dy, out=dweight.reshape(pieces, -1, K))
    else:
        product(x.swapaxes(-1, -2), dy, dweight)


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


class ProductSum:
    """A sum of matrix products that grows from chunk to chunk."""

    def __init__(self, name: str, shape: tuple[int, ...], like: Array, workspace: Workspace) -> None:
        self._name, self._shape, self._like, self._workspace = name, shape, like, workspace
        self._total: Array | None = None

    def add(self, a: Array, b: Array) -> None:
        """Add a @ b."""
        if self._total is None:
            self._total = self._workspace(self._name, self._shape, self._like)
            product(a, b, self._total)
        else:
            term = self._workspace(f"{self._name}, next term", self._shape, self._like)
            product(a, b, term)
            np.add(self._total, term, out=self._total)

    def clear(self) -> None:
        """Begin anew."""
        self._total = None

    def value(self) -> Array:
        """The sum so far."""
        return np.zeros(self._shape, self._like.dtype) if self._total is None else self._total
