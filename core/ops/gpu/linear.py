"""The products of a fully connected layer, by cuBLAS."""

from __future__ import annotations

from typing import Any

from core.backend import Array, array_module

__all__ = ["linear_backward", "linear_forward"]


def linear_forward(x: Array, weight: Array, y: Array, workspace: Any) -> None:
    """y = x W for x (M, D), W (D, K), y (M, K)."""
    array_module(x).matmul(x, weight, out=y)


def linear_backward(x: Array, dy: Array, weight: Array, dx: Array | None, out: Array) -> None:
    """out = x^T dy, the gradient (D, K) of the weight, and dx = dy W^T unless dx is None; x, dx: (M, D), dy: (M, K)."""
    xp = array_module(x)
    xp.matmul(x.T, dy, out=out)
    if dx is not None:
        xp.matmul(dy, weight.T, out=dx)
