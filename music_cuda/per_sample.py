"""Gradient descent song by song, as fast as NumPy can: an epoch in vectors that are made once.

One song is so little work that the layers of `core`, made for batches, spend most of their time on being called. Here
a layer's weights and bias are one matrix, whose last row, the bias, meets a constant 1 at the end of each input: a
layer's forward is one product, and its gradient one outer product. All matrices lie in one piece of memory, so that one
subtraction updates them all. What takes NumPy longer to begin than to do (the largest of ten numbers, their sum), plain
Python does. Same losses, same weights as with the layers, but for rounding (tests/music_cuda/test_music_ways.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log

import numpy as np

from core.backend import Array
from core.layers import Linear


class Stage:
    """One layer: views of its [weight; bias] and of their gradient, and memory for what passes."""

    def __init__(self, linear: Linear, memory: Array, gradients: Array) -> None:
        assert linear.bias is not None
        self.linear, self.bias = linear, linear.bias
        inputs, outputs = linear.weight.data.shape
        self.matrix = memory.reshape(inputs + 1, outputs)  # (D + 1, K)
        self.weight = self.matrix[:-1]  # (D, K)
        self.gradient = gradients.reshape(inputs + 1, outputs)  # (D + 1, K)
        self.take_input(np.ones(inputs + 1, memory.dtype))
        self.set_output(np.empty(outputs, memory.dtype))
        self.dinput = np.empty(inputs, memory.dtype)  # (D,)
        self.active = np.empty(inputs, memory.dtype)  # (D,) 1 where the layer below put out something, else 0

    def take_input(self, extended: Array) -> None:
        """Read inputs from `extended` (D + 1,), whose last element is 1."""
        self.extended, self.column = extended, extended[:, None]
        self.input = extended[:-1]

    def set_output(self, output: Array) -> None:
        """Put outputs into `output` (K,)."""
        self.output, self.zeros = output, np.zeros_like(output)  # np.maximum is faster with an array than with 0
        self.row = output[None, :]

    def read(self) -> None:
        """Take the layer's weights."""
        self.weight[...], self.matrix[-1] = self.linear.weight.data, self.bias.data

    def write(self) -> None:
        """Give the weights back to the layer."""
        self.linear.weight.data[...], self.bias.data[...] = self.weight, self.matrix[-1]


class PerSample:
    """Trains a chain of Linear layers with ReLU between them on songs x float (N, D) with labels (N,)."""

    def __init__(self, linears: Sequence[Linear], x: Array, labels: Array) -> None:
        extended = np.hstack([x, np.ones((len(x), 1), x.dtype)])  # (N, D + 1)
        self.songs = [(song, song[:, None]) for song in extended]  # a list is faster to pick from than an array
        self.labels: list[int] = labels.tolist()
        sizes = [(linear.in_features + 1) * linear.out_features for linear in linears]
        self.weights, self.gradient = np.empty((2, sum(sizes)), x.dtype)
        ends = np.cumsum(sizes)
        self.stages = [
            Stage(linear, self.weights[end - size : end], self.gradient[end - size : end])
            for linear, size, end in zip(linears, sizes, ends, strict=True)
        ]
        for stage, following in pairwise(self.stages):
            stage.set_output(following.input)  # what one layer puts out is what the next one reads

    def __call__(self, order: Array, rates: Sequence[float]) -> tuple[float, float]:
        """Train once on each song of `order`, with its learning rate; returns the mean loss and the accuracy."""
        for stage in self.stages:
            stage.read()
        loss, right = 0.0, 0
        for song, rate in zip(order.tolist(), rates, strict=True):
            label = self.labels[song]
            song_loss, answer = self._learn(*self.songs[song], label, rate)
            loss += song_loss
            right += answer == label
        for stage in self.stages:
            stage.write()
        return loss / len(order), right / len(order)

    def _learn(self, x: Array, column: Array, label: int, rate: float) -> tuple[float, int]:
        """Forward, backward and update for one song; returns its loss and the answer before the update."""
        dot, maximum, multiply = np.dot, np.maximum, np.multiply
        first, last = self.stages[0], self.stages[-1]
        first.extended, first.column = x, column
        for stage in self.stages:
            output = stage.output
            dot(stage.extended, stage.matrix, out=output)
            if stage is not last:
                maximum(output, stage.zeros, out=output)

        delta = last.output  # the logits, and then step by step the gradient
        scores: list[float] = delta.tolist()
        top = max(scores)
        np.subtract(delta, top, out=delta)
        np.exp(delta, out=delta)
        total = sum(delta.tolist())
        multiply(delta, rate / total, out=delta)  # from here on every gradient is one times the learning rate
        delta[label] -= rate

        for stage in reversed(self.stages):
            dot(stage.column, stage.row, out=stage.gradient)
            if stage is not first:
                dinput = stage.dinput
                dot(stage.weight, stage.output, out=dinput)
                np.sign(stage.input, out=stage.active)  # the derivative of the ReLU that put it out
                multiply(dinput, stage.active, out=stage.input)  # the input has done its work: the gradient goes there
        np.subtract(self.weights, self.gradient, out=self.weights)
        return log(total) + top - scores[label], scores.index(top)
