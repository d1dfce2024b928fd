"""Normalisation and sums over rows on a GPU; see `core/kernels/norm.cu` and `columns.cu`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from core.backend import Array, array_module, gpu_module
from core.kernels import THREADS, blocks_for, launch
from core.ops.cpu.norm import OverBatch

__all__ = [
    "batch_norm_backward",
    "batch_norm_forward",
    "center_columns",
    "column_products",
    "column_square_sums",
    "column_sums",
    "layer_norm_backward",
    "layer_norm_forward",
    "norm_gradients",
    "normalize_backward",
    "normalize_forward",
    "scale_shift",
    "square_sum",
]

ROWS_OF_A_THREAD = 8  # the fewest worth a block of their own
MOST_PACKS = 16  # of columns that a block of `column_sums` has side by side: 256 bytes of a row
MOST_PARTS = 3 << 16  # numbers that those blocks leave: 512 times 16 packs of 8 columns, up to three for each
MOST_SUMMING = 512  # blocks that share one sum; each thread of them waits for many numbers at once
WARPS = THREADS // 32  # of a block, where a warp takes a row


def dtype_of_sums(x: Array) -> np.dtype[Any]:
    """In what elements of x are summed up: float32 for float16, which would round away whatever is small."""
    return np.dtype(np.float32) if x.dtype == np.float16 else x.dtype


def column_sums(x: Array, out: Array | None = None) -> Any:
    """The sum of each column of x (M, C) -> (C,), the same in every run; into `out` if it is given."""
    return _sums(x, out=out)


def column_products(x: Array, y: Array) -> Any:
    """The sum over the rows of x * y; x, y: (M, C) -> (C,)."""
    return _sums(x, y=y)


def column_square_sums(x: Array) -> Any:
    """The sum of the squares of each column of x (M, C) -> (C,)."""
    return _sums(x, y=x)


def square_sum(x: Array) -> Any:
    """The sum of the squares of all elements, of an array (N,), as a scalar on the GPU."""
    total = array_module(x).empty((), dtype_of_sums(x))
    blocks = max(1, min(blocks_for(x.size), 2 * MOST_SUMMING))
    launch("square_sum_forward", blocks, THREADS, x=x, total=total, **room_for_sums(total))
    return total


def scale_shift(x_hat: Array, weight: Array, bias: Array, y: Array) -> None:
    """y = weight * x_hat + bias, row by row; x_hat, y: (M, C)."""
    launch("affine_forward", blocks_for(x_hat.size), THREADS, x=x_hat, scale=weight, bias=bias, y=y)


def center_columns(x: Array, mean: Array, x_hat: Array) -> Any:
    """The sum over the rows of (x - mean)^2, (C,). The memory of x_hat is left alone here."""
    return _sums(x, center=mean)


def normalize_forward(
    x: Array, mean: Array, inverse_deviation: Array, weight: Array, bias: Array, x_hat: Array, y: Array
) -> None:
    """x_hat = (x - mean) * inverse_deviation and y = weight * x_hat + bias, in one pass; all (M, C) or (C,)."""
    launch(
        "normalize_forward",
        blocks_for(x.size),
        THREADS,
        x=x,
        mean=mean,
        inverse_deviation=inverse_deviation,
        weight=weight,
        bias=bias,
        x_hat=x_hat,
        y=y,
    )


def normalize_backward(dy: Array, x_hat: Array, scale: Array, mean_dy: Array, mean_dy_x_hat: Array, dx: Array) -> None:
    """See `core.ops.cpu.norm`."""
    _normalize_backward(dy, x_hat, scale, None, mean_dy, mean_dy_x_hat, 1.0, dx)


def batch_norm_forward(
    x: Array,
    weight: Array,
    bias: Array,
    eps: float,
    running: tuple[Array, Array] | None,
    momentum: float,
    over_batch: OverBatch,
    x_hat: Array,
    y: Array,
) -> tuple[Any, Any]:
    """See `core.ops.cpu.norm`. Two launches; a GPU has the whole batch, and does not ask `over_batch`."""
    xp = array_module(x)
    mean, inverse_deviation = (xp.empty(weight.shape, weight.dtype) for _ in range(2))
    grid, block = _stretches(*x.shape, x.itemsize)
    running_mean, running_var = running or (None, None)
    launch(
        "column_statistics_forward",
        grid,
        block,
        x=x,
        mean=mean,
        inverse_deviation=inverse_deviation,
        running_mean=running_mean,
        running_var=running_var,
        eps=eps,
        momentum=momentum,
        **room_for_sums(mean),
    )
    normalize_forward(x, mean, inverse_deviation, weight, bias, x_hat, y)
    return inverse_deviation, len(x)


def norm_gradients(dy: Array, x_hat: Array, dbias: Array, dweight: Array) -> None:
    """dbias = the sum over the rows of dy, and dweight that of dy * x_hat; (M, C) and (C,)."""
    grid, block = _stretches(*dy.shape, dy.itemsize)
    launch(
        "norm_gradients_backward", grid, block, dy=dy, x_hat=x_hat, dbias=dbias, dweight=dweight, **room_for_sums(dbias)
    )


def batch_norm_backward(
    dy: Array,
    x_hat: Array,
    weight: Array,
    inverse_deviation: Array,
    count: Any,
    dbias: Array,
    dweight: Array,
    over_batch: OverBatch,
    dx: Array,
) -> None:
    """See `core.ops.cpu.norm`."""
    _normalize_backward(dy, x_hat, weight, inverse_deviation, dbias, dweight, 1 / max(1, count), dx)


def _normalize_backward(
    dy: Array,
    x_hat: Array,
    weight: Array,
    inverse_deviation: Array | None,
    dbias: Array,
    dweight: Array,
    share: float,
    dx: Array,
) -> None:
    launch(
        "normalize_backward",
        blocks_for(dy.size),
        THREADS,
        dy=dy,
        x_hat=x_hat,
        weight=weight,
        inverse_deviation=inverse_deviation,
        dbias=dbias,
        dweight=dweight,
        dx=dx,
        share=share,
    )


def layer_norm_forward(x: Array, weight: Array, bias: Array, eps: float, x_hat: Array, y: Array) -> Any:
    """See `core.ops.cpu.norm`."""
    inverse_deviation = array_module(x).empty((len(x), 1), x.dtype)  # (M, 1)
    launch(
        "layer_norm_forward",
        blocks_for(len(x), WARPS),
        THREADS,
        x=x,
        weight=weight,
        bias=bias,
        x_hat=x_hat,
        y=y,
        inverse_deviation=inverse_deviation,
        eps=eps,
    )
    return inverse_deviation


def layer_norm_backward(dy: Array, x_hat: Array, weight: Array, inverse_deviation: Array, dx: Array) -> None:
    """See `core.ops.cpu.norm`."""
    launch(
        "layer_norm_backward",
        blocks_for(len(dy), WARPS),
        THREADS,
        dy=dy,
        x_hat=x_hat,
        weight=weight,
        inverse_deviation=inverse_deviation,
        dx=dx,
    )


def _sums(x: Array, y: Array | None = None, center: Array | None = None, out: Array | None = None) -> Any:
    """Sums over stretches of rows, then the sum of those: the order never changes, so neither does rounding."""
    M, C = x.shape
    total = array_module(x).empty(C, dtype_of_sums(x)) if out is None else out
    grid, block = _stretches(M, C, x.itemsize)
    launch("column_sums_forward", grid, block, x=x, y=y, center=center, total=total, **room_for_sums(total))
    return total


@functools.lru_cache(maxsize=4096)
def _stretches(M: int, C: int, itemsize: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Grid and blocks for sums over the rows of (M, C) arrays, as columns.cu wants them."""
    packs = -(-C * itemsize // 16)
    width = min(MOST_PACKS, 1 << max(0, packs - 1).bit_length())
    groups, height = max(1, -(-packs // width)), THREADS // width
    stretches = min(MOST_SUMMING // groups, -(-M // (height * ROWS_OF_A_THREAD)))
    return (groups, max(1, stretches)), (width, height)


def room_for_sums(total: Array) -> dict[str, Any]:
    """Where blocks leave their parts of a sum, and count who has: one memory for all launches, which take turns."""
    kind: Any = type(total)
    return _room(kind, total.dtype)


@functools.cache
def _room(kind: Any, dtype: np.dtype[Any]) -> dict[str, Any]:
    xp = np if kind is np.ndarray else gpu_module()
    return {"parts": xp.empty(MOST_PARTS, dtype), "arrived": xp.zeros(MOST_SUMMING, np.int32)}
