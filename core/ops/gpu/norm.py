"""Normalisation and sums over rows on a GPU; see `core/kernels/norm.cu` and `columns.cu`."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.backend import Array, array_module
from core.kernels import THREADS, blocks_for, launch

__all__ = [
    "center_columns",
    "column_products",
    "column_square_sums",
    "column_sums",
    "layer_norm_backward",
    "layer_norm_forward",
    "normalize_backward",
    "normalize_forward",
    "scale_shift",
    "square_sum",
]

ROWS_OF_A_THREAD = 8  # the fewest worth a block of their own
MOST_STRETCHES = 512
WARPS = THREADS // 32  # of a block, where a warp takes a row


def dtype_of_sums(x: Array) -> np.dtype[Any]:
    """In what elements of x are summed up: float32 for float16, which would round away whatever is small."""
    return np.dtype(np.float32) if x.dtype == np.float16 else x.dtype


def column_sums(x: Array) -> Any:
    """The sum of each column of x (M, C) -> (C,), the same in every run."""
    return _sums(x)


def column_products(x: Array, y: Array) -> Any:
    """The sum over the rows of x * y; x, y: (M, C) -> (C,)."""
    return _sums(x, y=y)


def column_square_sums(x: Array) -> Any:
    """The sum of the squares of each column of x (M, C) -> (C,)."""
    return _sums(x, y=x)


def square_sum(x: Array) -> Any:
    """The sum of the squares of all elements, of an array (N,), as a scalar on the GPU."""
    column = x.reshape(-1, 1)
    return _sums(column, y=column)[0]


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
    launch(
        "normalize_backward",
        blocks_for(dy.size),
        THREADS,
        dy=dy,
        x_hat=x_hat,
        scale=scale,
        mean_dy=mean_dy,
        mean_dy_x_hat=mean_dy_x_hat,
        dx=dx,
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


def _sums(x: Array, y: Array | None = None, center: Array | None = None) -> Any:
    """Partial sums over stretches of rows, then the sum of those: the order never changes, so neither does rounding."""
    xp, (M, C) = array_module(x), x.shape
    width = 1  # threads side by side
    while width < min(C, 32):
        width *= 2
    height = THREADS // width
    stretches = max(1, min(MOST_STRETCHES, -(-M // (height * ROWS_OF_A_THREAD))))
    total = xp.empty((stretches, C), dtype_of_sums(x))
    launch("column_sums_forward", (-(-C // width), stretches), (width, height), x=x, y=y, center=center, total=total)
    return total[0] if stretches == 1 else _sums(total)
