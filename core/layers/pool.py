"""Pooling layers: smaller images from (N, H, W, C), every channel by itself."""

from __future__ import annotations

from core import ops
from core.backend import Array
from core.layers.base import Layer, expect_floats
from core.ops.windows import Pair, Windows

LARGEST_KERNEL = 255  # pixels in each direction: a byte tells the winner


class Pool2d(Layer):
    """What the pooling layers share: windows of `kernel_size` that move by `stride`, by default the size of the kernel.

    (N, H, W, C) -> (N, OH, OW, C) with OH = (H + 2 * padding - kernel_size) // stride + 1, and OW alike; each setting
    is one number or a pair (vertical, horizontal). What is left over at the bottom and on the right is not seen.
    """

    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0) -> None:
        super().__init__()
        self.windows = Windows.of(self, kernel_size, kernel_size if stride is None else stride, padding)
        if any(2 * border > size for border, size in zip(self.windows.padding, self.windows.kernel, strict=True)):
            raise ValueError(f"{type(self).__name__} expected padding of at most half the kernel, got {padding}")

    def output(self, x: Array) -> Array:
        """The array that forward fills."""
        expect_rank_4(self, x)
        N, H, W, C = x.shape
        return self.workspace("y", (N, *self.windows.count(H, W), C), like=x)


class MaxPool2d(Pool2d):
    """The largest element of each window; of equal ones the first takes the gradient. Padding never wins."""

    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0) -> None:
        super().__init__(kernel_size, stride, padding)
        if max(self.windows.kernel) > LARGEST_KERNEL:
            raise ValueError(f"MaxPool2d expected kernel_size of at most {LARGEST_KERNEL}, got {kernel_size}")

    def forward(self, x: Array, train: bool = False) -> Array:
        y = self.output(x)
        winners = ops.of(x).max_pool_forward(x, self.windows, y, train, self.workspace)
        self.remember(train, winners, x.shape, y=y)
        return y

    def backward(self, dy: Array) -> Array:
        winners, shape = self.recall(dy)
        dx = self.workspace("dx", shape, like=dy)
        ops.of(dy).max_pool_backward(dy, winners, self.windows, dx, self.workspace)
        return dx


class AvgPool2d(Pool2d):
    """The mean of each window, in which padding counts as zeros."""

    def forward(self, x: Array, train: bool = False) -> Array:
        y = self.output(x)
        ops.of(x).avg_pool_forward(x, self.windows, y, self.workspace)
        self.remember(train, x.shape, y=y)
        return y

    def backward(self, dy: Array) -> Array:
        dx = self.workspace("dx", self.recall(dy), like=dy)
        ops.of(dy).avg_pool_backward(dy, self.windows, dx, self.workspace)
        return dx


class GlobalAvgPool(Layer):
    """The mean over all pixels: (N, H, W, C) -> (N, C)."""

    def forward(self, x: Array, train: bool = False) -> Array:
        expect_rank_4(self, x)
        y = self.workspace("y", (x.shape[0], x.shape[3]), like=x)
        ops.of(x).global_avg_pool_forward(x, y)
        self.remember(train, x.shape, y=y)
        return y

    def backward(self, dy: Array) -> Array:
        dx = self.workspace("dx", self.recall(dy), like=dy)
        ops.of(dy).global_avg_pool_backward(dy, dx)
        return dx


def expect_rank_4(layer: Layer, x: Array) -> None:
    """Raise ValueError unless `x` is (N, H, W, C), TypeError for integers."""
    if x.ndim != 4:
        raise ValueError(f"{type(layer).__name__} expected (N, H, W, C), got {x.shape}")
    expect_floats(layer, x)
