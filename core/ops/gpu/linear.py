"""The products of a fully connected layer, by cuBLAS."""

from __future__ import annotations

from core.backend import Array, array_module
from core.ops.gpu.mixed import cast

__all__ = ["linear_backward", "linear_forward"]


def linear_forward(x: Array, weight: Array, y: Array) -> None:
    """y = x W for x (M, D), W (D, K), y (M, K)."""
    _multiply(x, weight, y)


def linear_backward(x: Array, dy: Array, weight: Array, dx: Array | None, out: Array) -> None:
    """out = x^T dy, the gradient (D, K) of the weight, and dx = dy W^T unless dx is None; x, dx: (M, D), dy: (M, K)."""
    _multiply(x.T, dy, out)
    if dx is not None:
        _multiply(dy, weight.T, dx)


def _multiply(a: Array, b: Array, out: Array) -> None:
    """out = a b, of float16 also into float32. CuPy's `dot` goes straight to cuBLAS; `matmul` is much Python first."""
    xp = array_module(a)
    if a.dtype == out.dtype:
        xp.dot(a, b, out=out)
    else:
        cast(xp.dot(a, b), out)
