"""The networks of this project, and the one definition of what they see and what they answer.

Training, test and demo all build the network and prepare its input here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from core.backend import Array
from core.data.normalize import Normalize
from core.initializers import glorot_normal
from core.layers import (
    GELU,
    BatchNorm,
    ConvReLUPool,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    Linear,
    ReLU,
    Sequential,
    Tanh,
)
from core.random import Stream

SIDE = 28  # pixels of a picture
DEEPEST = 8  # convolutions of a stage
ActivationName = Literal["relu", "leaky_relu", "gelu", "tanh"]
ACTIVATIONS: dict[str, type[Layer]] = {"relu": ReLU, "leaky_relu": LeakyReLU, "gelu": GELU, "tanh": Tanh}
assert set(ACTIVATIONS) == set(get_args(ActivationName))


@dataclass(frozen=True)
class Architecture:
    """What must be known to build the network; it is saved with the weights.

    `filters` are those of the stages, each of `depth` convolutions 3 x 3, none in a multilayer perceptron; the first
    `pools` stages end with 2 x 2 max-pooling. `hidden` are the sizes of the layers between them and the last one.
    """

    classes: int
    filters: tuple[int, ...] = ()
    pools: int = 2
    hidden: tuple[int, ...] = (256, 128)
    activation: ActivationName = "relu"
    dropout: float = 0.0
    batch_norm: bool = False
    depth: int = 1

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS or self.features < 1 or not 1 <= self.depth <= DEEPEST:
            raise ValueError(f"no network can be built of {self}")

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Architecture:
        """What `to_dict` described."""
        return cls(**stored | {name: tuple(map(int, stored[name])) for name in ("filters", "hidden")})

    @property
    def features(self) -> int:
        """Numbers that reach the fully connected layers."""
        side: int = SIDE >> min(self.pools, len(self.filters))
        return side * side * (self.filters[-1] if self.filters else 1)

    def convolutions(self) -> Iterator[tuple[int, int]]:
        """The filters of each convolution, and the side of the square that is pooled after it: 1 for none."""
        for stage, filters in enumerate(self.filters, start=1):
            for place in range(1, 1 + self.depth):
                yield filters, 2 if place == self.depth and stage <= self.pools else 1

    def matrices(self) -> Iterator[tuple[int, int]]:
        """The shapes of all weights, in the order of the layers."""
        channels = 1
        for filters, _ in self.convolutions():
            yield 9 * channels, filters
            channels = filters
        size = self.features
        for hidden in (*self.hidden, self.classes):
            yield size, hidden
            size = hidden

    def __str__(self) -> str:
        """The network in a few words, such as "multilayer perceptron 784-256-128-51, relu"."""
        connected = "-".join(map(str, (*self.hidden, self.classes)))
        if not self.filters:
            return f"multilayer perceptron {self.features}-{connected}, {self.activation}"
        times = f" {self.depth} x" if self.depth > 1 else ""
        filters = "-".join(map(str, self.filters))
        return f"convolutions 3x3 of{times} {filters} filters, fully connected {connected}"


def build(architecture: Architecture, *, seed: int = 0, stream: Stream | None = None) -> Sequential:
    """The network, with initial weights drawn from `seed` and dropout drawn from `stream`.

    Takes images (N, 28, 28, 1), prepared by `preprocess`; returns logits (N, classes).
    """
    a, rng, stream = architecture, np.random.default_rng(seed), stream or Stream(seed)
    shapes = a.matrices()
    layers: dict[str, Layer] = {}
    for place, (filters, pool) in enumerate(a.convolutions(), start=1):
        channels = next(shapes)[0] // 9
        layers[f"conv{place}"] = ConvReLUPool(channels, filters, 3, rng=rng, padding=1, pool=pool)
        if a.batch_norm:
            layers[f"norm{place}"] = BatchNorm(filters)
    layers["flatten"] = Flatten()
    if a.filters and a.dropout:
        layers["flatten_dropout"] = Dropout(a.dropout, stream=stream)
    for place in range(1, 1 + len(a.hidden)):
        before, after = next(shapes)
        layers[f"hidden{place}"] = Linear(before, after, rng=rng, bias=not a.batch_norm)
        if a.batch_norm:  # it shifts by itself, so the layer before needs no bias
            layers[f"hidden{place}_norm"] = BatchNorm(after)
        layers[f"hidden{place}_{a.activation}"] = ACTIVATIONS[a.activation]()
        if a.dropout:
            layers[f"hidden{place}_dropout"] = Dropout(a.dropout, stream=stream)
    # The logits feed a softmax, which is about linear around 0: Glorot's variance keeps the first loss near ln classes.
    layers["output"] = Linear(*next(shapes), rng=rng, init=glorot_normal)
    return Sequential(**layers)


def preprocess(images: Array, normalize: Normalize) -> Array:
    """What the network sees: uint8 (N, 28, 28) or float from 0 to 1, as float32 (N, 28, 28, 1) with the statistics."""
    return normalize(images)[..., None]
