"""Dropout: random elements become zero in training."""

from __future__ import annotations

import math

from core import ops
from core.backend import Array
from core.checks import expect_in
from core.layers.base import Layer, expect_floats
from core.random import Stream


class Dropout(Layer):
    """Zeroes each element with probability `rate` in training and scales the rest by 1 / (1 - rate).

    Which elements go depends on (seed, epoch, batch, layer, sample) alone, through `stream`; so a resumed run, and a
    batch split among workers, drop the same ones. A loop without `Run.batches` has to call `stream.seek(epoch, batch)`
    before each forward: where it never does, the same elements go at every step. The rate is exact to 1 / 65,536.
    Srivastava et al. 2014.
    """

    def __init__(self, rate: float, *, stream: Stream) -> None:
        super().__init__()
        expect_in("[0, 1)", self, rate=rate)
        self.rate = rate
        self.stream = stream
        self.salt = stream.new_salt()

    def forward(self, x: Array, train: bool = False) -> Array:
        if not train or self.rate == 0:
            self.remember(train, None, y=x)
            return x
        expect_floats(self, x)
        rows = x.reshape(len(x), math.prod(x.shape[1:]))  # (N, D)
        mask = self.workspace("mask", rows.shape, like=x)
        y = self.workspace("y", x.shape, like=x)
        draws = self.stream.draws(self.salt, len(rows), rows.shape[1])
        ops.of(x).dropout_forward(rows, draws, self.rate, mask, y.reshape(rows.shape))
        self.remember(train, mask, y=y)
        return y

    def backward(self, dy: Array) -> Array:
        mask: Array | None = self.recall(dy)
        if mask is None:
            return dy
        dx = self.workspace("dx", dy.shape, like=dy)
        ops.of(dy).dropout_backward(dy, mask, dx)
        return dx
