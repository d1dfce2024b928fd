"""Gradient descent song by song, as fast as NumPy can: an epoch in vectors that are made once.

One song is so little work that the layers of `core`, made for batches, spend most of their time on being called. Here
a layer's weights and bias are one matrix, whose last row, the bias, meets a constant 1 at the end of each input; so a
layer's forward is one product, and its update one outer product. Same losses, same weights as with the layers, but for
rounding (tests/music_cuda/test_music_ways.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log

import numpy as np

from core.backend import Array
from core.layers import Linear


class Stage:
    """One layer: [weight; bias], its input with a 1 at the end, and memory for what comes back."""

    def __init__(self, linear: Linear) -> None:
        assert linear.bias is not None
        self.linear, self.bias = linear, linear.bias
        inputs, outputs = linear.weight.data.shape
        self.matrix = np.vstack([linear.weight.data, linear.bias.data])  # (D + 1, K)
        self.weight = self.matrix[:-1]  # (D, K), a view
        self.input = np.ones(inputs + 1, np.float32)  # (D + 1,)
        self.column = self.input[:, None]  # (D + 1, 1)
        self.output = np.empty(outputs, np.float32)  # (K,)
        self.zeros = np.zeros(outputs, np.float32)  # np.maximum with an array is faster than with a number
        self.dinput = np.empty(inputs, np.float32)  # (D,)
        self.change = np.empty_like(self.matrix)  # (D + 1, K)

    def read(self) -> None:
        """Take the layer's weights."""
        self.matrix[:-1], self.matrix[-1] = self.linear.weight.data, self.bias.data

    def write(self) -> None:
        """Give the weights back to the layer."""
        self.linear.weight.data[...], self.bias.data[...] = self.matrix[:-1], self.matrix[-1]


class PerSample:
    """Trains a chain of Linear layers with ReLU between them on songs x float32 (N, D) with labels (N,)."""

    def __init__(self, linears: Sequence[Linear], x: Array, labels: Array) -> None:
        self.x = np.hstack([x, np.ones((len(x), 1), np.float32)])  # (N, D + 1)
        self.labels: list[int] = labels.tolist()
        self.stages = [Stage(linear) for linear in linears]
        for stage, following in pairwise(self.stages):
            stage.output = following.input[:-1]  # a view: what one layer puts out is what the next one reads

    def __call__(self, order: Array, rates: Sequence[float]) -> tuple[float, float]:
        """Train once on each song of `order`, with its learning rate; returns the mean loss and the accuracy."""
        for stage in self.stages:
            stage.read()
        first, last = self.stages[0], self.stages[-1]
        loss, right, logits = 0.0, 0, last.output
        for row, rate in zip(order.tolist(), rates, strict=True):
            first.input, first.column = self.x[row], self.x[row, :, None]
            label = self.labels[row]
            self._forward(last)
            right += int(logits.argmax()) == label
            logits -= np.maximum.reduce(logits)
            wanted = float(logits[label])
            np.exp(logits, out=logits)
            total = float(np.add.reduce(logits))
            loss += log(total) - wanted
            logits *= rate / total  # from here on every gradient is one times the learning rate
            logits[label] -= rate
            self._backward(first, logits)
        for stage in self.stages:
            stage.write()
        return loss / len(order), right / len(order)

    def _forward(self, last: Stage) -> None:
        dot, maximum = np.dot, np.maximum
        for stage in self.stages:
            output = stage.output
            dot(stage.input, stage.matrix, out=output)
            if stage is not last:
                maximum(output, stage.zeros, out=output)

    def _backward(self, first: Stage, delta: Array) -> None:
        """Update every layer, the last one first, from the loss's gradient with respect to the logits."""
        dot, multiply, subtract = np.dot, np.multiply, np.subtract
        for stage in reversed(self.stages):
            multiply(stage.column, delta, out=stage.change)
            if stage is not first:
                dinput = stage.dinput
                dot(stage.weight, delta, out=dinput)  # with the weights that the forward used
                dinput *= stage.input[:-1] > 0
                delta = dinput
            subtract(stage.matrix, stage.change, out=stage.matrix)
