"""Products that are large enough to be shared, by the workers or by BLAS's own threads, and how workers share rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from core.backend import Array
from core.blas import with_blas_threads
from core.fastest import Fastest
from core.memory import FLOATS
from core.ops.cpu import products
from core.workers import can_share, workers

MANY_ROWS = 256  # of a batch: with so many, the workers share them
SHARED_BY_BLAS = 460_800  # elements of a weight; OpenBLAS multiplies a single row by fewer of them in one thread
SHARED_AS_COMPLEX = 100_000  # the same, seen as half as many complex numbers, which it shares, see `as_complex`
WITH_COMPLEX = np.dtype(np.float32), np.dtype(np.float64)  # types that BLAS has complex numbers of, twice as large


def as_complex(weight: Array) -> Array:
    """A weight (D, K), D even, of a type in `WITH_COMPLEX`: two rows at a time as complex numbers, (D / 2, K).

    It is for inputs that are seen as such, too.

    The real part of the product is that of the real numbers: (a + i b) (c - i d) = (a c + b d) + i (b c - a d). What
    would be infinite is NaN.
    """
    columns = np.array(weight.T, order="C")  # (K, D), a copy
    columns[:, 1::2] *= -1
    pairs: Array = columns.view(np.result_type(weight.dtype, np.complex64)).T
    return pairs


def shared_by_blas(dtype: np.dtype[Any]) -> int:
    """From how many elements of a weight on BLAS's threads share a product with a single row, and it pays."""
    return SHARED_AS_COMPLEX // 2 if dtype.kind == "c" else SHARED_BY_BLAS


class LargeProduct:
    """y = x W for a weight (D, K), and x (D,) or (M, D): a product that may be large enough to be shared.

    One thread makes it, or each worker some of the columns, or BLAS's own threads: whatever is fastest. These share a
    single row from `SHARED_BY_BLAS` weights on; a weight whose transpose is C-contiguous suits them best, or they would
    have sums to add.
    """

    def __init__(self) -> None:
        self._fastest = Fastest([multiply, multiply_by_columns, multiply_with_blas_threads])

    def __call__(self, x: Array, weight: Array, y: Array) -> None:
        (self._fastest if can_share() else multiply)(x, weight, y)


def multiply(x: Array, weight: Array, y: Array) -> None:
    """y = x W in one thread."""
    if x.dtype is weight.dtype is y.dtype:
        x.dot(weight, out=y)  # begins sooner than other products, but needs one dtype, and y C-contiguous
    else:
        np.matmul(x, weight, out=y)


def multiply_by_columns(x: Array, weight: Array, y: Array) -> None:
    """The same, of which each worker makes some columns."""
    # np.matmul lets other threads run only where it has more than 500 results, np.dot always. But np.dot copies columns
    # of C-contiguous weights, which do not lie in one piece, and writes only to memory in one piece.
    is_row = y.size == weight.shape[1] and y.flags.c_contiguous
    make = multiply if is_row and weight.flags.f_contiguous else _matmul
    share(weight.shape[1], lambda _, columns: make(x, weight[:, columns], y[..., columns]))


def _matmul(x: Array, weight: Array, y: Array) -> None:
    np.matmul(x, weight, out=y)


def multiply_with_blas_threads(x: Array, weight: Array, y: Array) -> None:
    """The same with as many of BLAS's own threads as there are workers."""
    with_blas_threads(workers().count, multiply, x, weight, y)


def multiply_by_rows(x: Array, weight: Array, y: Array) -> None:
    """y = x W for x (M, D), of which each worker takes some rows."""
    share(len(x), lambda _, rows: products.product(x[rows], weight, y[rows]))


def share(size: int, product: Callable[[int, slice], Any], multiple: int = FLOATS) -> None:
    """Call product(place, part) on every worker with its part of `size` rows; all but the last are multiples.

    The place is that of the part; the caller has the last one. Parts of whole cache lines keep two workers from writing
    to the same one.
    """
    pool = workers()

    def border(place: int) -> int:
        return size if place == pool.count else place * size // pool.count // multiple * multiple

    def run(rank: int) -> None:
        place = pool.count - 1 - rank
        product(place, slice(border(place), border(place + 1)))

    pool.run(run)
