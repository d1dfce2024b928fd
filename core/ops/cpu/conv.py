"""The fast convolution. What it computes stands, plain and short, in `core.ops.cpu.conv_simple`.

Three ways lead there: a 1 x 1 convolution is a product of matrices already, a 3 x 3 one of many channels goes through
Winograd's tiles, and all others line up their windows. Work is done a few images at a time, so that what lies between
input and output never leaves the cache; backward lines the inputs up again rather than keep them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import numpy as np

from core.backend import Array
from core.memory import is_constant
from core.ops.cpu import conv_windows, winograd
from core.ops.cpu.conv_method import begin
from core.ops.cpu.conv_mirror import has_mirror, mirror
from core.ops.cpu.conv_windows import WindowRows
from core.ops.cpu.image_chunks import at_once, chunks, laid_out
from core.ops.cpu.norm import column_sums
from core.ops.cpu.products import product, product_of_transposed
from core.ops.cpu.winograd import Form, WinogradTiles
from core.ops.windows import Windows
from core.workspaces import Workspace

__all__ = ["conv2d_backward", "conv2d_forward"]

TilesOrWindows: TypeAlias = WinogradTiles | WindowRows


def conv2d_forward(
    x: Array, weight: Array, bias: Array | None, windows: Windows, groups: int, y: Array, workspace: Workspace
) -> None:
    """Fill y (N, OH, OW, K) from x (N, H, W, C); weight (KH * KW * C / groups, K), bias (K,)."""
    K = weight.shape[1]
    if windows.is_point and groups == 1:
        product(x.reshape(-1, x.shape[3]), weight, y.reshape(-1, K))
        if bias is not None:
            add_to_rows(y, bias)
        return
    left = bias
    for method, parts in _chunks(x, weight, windows, groups, workspace):
        left = begin(method, x, weight, bias, workspace)
        for part in parts:
            method.convolve(x[part], y[part])
    if left is not None:
        add_to_rows(y, left)


def conv2d_backward(
    dy: Array,
    x: Array,
    weight: Array,
    windows: Windows,
    groups: int,
    dx: Array | None,
    workspace: Workspace,
    bias: bool = True,
) -> tuple[Array, Array | None]:
    """Fill dx (N, H, W, C), unless it is None, from dy (N, OH, OW, K); returns dweight and, with a bias, dbias."""
    C, K = x.shape[3], weight.shape[1]
    dbias = column_sums(dy.reshape(-1, K)) if bias else None
    if windows.is_point and groups == 1:
        rows, drows = x.reshape(-1, C), dy.reshape(-1, K)
        if dx is not None:
            np.matmul(drows, weight.T, out=dx.reshape(-1, C))
        dweight = np.empty_like(weight)
        product_of_transposed(rows, drows, dweight)
        return dweight, dbias
    if dx is not None and _form(x, weight, windows, groups) is None and has_mirror(windows):
        mirrored, mirrored_windows = mirror(weight, windows, groups)
        conv2d_forward(dy, mirrored, None, mirrored_windows, groups, dx, workspace)
        dx = None  # done
    dweight = np.zeros_like(weight)
    for method, parts in _chunks(x, weight, windows, groups, workspace):
        method.use(weight, workspace)
        for part in parts:
            method.take(x[part])
            method.backward(dy[part], None if dx is None else dx[part])
        dweight += method.weight_gradient()
    return dweight, dbias


def add_to_rows(y: Array, bias: Array) -> None:
    """y += bias for y (N, H, W, K), a whole line of the images at once: short rows would cost four times as much."""
    line = np.empty(y.shape[2:], y.dtype)
    line[...] = bias
    lines = y.reshape(-1, line.size)
    lines += line.reshape(-1)


def _form(x: Array, weight: Array, windows: Windows, groups: int) -> Form | None:
    """Winograd's form for this convolution, if one suits."""
    return winograd.form_for(x, weight, windows, windows.count(*x.shape[1:3])) if groups == 1 else None


def _chunks(
    x: Array, weight: Array, windows: Windows, groups: int, workspace: Workspace
) -> Iterable[tuple[TilesOrWindows, list[slice]]]:
    """The parts of the batch that are equally long, with the method that convolves each of them."""

    def lay_out(memory: Callable[[], Workspace]) -> Iterator[tuple[TilesOrWindows, list[slice]]]:
        form = _form(x, weight, windows, groups)
        if form is not None:
            size = windows.count(*x.shape[1:3])
            for M, parts in chunks(len(x), at_once(form.images_at_once(size, x.shape[3], weight.shape[1]), workspace)):
                yield WinogradTiles(form, M, x, weight.shape, windows.padding, size, memory()), parts
        else:
            for M, parts in chunks(len(x), at_once(conv_windows.images_at_once(x, windows), workspace)):
                yield WindowRows(M, x, weight.shape, windows, groups, memory()), parts

    key = "conv2d", x.shape, x.dtype, x.flags.c_contiguous, weight.shape, is_constant(weight), windows, groups
    return laid_out(len(x), key, lay_out, workspace)
