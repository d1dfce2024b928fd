"""Normalisation over rows of (M, C) arrays: per column for BatchNorm, per row for LayerNorm.

What is done with one value a column is done with many rows at once, against that row of values repeated
(`_repeated`): NumPy takes four times as long for rows as short as the channels of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from core.backend import Array, array_module
from core.ops.cpu.blocks import BLOCK

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
]


OverBatch: TypeAlias = Callable[[Array], Array]


def column_sums(x: Array, out: Array | None = None) -> Any:
    """The sum of each column of x (M, C) -> (C,), into `out` if it is given; as a product with ones it runs in BLAS.

    By np.dot, which lets other workers run; with few columns, np.matmul does not. But np.dot needs one dtype.
    """
    xp = array_module(x)
    product = xp.dot if out is None or out.dtype == x.dtype else xp.matmul
    return product(xp.ones(len(x), x.dtype), x, out=out)


def column_products(x: Array, y: Array) -> Any:
    """The sum over the rows of x * y; x, y: (M, C) -> (C,)."""
    xp = array_module(x)
    total = xp.zeros(x.shape[1], x.dtype)
    products = xp.empty(rows_at_once(x) * x.shape[1], x.dtype)
    for x_part, y_part in _row_blocks(x, y):
        product = products[: x_part.size].reshape(x_part.shape)
        xp.multiply(x_part, y_part, out=product)
        total += column_sums(product.reshape(-1, x.shape[1]))
    return total


def column_square_sums(x: Array) -> Any:
    """The sum of the squares of each column of x (M, C) -> (C,)."""
    return column_products(x, x)


def rows_at_once(x: Array) -> int:
    """How many rows of x (M, C) stay in the cache."""
    C: int = x.shape[1]
    return max(1, min(len(x), BLOCK // C))


def _row_blocks(*arrays: Array) -> Iterator[list[Array]]:
    """Matching pieces of (M, C) arrays: whole rows, end to end in one line."""
    first = arrays[0]
    length = rows_at_once(first) * first.shape[1]
    flat = [array.reshape(-1) for array in arrays]
    for start in range(0, first.size, length):
        yield [array[start : start + length] for array in flat]


def _repeated(row: Array, x: Array) -> Array:
    """The row (C,) as often as a block of x (M, C) has rows: numpy.tile takes longer to begin."""
    rows = array_module(x).empty((rows_at_once(x), x.shape[1]), x.dtype)
    rows[...] = row
    return rows.reshape(-1)  # type: ignore[no-any-return]


def _subtract_row(x: Array, row: Array, y: Array) -> None:
    """y = x - row; x, y: (M, C), row: (C,)."""
    line = _repeated(row, x)
    for x_part, y_part in _row_blocks(x, y):
        array_module(x).subtract(x_part, line[: x_part.size], out=y_part)


def scale_shift(x_hat: Array, weight: Array, bias: Array, y: Array) -> None:
    """y = weight * x_hat + bias, row by row; x_hat, y: (M, C)."""
    weights, biases = _repeated(weight, x_hat), _repeated(bias, x_hat)
    for x_part, y_part in _row_blocks(x_hat, y):
        array_module(x_hat).multiply(x_part, weights[: x_part.size], out=y_part)
        y_part += biases[: x_part.size]


def center_columns(x: Array, mean: Array, x_hat: Array) -> Any:
    """The sum over the rows of (x - mean)^2, (C,); leaves x - mean in x_hat, for `normalize_forward` to go on from."""
    _subtract_row(x, mean, x_hat)
    return column_square_sums(x_hat)


def normalize_forward(
    x: Array, mean: Array, inverse_deviation: Array, weight: Array, bias: Array, x_hat: Array, y: Array
) -> None:
    """x_hat = (x - mean) * inverse_deviation and y = weight * x_hat + bias, after `center_columns`; (M, C) and (C,)."""
    x_hat *= inverse_deviation
    scale_shift(x_hat, weight, bias, y)


def normalize_backward(dy: Array, x_hat: Array, scale: Array, mean_dy: Array, mean_dy_x_hat: Array, dx: Array) -> None:
    """dx = scale * (dy - mean(dy) - x_hat * mean(dy * x_hat)); Ioffe and Szegedy 2015, section 3, simplified.

    dy, x_hat, dx: (M, C); scale = weight / standard deviation and the two means are (C,).

    With s = 1 / sqrt(var + eps), x_hat_i = (x_i - mean) s depends on x_j directly, by the mean, and by s:
    dmean / dx_j = 1 / M and ds / dx_j = -s^2 x_hat_j / M. For g = weight * dy, the gradient of x_hat, these add up to
    dx = s (g - mean(g) - x_hat * mean(g * x_hat)).
    """
    xp = array_module(dy)
    slopes, shifts, scales = (_repeated(row, dy) for row in (mean_dy_x_hat, mean_dy, scale))
    for dy_part, x_part, dx_part in _row_blocks(dy, x_hat, dx):
        size = dy_part.size
        xp.multiply(x_part, slopes[:size], out=dx_part)
        xp.subtract(dy_part, dx_part, out=dx_part)
        dx_part -= shifts[:size]
        dx_part *= scales[:size]


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
    """x_hat = (x - mean) / deviation and y = weight * x_hat + bias; returns 1 / deviation and the number of rows.

    x, x_hat, y: (M, C), the others (C,). The running mean and variance follow by the share `momentum`, unless None.
    The statistics are those of the whole batch also where workers have a shard of it each: `over_batch` adds up what
    each has summed over its own.
    """
    rows = over_batch(np.full(1, len(x), weight.dtype))  # (1,)
    count = np.maximum(rows, 1)
    mean = over_batch(column_sums(x)) / count
    var = over_batch(center_columns(x, mean, x_hat)) / count
    inverse_deviation = 1 / np.sqrt(var + eps)
    normalize_forward(x, mean, inverse_deviation, weight, bias, x_hat, y)
    if running is not None and rows[0]:
        _follow(running, (mean, var * (count / np.maximum(count - 1, 1))), momentum)
    return inverse_deviation, count


def _follow(running: tuple[Array, Array], latest: tuple[Array, Array], share: float) -> None:
    """running = (1 - share) * running + share * latest, for mean and variance."""
    for old, new in zip(running, latest, strict=True):
        old *= 1 - share
        old += share * new


def norm_gradients(dy: Array, x_hat: Array, dbias: Array, dweight: Array) -> None:
    """dbias (C,) = the sum over the rows of dy (M, C), and dweight (C,) that of dy * x_hat."""
    column_sums(dy, out=dbias)
    dweight[...] = column_products(dy, x_hat)


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
    """dx from what `batch_norm_forward` returned and `norm_gradients` summed up."""
    means = over_batch(dbias) / count, over_batch(dweight) / count
    normalize_backward(dy, x_hat, weight * inverse_deviation, *means, dx)


def layer_norm_forward(x: Array, weight: Array, bias: Array, eps: float, x_hat: Array, y: Array) -> Any:
    """x_hat = (x - mean) / deviation within each row, y = weight * x_hat + bias; returns 1 / deviation (M, 1)."""
    xp = array_module(x)
    xp.subtract(x, x.mean(axis=1, keepdims=True), out=x_hat)
    xp.multiply(x_hat, x_hat, out=y)
    inverse_deviation = 1 / xp.sqrt(y.mean(axis=1, keepdims=True) + eps)  # (M, 1)
    x_hat *= inverse_deviation
    scale_shift(x_hat, weight, bias, y)
    return inverse_deviation


def layer_norm_backward(dy: Array, x_hat: Array, weight: Array, inverse_deviation: Array, dx: Array) -> None:
    """dx = (g - mean(g) - x_hat * mean(g * x_hat)) / deviation with g = dy * weight and means within each row."""
    xp = array_module(dy)
    xp.multiply(dy, weight, out=dx)
    mean_g = dx.mean(axis=1, keepdims=True)  # (M, 1)
    mean_g_x_hat = (dx * x_hat).mean(axis=1, keepdims=True)  # (M, 1)
    dx -= mean_g
    dx -= x_hat * mean_g_x_hat
    dx *= inverse_deviation
