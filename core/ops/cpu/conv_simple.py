"""Convolution as a book explains it, a loop over the points of the kernel: the place to learn it, and the oracle.

The fast version, `core.ops.cpu.conv`, is tested against this one. Both compute what deep learning calls a convolution
and mathematics a cross-correlation: the kernel is not flipped.
"""

from __future__ import annotations

from collections.abc import Iterator

from core.backend import Array, array_module
from core.ops.windows import Windows

__all__ = ["simple_conv2d_backward", "simple_conv2d_forward"]

ALL_PIXELS = [0, 1, 2]  # the axes (N, OH, OW)


def simple_conv2d_forward(x: Array, weight: Array, bias: Array | None, windows: Windows, groups: int = 1) -> Array:
    """y[n, i, j, k] = bias[k] + sum over a, b, c of x[n, i + a, j + b, c] * weight[a, b, c, k].

    x: (N, H, W, C) -> y: (N, OH, OW, K). weight: (KH * KW * C / groups, K), its rows in the order kernel row, kernel
    column, channel. Strides and dilation multiply i, j and a, b; the padding is zero. With groups, input channels and
    output channels are split alike, and each part of the output sees its own part of the input.
    """
    xp = array_module(x)
    padded = _pad(x, windows)  # (N, H + 2 PH, W + 2 PW, C)
    y = xp.zeros((len(x), *windows.count(*x.shape[1:3]), weight.shape[1]), x.dtype)  # (N, OH, OW, K)
    if bias is not None:
        y += bias
    for seen, rows, columns in _terms(x, weight, windows, groups):
        y[..., columns] += padded[seen] @ weight[rows, columns]
    return y  # type: ignore[no-any-return]


def simple_conv2d_backward(
    dy: Array, x: Array, weight: Array, windows: Windows, groups: int = 1
) -> tuple[Array, Array, Array]:
    """(dx, dweight, dbias) from dy: in every term x * weight of the sum, dy reaches each factor through the other."""
    xp = array_module(x)
    padded = _pad(x, windows)  # (N, H + 2 PH, W + 2 PW, C)
    dpadded, dweight = xp.zeros_like(padded), xp.zeros_like(weight)
    for seen, rows, columns in _terms(x, weight, windows, groups):
        dweight[rows, columns] = xp.tensordot(padded[seen], dy[..., columns], axes=(ALL_PIXELS, ALL_PIXELS))
        dpadded[seen] += dy[..., columns] @ weight[rows, columns].T
    (PH, PW), (H, W) = windows.padding, x.shape[1:3]
    return dpadded[:, PH : PH + H, PW : PW + W], dweight, dy.sum(axis=(0, 1, 2))


def _pad(x: Array, windows: Windows) -> Array:
    PH, PW = windows.padding
    return array_module(x).pad(x, ((0, 0), (PH, PH), (PW, PW), (0, 0)))  # type: ignore[no-any-return]


def _terms(
    x: Array, weight: Array, windows: Windows, groups: int
) -> Iterator[tuple[tuple[slice, slice, slice, slice], slice, slice]]:
    """For each point of the kernel and each group: what it sees of the padded input, and its part of the weight."""
    (KH, KW), (SH, SW), (DH, DW) = windows.kernel, windows.stride, windows.dilation
    OH, OW = windows.count(*x.shape[1:3])
    C, K = x.shape[3] // groups, weight.shape[1] // groups  # of one group
    for a in range(KH):
        for b in range(KW):
            rows = slice((a * KW + b) * C, (a * KW + b + 1) * C)
            down = slice(a * DH, a * DH + (OH - 1) * SH + 1, SH)
            across = slice(b * DW, b * DW + (OW - 1) * SW + 1, SW)
            for g in range(groups):
                seen = (slice(None), down, across, slice(g * C, (g + 1) * C))
                yield seen, rows, slice(g * K, (g + 1) * K)
