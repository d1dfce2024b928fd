"""Convolution, and the blocks of convolution, ReLU and max-pooling that run in one pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from core import ops
from core.backend import Array
from core.checks import expect_whole
from core.initializers import Initializer, he_normal
from core.layers.base import Layer, expect_floats
from core.ops.windows import Pair, Windows
from core.params import Parameter


class Conv2d(Layer):
    """Slides kernels over images: (N, H, W, in_channels) -> (N, OH, OW, out_channels).

    OH = (H + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1, and OW alike; each setting is one number or
    a pair (vertical, horizontal). The formula, and a plain version to read, stand in `core/ops/cpu/conv_simple.py`.

    `weight` is (KH * KW * in_channels / groups, out_channels), its rows in the order kernel row, kernel column,
    channel, so that the convolution is one product of matrices; a weight (K, C, KH, KW) of PyTorch becomes
    `weight.transpose(2, 3, 1, 0).reshape(-1, K)`. `bias` is (out_channels,), starts at zero and takes no weight decay.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        *,
        rng: np.random.Generator,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        init: Initializer = he_normal,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        in_channels, out_channels, groups = expect_whole(
            self, in_channels=in_channels, out_channels=out_channels, groups=groups
        )
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{type(self).__name__} expected channels that {groups} groups can share, "
                f"got {in_channels} and {out_channels}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.windows = Windows.of(self, kernel_size, stride, padding, dilation)
        KH, KW = self.windows.kernel
        fan_in, fan_out = KH * KW * in_channels // groups, KH * KW * out_channels // groups
        self.weight = Parameter(init(rng, (fan_in, out_channels), fan_in, fan_out, dtype))
        self.bias = Parameter(np.zeros(out_channels, dtype), decay=False) if bias else None

    def forward(self, x: Array, train: bool = False) -> Array:
        expect_images(self, x, self.in_channels)
        y = self.workspace("y", (len(x), *self.windows.count(*x.shape[1:3]), self.out_channels), like=x)
        bias = None if self.bias is None else self.bias.data
        ops.of(x).conv2d_forward(x, self.weight.like(x), bias, self.windows, self.groups, y, self.workspace)
        self.remember(train, x, y=y)
        return y

    def backward(self, dy: Array) -> Array | None:
        x: Array = self.recall(dy)
        dx = self.workspace("dx", x.shape, like=x) if self.input_grad else None
        dweight, dbias = ops.of(x).conv2d_backward(
            dy, x, self.weight.like(x), self.windows, self.groups, dx, self.workspace, self.bias is not None
        )
        self._accumulate(dweight, dbias)
        return dx

    def _accumulate(self, dweight: Array, dbias: Array | None) -> None:
        self.weight.add_grad(dweight)
        if self.bias is not None:
            assert dbias is not None
            self.bias.add_grad(dbias)


class ConvReLUPool(Conv2d):
    """Conv2d, ReLU and, with pool=2, MaxPool2d(2), in one pass over the images: the fast way to write

        Sequential(Conv2d(...), ReLU(), MaxPool2d(2))

    with the same weights and, but for rounding, the same outputs and gradients. The pass takes the maximum before the
    bias and ReLU, see `core/ops/cpu/conv_block.py`. Where two places of a window tie, which gets the gradient may
    differ.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        *,
        rng: np.random.Generator,
        padding: int | Pair = 0,
        pool: int = 2,
        init: Initializer = he_normal,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, rng=rng, padding=padding, init=init, dtype=dtype)
        if pool not in (1, 2):
            raise ValueError(f"ConvReLUPool expected pool=1 or pool=2, got {pool}")
        self.pool = Windows.of(self, pool, stride=pool)

    def forward(self, x: Array, train: bool = False) -> Array:
        expect_images(self, x, self.in_channels)
        size = self.pool.count(*self.windows.count(*x.shape[1:3]))
        y = self.workspace("y", (len(x), *size, self.out_channels), like=x)
        assert self.bias is not None
        op, weight, bias = ops.of(x), self.weight.like(x), self.bias.data
        if self.pool.is_point:
            op.conv2d_forward(x, weight, bias, self.windows, 1, y, self.workspace)
            op.relu_forward(y, y)
            self.remember(train, x, y, None, y=y)
        else:
            winners = op.conv_relu_pool_forward(x, weight, bias, self.windows, y, train, self.workspace)
            self.remember(train, x, y, winners, y=y)
        return y

    def backward(self, dy: Array) -> Array | None:
        x, y, winners = self.recall(dy)
        op, weight = ops.of(x), self.weight.like(x)
        dx = self.workspace("dx", x.shape, like=x) if self.input_grad else None
        if self.pool.is_point:
            through_relu = self.workspace("through relu", y.shape, like=y)
            op.relu_backward(dy, y, through_relu)
            gradients = op.conv2d_backward(through_relu, x, weight, self.windows, 1, dx, self.workspace)
        else:
            gradients = op.conv_relu_pool_backward(dy, x, y, winners, weight, self.windows, dx, self.workspace)
        self._accumulate(*gradients)
        return dx


class ConvPool(Conv2d):
    """Conv2d without a bias, and MaxPool2d(2), in one pass over the images: for what a BatchNorm follows.

    Same weights and, but for rounding, the same outputs and gradients as `Sequential(Conv2d(..., bias=False),
    MaxPool2d(2))`; where two places of a window tie, which gets the gradient may differ.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        *,
        rng: np.random.Generator,
        padding: int | Pair = 0,
        init: Initializer = he_normal,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, rng=rng, padding=padding, bias=False, init=init, dtype=dtype
        )
        self.pool = Windows.of(self, 2, stride=2)

    def forward(self, x: Array, train: bool = False) -> Array:
        expect_images(self, x, self.in_channels)
        size = self.pool.count(*self.windows.count(*x.shape[1:3]))
        y = self.workspace("y", (len(x), *size, self.out_channels), like=x)
        op, weight = ops.of(x), self.weight.like(x)
        winners = op.conv_relu_pool_forward(x, weight, None, self.windows, y, train, self.workspace)
        self.remember(train, x, winners, y=y)
        return y

    def backward(self, dy: Array) -> Array | None:
        x, winners = self.recall(dy)
        dx = self.workspace("dx", x.shape, like=x) if self.input_grad else None
        gradients = ops.of(x).conv_relu_pool_backward(
            dy, x, None, winners, self.weight.like(x), self.windows, dx, self.workspace
        )
        self._accumulate(*gradients)
        return dx


def expect_images(layer: Layer, x: Array, channels: int) -> None:
    """Raise ValueError unless `x` is (N, H, W, channels), TypeError for integers."""
    if x.ndim != 4 or x.shape[3] != channels:
        raise ValueError(f"{type(layer).__name__} expected (N, H, W, {channels}), got {x.shape}")
    expect_floats(layer, x)
