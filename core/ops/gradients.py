"""Gradients of biases and of a normalisation's weights, written straight into their memory: no copy on a GPU."""

from __future__ import annotations

from core.backend import Array, on_cpu
from core.ops import cpu


def bias_gradient(dy: Array, dbias: Array) -> None:
    """dbias (K,) = the sum over the rows of dy (M, K)."""
    if on_cpu(dy):
        dbias[...] = cpu.column_sums(dy)
    else:
        from core.ops.gpu import norm

        norm.column_sums(dy, out=dbias)


def norm_gradients(dy: Array, x_hat: Array, dbias: Array, dweight: Array) -> None:
    """dbias (C,) = the sum over the rows of dy (M, C), and dweight (C,) that of dy * x_hat."""
    if on_cpu(dy):
        dbias[...] = cpu.column_sums(dy)
        dweight[...] = cpu.column_products(dy, x_hat)
    else:
        from core.ops.gpu import norm

        norm.norm_gradients(dy, x_hat, dbias, dweight)
