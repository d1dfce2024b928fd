"""The fully connected layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from core import ops
from core.backend import Array
from core.checks import expect_whole
from core.initializers import Initializer, he_normal
from core.layers.base import Layer, expect_last_axis
from core.params import Parameter


class Linear(Layer):
    """y = x W + b on the last axis: (..., in_features) -> (..., out_features).

    `weight` is (in_features, out_features) and starts from `init`; `bias` is (out_features,), starts at zero and takes
    no weight decay. `rng` is the generator of the initial weights, drawn with NumPy whatever the device.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        rng: np.random.Generator,
        bias: bool = True,
        init: Initializer = he_normal,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        in_features, out_features = expect_whole(self, in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(init(rng, (in_features, out_features), in_features, out_features, dtype))
        self.bias = Parameter(np.zeros(out_features, dtype), decay=False) if bias else None

    def forward(self, x: Array, train: bool = False) -> Array:
        expect_last_axis(self, x, self.in_features)
        rows = x if x.ndim == 2 else x.reshape(-1, self.in_features)  # (M, D)
        y = self.workspace.take("y", (len(rows), self.out_features), x)
        ops.of(x).linear_forward(rows, self.weight.like(x), y)
        if self.bias is not None:
            _add_to_rows(y, self.bias.data)
        y = y if x.ndim == 2 else y.reshape(*x.shape[:-1], self.out_features)
        self.remember(train, x, y=y)
        return y

    def backward(self, dy: Array) -> Array | None:
        x: Array = self.recall(dy)
        rows = x.reshape(-1, self.in_features)  # (M, D)
        drows = dy.reshape(-1, self.out_features)  # (M, K)
        op = ops.of(x)
        if self.bias is not None:
            self.bias.accumulate(op.column_sums, drows)  # db = the sum of the rows of dy
        dx = self.workspace("dx", rows.shape, like=x) if self.input_grad else None
        self.weight.accumulate(op.linear_backward, rows, drows, self.weight.like(x), dx)  # dW = x^T dy; dx = dy W^T
        return None if dx is None else dx.reshape(x.shape)


def _add_to_rows(y: Array, bias: Array) -> None:
    """y += bias; y (M, K), bias (K,). One row is added to another in a third of the time that a matrix takes."""
    rows = y[0] if len(y) == 1 else y
    rows += bias
