"""Pooling on a GPU; see `core/kernels/pool.cu`."""

from __future__ import annotations

import numpy as np

from core.backend import Array
from core.kernels import THREADS, blocks_for, launch
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

MOST_PLACES = 256  # of a window, that a winner's byte can tell apart


def max_pool_forward(
    x: Array, windows: Windows, y: Array, keep: bool, workspace: Workspace, bias: Array | None = None
) -> Array | None:
    """See `core.ops.cpu.pool`; with a bias (C,), y = relu(maximum + bias). Returns what backward needs, if `keep`."""
    KH, KW = windows.kernel
    if keep and KH * KW > MOST_PLACES:
        raise ValueError(f"max pooling on a GPU expected windows of at most {MOST_PLACES} pixels, got {KH} x {KW}")
    winners = workspace("winners", y.shape, like=x, dtype=np.uint8) if keep else None
    launch(
        "max_pool_forward",
        blocks_for(y.size),
        THREADS,
        x=x,
        bias=bias,
        y=y,
        winners=winners,
        **window_sizes(windows),
    )
    return winners


def max_pool_backward(
    dy: Array, winners: Array, windows: Windows, dx: Array, workspace: Workspace, y: Array | None = None
) -> None:
    """See `core.ops.cpu.pool`; with y, the output after a ReLU, dy passes only where y > 0."""
    launch(
        "max_pool_backward",
        blocks_for(dx.size),
        THREADS,
        dy=dy,
        y=y,
        winners=winners,
        dx=dx,
        **window_sizes(windows),
    )


def avg_pool_forward(x: Array, windows: Windows, y: Array, workspace: Workspace) -> None:
    """See `core.ops.cpu.pool`, as for all below."""
    launch("avg_pool_forward", blocks_for(y.size), THREADS, x=x, y=y, **window_sizes(windows))


def avg_pool_backward(dy: Array, windows: Windows, dx: Array, workspace: Workspace) -> None:
    """Fill dx (N, H, W, C): each window gives an equal share of its dy to all its pixels."""
    launch("avg_pool_backward", blocks_for(dx.size), THREADS, dy=dy, dx=dx, **window_sizes(windows))


def global_avg_pool_forward(x: Array, y: Array) -> None:
    """Fill y (N, C) with the mean over all pixels of x (N, H, W, C): one window as large as the image."""
    N, H, W, C = x.shape
    launch("avg_pool_forward", blocks_for(y.size), THREADS, x=x, y=y.reshape(N, 1, 1, C), **_whole(H, W))


def global_avg_pool_backward(dy: Array, dx: Array) -> None:
    """Fill dx (N, H, W, C): every pixel gets an equal share of dy (N, C)."""
    N, H, W, C = dx.shape
    launch("avg_pool_backward", blocks_for(dx.size), THREADS, dy=dy.reshape(N, 1, 1, C), dx=dx, **_whole(H, W))


def window_sizes(windows: Windows) -> dict[str, int]:
    """The windows as a kernel takes them."""
    (KH, KW), (SH, SW), (PH, PW) = windows.kernel, windows.stride, windows.padding
    return {"KH": KH, "KW": KW, "SH": SH, "SW": SW, "PH": PH, "PW": PW}


def _whole(H: int, W: int) -> dict[str, int]:
    return window_sizes(Windows((H, W), stride=(H, W)))
