"""The first layer of the fast network: it is computed from the images, not learnt."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from core import ops
from core.backend import Array
from core.layers import Layer
from core.layers.conv import expect_images
from core.ops.windows import Windows

KERNEL = 3
EPS = 5e-4  # added to the variances, so that what is next to noise is not blown up


class Whitening(Layer):
    """A 3 x 3 convolution whose outputs are uncorrelated and of equal variance: (N, H, W, C) -> (N, H, W, filters).

    The filters are the directions in which patches of the images vary most, divided by how much they vary there, and
    after them the same with the opposite sign, so that a ReLU loses nothing (Page, "How to train your ResNet 8", 2019;
    Jordan, arXiv:2404.00498, section 3.1). `fit` finds them; nothing trains them, so backward has dx alone to compute.
    """

    buffer_names = ("weight",)

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        if filters % 2 or not 2 <= filters <= 2 * KERNEL**2 * channels:
            most = 2 * KERNEL**2 * channels
            raise ValueError(f"Whitening expected filters to be even and at most {most}, got {filters}")
        self.channels, self.filters = channels, filters
        self.windows = Windows.of(self, KERNEL, padding=KERNEL // 2)
        self.weight: Array = np.zeros((KERNEL**2 * channels, filters), np.float32)

    def fit(self, images: Array) -> None:
        """Compute the filters from prepared images (N, H, W, C)."""
        patches = sliding_window_view(images, (KERNEL, KERNEL), axis=(1, 2))  # (N, H - 2, W - 2, C, 3, 3)
        rows = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, KERNEL**2 * self.channels).astype(np.float64)
        variances, directions = np.linalg.eigh(rows.T @ rows / len(rows))  # from the smallest variance on
        most = np.argsort(-variances)[: self.filters // 2]
        filters = directions[:, most] / np.sqrt(variances[most] + EPS)
        self.weight[...] = np.concatenate([filters, -filters], axis=1)

    def forward(self, x: Array, train: bool = False) -> Array:
        expect_images(self, x, self.channels)
        y = self.workspace("y", (*x.shape[:3], self.filters), like=x)
        weight = self.weight.astype(x.dtype, copy=False)  # rounded in mixed precision
        ops.of(x).conv2d_forward(x, weight, None, self.windows, 1, y, self.workspace)
        self.remember(train, (x, weight) if self.input_grad else None, y=y)
        return y

    def backward(self, dy: Array) -> Array | None:
        remembered: tuple[Array, Array] | None = self.recall(dy)
        if remembered is None:
            return None
        x, weight = remembered
        dx = self.workspace("dx", x.shape, like=x)
        ops.of(x).conv2d_backward(dy, x, weight, self.windows, 1, dx, self.workspace, False)
        return dx
