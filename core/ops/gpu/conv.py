"""Convolution on a GPU: the plain sum over the points of the kernel, each of them one large product of matrices."""

from __future__ import annotations

from core.backend import Array, array_module
from core.ops.cpu.activation import relu_backward
from core.ops.cpu.conv_simple import simple_conv2d_backward, simple_conv2d_forward
from core.ops.cpu.frames import Workspace
from core.ops.cpu.pool import max_pool_backward, max_pool_forward
from core.ops.windows import Windows

__all__ = ["conv2d_backward", "conv2d_forward", "conv_relu_pool_backward", "conv_relu_pool_forward"]

POOL = Windows((2, 2), stride=(2, 2))


def conv2d_forward(
    x: Array, weight: Array, bias: Array | None, windows: Windows, groups: int, y: Array, workspace: Workspace
) -> None:
    """See `core.ops.cpu.conv`."""
    y[...] = simple_conv2d_forward(x, weight, bias, windows, groups)


def conv2d_backward(
    dy: Array, x: Array, weight: Array, windows: Windows, groups: int, dx: Array | None, workspace: Workspace
) -> tuple[Array, Array]:
    """See `core.ops.cpu.conv`."""
    dinput, dweight, dbias = simple_conv2d_backward(dy, x, weight, windows, groups)
    if dx is not None:
        dx[...] = dinput
    return dweight, dbias


def conv_relu_pool_forward(
    x: Array, weight: Array, bias: Array, windows: Windows, y: Array, keep: bool, workspace: Workspace
) -> tuple[Array, Array]:
    """See `core.ops.cpu.conv_block`."""
    products = simple_conv2d_forward(x, weight, None, windows)
    winners = max_pool_forward(products, POOL, y, keep, workspace)
    y += bias
    array_module(y).maximum(y, 0, out=y)
    return winners


def conv_relu_pool_backward(
    dy: Array,
    x: Array,
    y: Array,
    winners: tuple[Array, Array],
    weight: Array,
    windows: Windows,
    dx: Array | None,
    workspace: Workspace,
) -> tuple[Array, Array]:
    """See `core.ops.cpu.conv_block`."""
    xp = array_module(x)
    through_relu = xp.empty_like(dy)
    relu_backward(dy, y, through_relu)
    dproducts = xp.empty((len(x), *windows.count(*x.shape[1:3]), dy.shape[3]), x.dtype)
    max_pool_backward(through_relu, winners, POOL, dproducts, workspace)
    return conv2d_backward(dproducts, x, weight, windows, 1, dx, workspace)
