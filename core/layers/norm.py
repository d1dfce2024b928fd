"""Layers that give their input mean 0 and variance 1: over the batch, or within each sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike

from core import ops
from core.backend import Array, array_module
from core.checks import expect_in, expect_whole
from core.layers.base import Layer, expect_last_axis
from core.params import Parameter, accumulate


class BatchNorm(Layer):
    """Normalises each channel over all other axes, of an input of any rank (..., C); Ioffe and Szegedy 2015.

    y = weight * x_hat + bias with x_hat = (x - mean) / sqrt(var + eps), where weight and bias (C,) are learnt. The
    backward pass is derived in `core/ops/cpu/norm.py`.

    In training with the statistics of the batch, of the whole batch also when it is split among workers; otherwise with
    `running_mean` and `running_var`, which follow them as running = (1 - momentum) * running + momentum * batch
    (`running_var` takes the unbiased variance, as PyTorch does).
    """

    buffer_names: ClassVar[tuple[str, ...]] = ("running_mean", "running_var")
    left_out_of_copies: ClassVar[tuple[str, ...]] = ("_remembered", "sum_over_ranks")

    def __init__(self, size: int, *, momentum: float = 0.1, eps: float = 1e-5, dtype: DTypeLike = np.float32) -> None:
        super().__init__()
        (size,) = expect_whole(self, size=size)
        expect_in("[0, 1]", self, momentum=momentum)
        expect_in("[0, inf)", self, eps=eps)
        self.size, self.momentum, self.eps = size, momentum, eps
        self.weight = Parameter(np.ones(size, dtype), decay=False)
        self.bias = Parameter(np.zeros(size, dtype), decay=False)
        self.running_mean = np.zeros(size, dtype)
        self.running_var = np.ones(size, dtype)
        self.sum_over_ranks: Callable[[Array], Array] | None = None  # where the batch is split among workers
        self.updates_running = True  # one worker alone does
        self.rows_measured: int | None = None  # in a replica that `measure_statistics` has made

    def forward(self, x: Array, train: bool = False) -> Array:
        expect_last_axis(self, x, self.size)
        op = ops.of(x)
        rows = x.reshape(-1, self.size)  # (M, C)
        y = self.workspace("y", x.shape, like=x)
        flat = y.reshape(rows.shape)  # (M, C)
        if not train:
            if self.rows_measured is not None:
                self._measure(rows)
            op.scale_shift(rows, *self.at_rest(), flat)
            self.remember(train)
            return y
        x_hat = self.workspace("x_hat", rows.shape, like=x)
        running = (self.running_mean, self.running_var) if self.updates_running else None
        inverse_deviation, count = op.batch_norm_forward(
            rows, self.weight.data, self.bias.data, self.eps, running, self.momentum, self._over_batch, x_hat, flat
        )
        self.remember(train, x_hat, inverse_deviation, count, y=y)
        return y

    def backward(self, dy: Array) -> Array:
        x_hat, inverse_deviation, count = self.recall(dy)
        op = ops.of(dy)
        rows = dy.reshape(-1, self.size)  # (M, C)
        dbias, dweight = accumulate((self.bias, self.weight), op.norm_gradients, rows, x_hat)
        dx = self.workspace("dx", dy.shape, like=dy)
        op.batch_norm_backward(
            rows,
            x_hat,
            self.weight.data,
            inverse_deviation,
            count,
            dbias,
            dweight,
            self._over_batch,
            dx.reshape(rows.shape),
        )
        return dx

    def at_rest(self) -> tuple[Array, Array]:
        """Outside of training it is y = scale * x + shift: (scale, shift), both (C,)."""
        scale: Array = self.weight.data / array_module(self.running_var).sqrt(self.running_var + self.eps)
        return scale, self.bias.data - self.running_mean * scale

    def _over_batch(self, part: Array) -> Array:
        """The sum over the whole batch of what this worker has summed over its shard."""
        return part if self.sum_over_ranks is None else self.sum_over_ranks(part)

    def _measure(self, rows: Array) -> None:
        """Let the running statistics be those of all rows since `measure_statistics` has begun (Chan et al. 1983)."""
        op, before, count = ops.of(rows), self.rows_measured or 0, len(rows)
        total = self.rows_measured = before + count
        mean = op.column_sums(rows) / count  # (C,)
        squares = op.center_columns(rows, mean, self.workspace("x_hat", rows.shape, like=rows))  # (C,)
        if before:
            step = mean - self.running_mean
            squares += step * step * (before * count / total)
            squares += self.running_var * (before - 1)
        self.running_mean *= before / total
        self.running_mean += mean * (count / total)
        self.running_var[...] = squares / max(total - 1, 1)


def measure_statistics(model: Layer, x: Array, batch_size: int = 500) -> None:
    """Set the running statistics of every BatchNorm in `model` to those of the inputs `x` (N, ...), in place.

    What training leaves there belongs to other inputs and other weights than the network has when it is used: to
    augmented images, which are blurred, cut out and never at rest, and to the weights of the last steps instead of
    averaged ones. A pass over some thousand plain training inputs mends both ("precise BatchNorm": Wu and Johnson 2021,
    arXiv:2105.07576, sections 3 and 5). A BatchNorm behind another one sees its inputs normalised by what is known of
    all so far, so the inputs should come in random order. Without a BatchNorm nothing is done.
    """
    expect_whole("measure_statistics", batch_size=batch_size)
    replica = model.replica()  # whose statistics are the same arrays; of a Parallel it is the network alone
    norms = [layer for _, layer in replica.walk() if isinstance(layer, BatchNorm)]
    for norm in norms:
        norm.rows_measured = 0
    for start in range(0, len(x) if norms else 0, batch_size):
        replica.forward(x[start : start + batch_size])


class LayerNorm(Layer):
    """Normalises the last axis within each sample, of an input of any rank (..., C); Ba et al. 2016.

    y = weight * x_hat + bias as in `BatchNorm`, with the mean and the variance of the last axis instead.
    """

    def __init__(self, size: int, *, eps: float = 1e-5, dtype: DTypeLike = np.float32) -> None:
        super().__init__()
        (size,) = expect_whole(self, size=size)
        expect_in("[0, inf)", self, eps=eps)
        self.size, self.eps = size, eps
        self.weight = Parameter(np.ones(size, dtype), decay=False)
        self.bias = Parameter(np.zeros(size, dtype), decay=False)

    def forward(self, x: Array, train: bool = False) -> Array:
        expect_last_axis(self, x, self.size)
        rows = x.reshape(-1, self.size)  # (M, C)
        x_hat = self.workspace("x_hat", rows.shape, like=x)
        y = self.workspace("y", x.shape, like=x)
        inverse_deviation = ops.of(x).layer_norm_forward(
            rows, self.weight.data, self.bias.data, self.eps, x_hat, y.reshape(rows.shape)
        )
        self.remember(train, x_hat, inverse_deviation, y=y)
        return y

    def backward(self, dy: Array) -> Array:
        x_hat, inverse_deviation = self.recall(dy)
        op = ops.of(dy)
        rows = dy.reshape(-1, self.size)  # (M, C)
        accumulate((self.bias, self.weight), op.norm_gradients, rows, x_hat)
        dx = self.workspace("dx", dy.shape, like=dy)
        op.layer_norm_backward(rows, x_hat, self.weight.data, inverse_deviation, dx.reshape(rows.shape))
        return dx
