"""The network of this project, and the one definition of what it sees and what it answers.

Training, test and demo all build the network and prepare its input here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np

from core.backend import Array
from core.data.normalize import Normalize
from core.initializers import glorot_normal, he_normal
from core.layers import (
    GELU,
    SELU,
    BatchNorm,
    Committee,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    Linear,
    ReLU,
    Sequential,
    Sigmoid,
    Softplus,
    Tanh,
)
from core.random import Stream

DataSet = Literal["mnist", "fashion_mnist"]
SIDE = 28  # pixels of a picture
PIXELS = SIDE * SIDE

ActivationName = Literal["relu", "leaky_relu", "gelu", "selu", "softplus", "sigmoid", "tanh"]
ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "gelu": lambda: GELU("tanh"),
    "selu": SELU,
    "softplus": Softplus,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
}
assert set(ACTIVATIONS) == set(get_args(ActivationName))


@dataclass(frozen=True)
class Architecture:
    """What must be known to build the network; it is saved with the weights."""

    hidden: tuple[int, ...] = (256, 128)
    """Sizes of the hidden layers."""
    activation: ActivationName = "relu"
    """The function between the layers."""
    dropout: float = 0.0
    """Share of each hidden layer's outputs that is dropped in training."""
    input_dropout: float = 0.0
    """Share of the pixels that is dropped in training."""
    batch_norm: bool = False
    """Normalise each hidden layer over the batch, before its activation."""
    sigmoid_output: bool = False
    """End in a sigmoid for each class, as the mean squared error wants, instead of in logits for a softmax."""
    classes: int = 10
    """Number of classes."""
    members: int = 1
    """Number of such networks, which learn apart and answer together."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self) | {"hidden": list(self.hidden)}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Architecture:
        """What `to_dict` described."""
        return cls(**(stored | {"hidden": tuple(stored["hidden"])}))

    def matrices(self) -> list[tuple[int, int]]:
        """The shapes of all weights, in their order."""
        return list(pairwise((PIXELS, *self.hidden, self.classes))) * self.members

    def __str__(self) -> str:
        """The network in a few words, such as "multilayer perceptron 784-256-128-10, relu"."""
        sizes = "-".join(map(str, (PIXELS, *self.hidden, self.classes)))
        committee = f"committee of {self.members}: " if self.members > 1 else ""
        return f"{committee}multilayer perceptron {sizes}, {self.activation}"


def build(architecture: Architecture, *, seed: int = 0, stream: Stream | None = None) -> Sequential:
    """The network, with initial weights drawn from `seed` and dropout drawn from `stream`.

    Takes images (N, 28, 28) or (N, 784), prepared by `preprocess`; returns logits (N, classes), or scores between 0 and
    1 with `sigmoid_output`. In training a committee returns (members * N, classes), see `core.layers.Committee`.
    """
    rng, stream = np.random.default_rng(seed), stream or Stream(seed)
    members = [_layers(architecture, rng, stream) for _ in range(architecture.members)]
    if len(members) == 1:
        return Sequential(Flatten(), *members[0])
    return Sequential(Flatten(), Committee(*(Sequential(*layers) for layers in members)))


def _layers(architecture: Architecture, rng: np.random.Generator, stream: Stream) -> list[Layer]:
    """The layers of one network, for flat images."""
    # He's variance suits functions that pass half of their input on, Glorot's those that are linear around 0.
    init = glorot_normal if architecture.activation in ("sigmoid", "tanh") else he_normal
    layers: list[Layer] = []
    if architecture.input_dropout:
        layers.append(Dropout(architecture.input_dropout, stream=stream))
    size = PIXELS
    for hidden in architecture.hidden:
        layers.append(Linear(size, hidden, rng=rng, bias=not architecture.batch_norm, init=init))
        if architecture.batch_norm:  # it shifts by itself, so the layer before needs no bias
            layers.append(BatchNorm(hidden))
        layers.append(ACTIVATIONS[architecture.activation]())
        if architecture.dropout:
            layers.append(Dropout(architecture.dropout, stream=stream))
        size = hidden
    layers.append(Linear(size, architecture.classes, rng=rng, init=init))
    if architecture.sigmoid_output:
        layers.append(Sigmoid())
    return layers


def preprocess(images: Array, normalize: Normalize) -> Array:
    """What the network sees: uint8 (N, 28, 28) or float from 0 to 1, as float32 with the training data's statistics."""
    return normalize(images)
