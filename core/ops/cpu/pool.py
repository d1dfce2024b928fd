"""Pooling: the maximum or the mean of each window, every channel by itself.

Both are separable: first down the rows of a window, then across its columns. That is KH + KW passes instead of KH * KW,
and the first of them, over the larger arrays, take whole lines of the images at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.backend import Array, array_module
from core.ops.cpu.frames import Frame
from core.ops.cpu.image_chunks import chunks
from core.ops.windows import Windows
from core.workspaces import Workspace

__all__ = [
    "avg_pool_backward",
    "avg_pool_forward",
    "global_avg_pool_backward",
    "global_avg_pool_forward",
    "max_pool_backward",
    "max_pool_forward",
]

CHUNK_SIZE = 1 << 17  # input elements that are worked on at once
DOWN, ACROSS = 0, 1  # the two passes: along the rows of (M, H, W, C), and along its columns


def max_pool_forward(
    x: Array, windows: Windows, y: Array, keep: bool, workspace: Workspace
) -> tuple[Array, Array] | None:
    """Fill y (N, OH, OW, C) with the largest element of each window of x (N, H, W, C); padding never wins.

    With `keep`, returns what backward needs: the row in which each column of a window is largest, (N, OH, FW, C), and
    the column in which the window is, (N, OH, OW, C). Of equal elements the first one wins.
    """
    OH, FW = y.shape[1], x.shape[2] + 2 * windows.padding[1]
    winners = None
    if keep:
        rows = workspace("winning rows", (len(x), OH, FW, y.shape[3]), like=x, dtype=np.uint8)
        columns = workspace("winning columns", y.shape, like=x, dtype=np.uint8)
        winners = rows, columns
    for M, parts, frame in _framed_chunks(x, windows, -np.inf, workspace):
        tallest = workspace("tallest", (M, OH, FW, y.shape[3]), like=x)
        for part in parts:
            image = _framed(x[part], frame)
            _maximum(DOWN, image, windows, tallest, rows[part] if keep else None)
            _maximum(ACROSS, tallest, windows, y[part], columns[part] if keep else None)
    return winners


def max_pool_backward(
    dy: Array, winners: tuple[Array, Array], windows: Windows, dx: Array, workspace: Workspace
) -> None:
    """Fill dx (N, H, W, C): each window gives its dy to the pixel that won."""
    rows, columns = winners
    for M, parts, frame in _framed_chunks(dx, windows, 0, workspace):
        dtallest = workspace("tallest", (M, *rows.shape[1:]), like=dx)
        for part in parts:
            dimage = dx[part] if frame is None else frame.pixels
            _give_to_winner(ACROSS, dy[part], columns[part], windows, dtallest)
            _give_to_winner(DOWN, dtallest, rows[part], windows, dimage)
            if frame is not None:
                frame.get(dx[part])


def avg_pool_forward(x: Array, windows: Windows, y: Array, workspace: Workspace) -> None:
    """Fill y (N, OH, OW, C) with the mean of each window of x (N, H, W, C); padding counts as zeros."""
    KH, KW = windows.kernel
    for M, parts, frame in _framed_chunks(x, windows, 0, workspace):
        total = workspace("total", (M, y.shape[1], x.shape[2] + 2 * windows.padding[1], y.shape[3]), like=x)
        for part in parts:
            _sum(DOWN, _framed(x[part], frame), windows, total)
            _sum(ACROSS, total, windows, y[part])
            y[part] *= 1 / (KH * KW)


def avg_pool_backward(dy: Array, windows: Windows, dx: Array, workspace: Workspace) -> None:
    """Fill dx (N, H, W, C): each window gives an equal share of its dy to all its pixels."""
    KH, KW = windows.kernel
    for M, parts, frame in _framed_chunks(dx, windows, 0, workspace):
        dtotal = workspace("total", (M, dy.shape[1], dx.shape[2] + 2 * windows.padding[1], dy.shape[3]), like=dx)
        for part in parts:
            dimage = dx[part] if frame is None else frame.pixels
            _give_to_all(ACROSS, dy[part] * (1 / (KH * KW)), windows, dtotal)
            _give_to_all(DOWN, dtotal, windows, dimage)
            if frame is not None:
                frame.get(dx[part])


def global_avg_pool_forward(x: Array, y: Array) -> None:
    """Fill y (N, C) with the mean over all pixels of x (N, H, W, C)."""
    xp = array_module(x)
    N, H, W, C = x.shape
    share = xp.full(H * W, 1 / (H * W), x.dtype)
    xp.matmul(share, x.reshape(N, H * W, C), out=y)


def global_avg_pool_backward(dy: Array, dx: Array) -> None:
    """Fill dx (N, H, W, C): every pixel gets an equal share of dy (N, C)."""
    _, H, W, _ = dx.shape
    dx[...] = (dy * (1 / (H * W)))[:, None, None, :]


def _framed_chunks(
    x: Array, windows: Windows, border: float, workspace: Workspace
) -> Iterator[tuple[int, list[slice], Frame | None]]:
    """The batch in chunks of M images, each with a frame for the padding, or None if there is none."""
    _, H, W, C = x.shape
    (PH, PW), size = windows.padding, max(1, CHUNK_SIZE // (H * W * C))
    for M, parts in chunks(len(x), size):
        frame = None
        if PH or PW:
            frame = Frame("frame", M, (H + 2 * PH, W + 2 * PW), windows.padding, x, workspace)
            frame.pixels.fill(border)
        yield M, parts, frame


def _framed(images: Array, frame: Frame | None) -> Array:
    if frame is None:
        return images
    frame.put(images)
    return frame.pixels


def _steps(direction: int, image: Array, windows: Windows, count: int) -> list[Array]:
    """What the windows see at each step of their way down or across, from the first point of the kernel to the last."""
    stride = windows.stride[direction]
    stop = (count - 1) * stride + 1
    spans = [slice(step, step + stop, stride) for step in range(windows.kernel[direction])]
    return [image[:, span] if direction == DOWN else image[:, :, span] for span in spans]


def _maximum(direction: int, image: Array, windows: Windows, best: Array, winner: Array | None) -> None:
    """best = the largest of all steps, winner = the first step where it is."""
    xp = array_module(image)
    first, *others = _steps(direction, image, windows, best.shape[1 + direction])
    if not others:
        best[...] = first
        if winner is not None:
            winner.fill(0)
    best_so_far = first
    for step, seen in enumerate(others, start=1):
        if winner is not None and step == 1:
            xp.less(best_so_far, seen, out=winner.view(bool))
        elif winner is not None:
            better = xp.less(best_so_far, seen).view(np.uint8)
            better *= np.uint8(step)
            xp.maximum(winner, better, out=winner)
        best_so_far = xp.maximum(best_so_far, seen, out=best)


def _give_to_winner(direction: int, dbest: Array, winner: Array, windows: Windows, dimage: Array) -> None:
    """dimage = dbest where the winner is, zero elsewhere; added up where windows overlap."""
    xp = array_module(dimage)
    overlap = _prepare(direction, dimage, windows, dbest)
    for step, dseen in enumerate(_steps(direction, dimage, windows, dbest.shape[1 + direction])):
        if overlap:
            dseen += dbest * (winner == step)
        else:
            xp.multiply(dbest, winner == step, out=dseen)


def _sum(direction: int, image: Array, windows: Windows, total: Array) -> None:
    """total = the sum of all steps."""
    first, *others = _steps(direction, image, windows, total.shape[1 + direction])
    total[...] = first
    for seen in others:
        total += seen


def _give_to_all(direction: int, dtotal: Array, windows: Windows, dimage: Array) -> None:
    """dimage = dtotal at every step, added up where windows overlap."""
    overlap = _prepare(direction, dimage, windows, dtotal)
    for dseen in _steps(direction, dimage, windows, dtotal.shape[1 + direction]):
        if overlap:
            dseen += dtotal
        else:
            dseen[...] = dtotal


def _prepare(direction: int, dimage: Array, windows: Windows, dbest: Array) -> bool:
    """Fill dimage with zeros, unless the windows cover it without a gap; returns whether they overlap."""
    kernel, stride = windows.kernel[direction], windows.stride[direction]
    if kernel != stride or dbest.shape[1 + direction] * stride != dimage.shape[1 + direction]:
        dimage.fill(0)
    return kernel > stride
