"""Convolution on a GPU: the plain sum over the points of the kernel, each of them one large product of matrices."""

from __future__ import annotations

import functools

from core.backend import Array
from core.ops.cpu.conv_chain import chain_backward, chain_forward
from core.ops.cpu.conv_simple import simple_conv2d_backward, simple_conv2d_forward
from core.ops.cpu.frames import Workspace
from core.ops.windows import Windows

__all__ = ["conv2d_backward", "conv2d_forward", "conv_relu_pool_backward", "conv_relu_pool_forward"]


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


conv_relu_pool_forward = functools.partial(chain_forward, conv2d_forward)
conv_relu_pool_backward = functools.partial(chain_backward, conv2d_backward)
