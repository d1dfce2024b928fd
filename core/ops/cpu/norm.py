"""Normalisation over rows of (M, C) arrays: per column for BatchNorm, per row for LayerNorm."""

from __future__ import annotations

from typing import Any

from core.backend import Array, array_module, device_of
from core.ops.cpu.blocks import BLOCK

__all__ = [
    "column_products",
    "column_square_sums",
    "column_sums",
    "layer_norm_backward",
    "layer_norm_forward",
    "normalize_backward",
    "scale_shift",
    "subtract_row",
]


def column_sums(x: Array) -> Any:
    """The sum of each column of x (M, C) -> (C,); as a product with ones it runs in BLAS."""
    xp = array_module(x)
    return xp.ones(len(x), x.dtype) @ x


def column_products(x: Array, y: Array) -> Any:
    """The sum over the rows of x * y; x, y: (M, C) -> (C,)."""
    total = array_module(x).zeros(x.shape[1], x.dtype)
    for start in range(0, len(x), rows_at_once(x)):
        part = slice(start, start + rows_at_once(x))
        total += column_sums(x[part] * y[part])
    return total


def column_square_sums(x: Array) -> Any:
    """The sum of the squares of each column of x (M, C) -> (C,)."""
    return column_products(x, x)


def rows_at_once(x: Array) -> int:
    """How many rows of x (M, C) stay in the cache; on a GPU, all of them."""
    return max(1, BLOCK // x.shape[1]) if device_of(x) == "cpu" else max(1, len(x))


def subtract_row(x: Array, row: Array, y: Array) -> None:
    """y = x - row; x, y: (M, C), row: (C,)."""
    array_module(x).subtract(x, row, out=y)


def scale_shift(x_hat: Array, weight: Array, bias: Array, y: Array) -> None:
    """y = weight * x_hat + bias, row by row; x_hat, y: (M, C)."""
    array_module(x_hat).multiply(x_hat, weight, out=y)
    y += bias


def normalize_backward(dy: Array, x_hat: Array, scale: Array, mean_dy: Array, mean_dy_x_hat: Array, dx: Array) -> None:
    """dx = scale * (dy - mean(dy) - x_hat * mean(dy * x_hat)); Ioffe and Szegedy 2015, section 3, simplified.

    dy, x_hat, dx: (M, C); scale = weight / standard deviation and the two means are (C,).
    """
    xp = array_module(dy)
    xp.multiply(x_hat, -mean_dy_x_hat, out=dx)
    dx += dy
    dx -= mean_dy
    dx *= scale


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
