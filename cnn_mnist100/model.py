"""The network of this project, and the one definition of what it sees and what it answers.

Training, test and demo all build the network and prepare its input here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from cnn_mnist100.pairs import CLASSES, HEIGHT, WIDTH
from core.backend import Array
from core.data.normalize import Normalize
from core.initializers import glorot_normal
from core.layers import BatchNorm, ConvReLUPool, Dropout, Flatten, Layer, Linear, ReLU, Sequential
from core.random import Stream

HeadName = Literal["number", "digits"]


@dataclass(frozen=True)
class Architecture:
    """What must be known to build the network; it is saved with the weights."""

    filters: tuple[int, ...] = (16, 32)
    """Filters of each convolution."""
    kernel: int = 3
    """Side of their kernels, in pixels."""
    padding: int = 0
    """Zeros around what each convolution sees, in pixels."""
    pools: int = 2
    """How many of the convolutions, from the first one on, are followed by 2 x 2 max-pooling."""
    hidden: tuple[int, ...] = (256,)
    """Sizes of the fully connected layers before the last one."""
    dropout: float = 0.4
    """Share of each hidden layer's outputs that is dropped in training."""
    batch_norm: bool = False
    """Normalise over the batch: after each convolution and its pooling, and before the ReLU of each hidden layer."""
    head: HeadName = "number"
    """One answer for the picture as a whole, or one for each half with the same weights, added up."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self) | {"filters": list(self.filters), "hidden": list(self.hidden)}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Architecture:
        """What `to_dict` described."""
        return cls(**(stored | {"filters": tuple(stored["filters"]), "hidden": tuple(stored["hidden"])}))

    def last_map(self) -> tuple[int, int]:
        """Height and width of what leaves the last convolution; below 1 where the picture is too small for them."""
        H, W = HEIGHT, WIDTH
        for place in range(len(self.filters)):
            H, W = (size + 2 * self.padding - self.kernel + 1 for size in (H, W))
            if place < self.pools:
                H, W = H // 2, W // 2
        return H, W

    def matrices(self) -> list[tuple[int, int]]:
        """The shapes of all weights, convolutions first."""
        channels = (1, *self.filters)
        convolutions = [(self.kernel**2 * before, after) for before, after in pairwise(channels)]
        H, W = self.last_map()
        parts, outputs = (1, len(CLASSES)) if self.head == "number" else (2, 10)
        return [*convolutions, *pairwise((H * W * channels[-1] // parts, *self.hidden, outputs))]

    def __str__(self) -> str:
        """The network in a few words, such as "convolutions 3x3 of 16-32 filters, fully connected 256-100"."""
        filters, sizes = "-".join(map(str, self.filters)), "-".join(map(str, self.hidden))
        outputs = "100" if self.head == "number" else "10+10"
        connected = f"{sizes}-{outputs}" if sizes else outputs
        return f"convolutions {self.kernel}x{self.kernel} of {filters} filters, fully connected {connected}"


def build(architecture: Architecture, *, seed: int = 0, stream: Stream | None = None) -> Sequential:
    """The network, with initial weights drawn from `seed` and dropout drawn from `stream`.

    Takes images (N, 28, 56, 1), prepared by `preprocess`; returns logits (N, 100).
    """
    rng, stream = np.random.default_rng(seed), stream or Stream(seed)
    layers: dict[str, Layer] = {}
    channels = 1
    for place, filters in enumerate(architecture.filters, start=1):
        layers[f"conv{place}"] = ConvReLUPool(
            channels,
            filters,
            architecture.kernel,
            rng=rng,
            padding=architecture.padding,
            pool=2 if place <= architecture.pools else 1,
        )
        if architecture.batch_norm:
            layers[f"norm{place}"] = BatchNorm(filters)
        channels = filters
    H, W = architecture.last_map()
    size, by_digit = H * W * channels, architecture.head == "digits"
    layers["flatten"] = Halves() if by_digit else Flatten()
    size = size // 2 if by_digit else size
    for place, hidden in enumerate(architecture.hidden, start=1):
        layers[f"hidden{place}"] = Linear(size, hidden, rng=rng, bias=not architecture.batch_norm)
        if architecture.batch_norm:  # it shifts by itself, so the layer before needs no bias
            layers[f"hidden{place}_norm"] = BatchNorm(hidden)
        layers[f"hidden{place}_relu"] = ReLU()
        if architecture.dropout:
            layers[f"hidden{place}_dropout"] = Dropout(architecture.dropout, stream=stream)
        size = hidden
    # The logits feed a softmax, which is about linear around 0: Glorot's variance starts the loss near ln 100.
    layers["output"] = Linear(size, 10 if by_digit else len(CLASSES), rng=rng, init=glorot_normal)
    if by_digit:
        layers["number"] = TensAndUnits()
    return Sequential(**layers)


def preprocess(images: Array, normalize: Normalize) -> Array:
    """What the network sees: uint8 (N, 28, 56) or float from 0 to 1, as float32 (N, 28, 56, 1) with the statistics."""
    return normalize(images)[..., None]


class Halves(Layer):
    """The left and the right half of each picture, each in one row: (N, H, W, C) -> (N, 2, H * W / 2 * C).

    Layers that work on the last axis then read both digits with the same weights.
    """

    def forward(self, x: Array, train: bool = False) -> Array:
        N, H, W, C = x.shape
        if W % 2:
            raise ValueError(f"Halves expected an even width, got {x.shape}")
        y = self.workspace("y", (N, 2, H * W // 2 * C), like=x)
        y.reshape(N, 2, H, W // 2, C)[...] = x.reshape(N, H, 2, W // 2, C).swapaxes(1, 2)
        self.remember(train, x.shape, y=y)
        return y

    def backward(self, dy: Array) -> Array:
        N, H, W, C = self.recall(dy)
        dx = self.workspace("dx", (N, H, W, C), like=dy)
        dx.reshape(N, H, 2, W // 2, C)[...] = dy.reshape(N, 2, H, W // 2, C).swapaxes(1, 2)
        return dx


class TensAndUnits(Layer):
    """Logits of the two digits as logits of the number, y[10 a + b] = tens[a] + units[b]: (N, 2, 10) -> (N, 100).

    A softmax of sums is the product of two softmaxes: the probability of 42 is that of the 4 times that of the 2.
    """

    def forward(self, x: Array, train: bool = False) -> Array:
        if x.shape[1:] != (2, 10):
            raise ValueError(f"TensAndUnits expected (N, 2, 10), got {x.shape}")
        y = self.workspace("y", (len(x), 100), like=x)
        y.reshape(-1, 10, 10)[...] = x[:, 0, :, None] + x[:, 1, None, :]
        self.remember(train, len(x), y=y)
        return y

    def backward(self, dy: Array) -> Array:
        N = self.recall(dy)
        dx = self.workspace("dx", (N, 2, 10), like=dy)
        table = dy.reshape(N, 10, 10)  # (N, tens, units)
        table.sum(axis=2, out=dx[:, 0])
        table.sum(axis=1, out=dx[:, 1])
        return dx
