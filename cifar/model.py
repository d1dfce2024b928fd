"""The four networks of this project, and the one definition of what they see and what they answer.

Training, test and demo all build the network and prepare its input here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from cifar import networks
from cifar.networks import ActivationName
from core.backend import Array
from core.data.normalize import Normalize
from core.layers import Sequential
from core.random import Stream

ModelName = Literal["mlp", "cnn", "resnet", "fast"]
BUILDERS: dict[str, Callable[..., Sequential]] = {
    "mlp": networks.mlp,
    "cnn": networks.cnn,
    "resnet": networks.resnet,
    "fast": networks.fast,
}


@dataclass(frozen=True)
class Architecture:
    """What must be known to build the network; it is saved with the weights."""

    model: ModelName
    """Which of the four."""
    shape: tuple[int, int, int] = (32, 32, 3)
    """Height, width and channels of the images."""
    widths: tuple[int, ...] = ()
    """Channels of the convolutions, see `cifar/networks.py`."""
    hidden: tuple[int, ...] = ()
    """Sizes of the fully connected layers before the last one."""
    activation: ActivationName = "relu"
    """The bend after each layer."""
    dropout: float = 0.0
    """Share of what enters the last layers that is dropped in training."""
    batch_norm: bool = False
    """Normalise over the batch after each convolution; resnet and fast always do."""
    classes: int = 10
    """How many answers there are."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Architecture:
        """What `to_dict` described."""
        tuples = {name: tuple(stored[name]) for name in ("shape", "widths", "hidden")}
        return cls(**(stored | tuples))

    def matrices(self) -> list[tuple[int, int]]:
        """The shapes of all weights that are matrices, convolutions first."""
        H, W, C = self.shape
        shapes: list[tuple[int, int]] = []
        if self.model == "mlp":
            return list(pairwise((H * W * C, *self.hidden, self.classes)))
        for before, after in pairwise((C, *self.widths)):
            shapes.append((9 * before, after))
            within = {"cnn": 0, "resnet": 2, "fast": 1}[self.model]
            if len(shapes) > 1:  # the first layer stands alone
                shapes += [(9 * after, after)] * within
        size = networks.features_of_cnn(self) if self.model == "cnn" else self.widths[-1]
        return [*shapes, *pairwise((size, *self.hidden, self.classes))]

    def __str__(self) -> str:
        """The network in a few words, such as "convolutions of 32-64-128 filters, fully connected 512-10"."""
        sizes = "-".join(map(str, (*self.hidden, self.classes)))
        widths = "-".join(map(str, self.widths))
        if self.model == "mlp":
            return f"multilayer perceptron, {int(np.prod(self.shape))}-{sizes}"
        if self.model == "cnn":
            with_norm = " with BatchNorm" if self.batch_norm else ""
            return f"convolutions of {widths} filters{with_norm}, fully connected {sizes}"
        return {"resnet": f"residual network of {widths} filters", "fast": f"fast network of {widths} filters"}[
            self.model
        ]


def build(architecture: Architecture, *, seed: int = 0, stream: Stream | None = None) -> Sequential:
    """The network, with initial weights drawn from `seed` and dropout drawn from `stream`.

    Takes images (N, H, W, C), prepared by `preprocess`; returns logits (N, classes). Its two parts are called
    `features` and `head`: but in the multilayer perceptron, there are still pictures (N, h, w, K) before the head.
    """
    return BUILDERS[architecture.model](architecture, np.random.default_rng(seed), stream or Stream(seed))


def preprocess(images: Array, normalize: Normalize) -> Array:
    """What the network sees: uint8 (N, H, W[, C]) or float from 0 to 1, as float32 (N, H, W, C) with the statistics."""
    return normalize(as_colour(images))


def as_colour(images: Array) -> Array:
    """Images with an axis of channels: (N, H, W) as (N, H, W, 1)."""
    return images[..., None] if images.ndim == 3 else images
