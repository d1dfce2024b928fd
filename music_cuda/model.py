"""The network of this project, and the one definition of what it sees.

Training, test, demo and the terminal tool all build the network and prepare its input here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np

from core.backend import Array, array_module, to_cpu, to_device
from core.data.normalize import Normalize
from core.layers import BatchNorm, Committee, Dropout, Layer, Linear, ReLU, Sequential
from core.layers.base import expect_last_axis
from core.losses import softmax
from core.predict import predict
from core.random import Stream
from music_cuda.table import FEATURES, GENRES

KNOTS = 201


@dataclass(frozen=True)
class Architecture:
    """What must be known to build the network; it is saved with the weights."""

    hidden: tuple[int, ...] = (32, 16)
    """Sizes of the hidden layers."""
    normal_scores: bool = False
    """Begin by giving each feature the distribution of a normal one, see NormalScores."""
    batch_norm: bool = False
    """Normalise each hidden layer over the batch, before its activation."""
    dropout: float = 0.0
    """Share of each hidden layer's outputs that is dropped in training."""
    input_dropout: float = 0.0
    """Share of the features that is dropped in training."""
    members: int = 1
    """Number of such networks, which learn apart and answer together."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self) | {"hidden": list(self.hidden)}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Architecture:
        """What `to_dict` described."""
        return cls(**(stored | {"hidden": tuple(stored["hidden"])}))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers that go from layer to layer: features, hidden units, genres."""
        return (len(FEATURES), *self.hidden, len(GENRES))

    def matrices(self) -> list[tuple[int, int]]:
        """The shapes of all matrices of the state."""
        scores = [(len(FEATURES), KNOTS)] if self.normal_scores else []
        return scores + list(pairwise(self.sizes)) * self.members

    def __str__(self) -> str:
        """The network in a few words, such as "perceptron 57-32-16-10"."""
        name = f"committee of {self.members} perceptrons" if self.members > 1 else "perceptron"
        return f"{name} {'-'.join(map(str, self.sizes))}"


class NormalScores(Layer):
    """Gives each feature the standard normal distribution that only its ranks decide: (N, D) -> (N, D).

    A feature's value goes to its share p of smaller training values, and that to the normal quantile of p (van der
    Waerden 1952). Variances and energies, which spread over powers of ten with a few extreme songs, become as easy to
    learn from as the others, and no value of a strange song is extreme any more. `knots` (D, K) are quantiles of the
    training data, set by `fit`; between them the function is linear, beyond them constant. The gradient is the slope of
    the line that x lies on, at a knot that of the line on its right.
    """

    buffer_names = ("knots",)

    def __init__(self, features: int, knots: int = KNOTS) -> None:
        super().__init__()
        self.features = features
        self.knots = np.zeros((features, knots), np.float32)  # (D, K)
        self.shares = (np.arange(knots) + 0.5) / knots  # (K,)
        self.scores = np.array([NormalDist().inv_cdf(share) for share in self.shares], np.float32)  # (K,)

    def fit(self, x: Array) -> None:
        """Take the quantiles of the training data x (N, D)."""
        self.knots[...] = np.quantile(x, self.shares, axis=0).T

    def forward(self, x: Array, train: bool = False) -> Array:
        expect_last_axis(self, x, self.features)
        xp = array_module(x)
        scores = xp.asarray(self.scores)
        y = self.workspace("y", x.shape, like=x)
        for column, knots in enumerate(self.knots):
            # Where many songs share a value, knots coincide: from below it is the first of them, from above the last.
            values = xp.ascontiguousarray(x[:, column])  # CuPy interpolates no others
            below = xp.interp(values, knots, scores)
            above = xp.interp(-values, -knots[::-1], -scores[::-1])
            y[:, column] = (below - above) / 2
        self.remember(train, x, y=y)
        return y

    def backward(self, dy: Array) -> Array | None:
        x: Array = self.recall(dy)
        if not self.input_grad:
            return None
        xp = array_module(x)
        rises = xp.diff(xp.asarray(self.scores, x.dtype))  # (K - 1,)
        dx = self.workspace("dx", x.shape, like=x)
        for column, knots in enumerate(self.knots):
            widths = xp.diff(knots)
            slopes = xp.zeros(len(knots) + 1, x.dtype)  # the first one before all knots, the last one behind them
            slopes[1:-1] = rises / xp.where(widths > 0, widths, 1)  # no x lies between knots that coincide
            dx[:, column] = dy[:, column] * slopes[xp.searchsorted(knots, x[:, column], side="right")]
        return dx


def build(architecture: Architecture, *, seed: int = 0, stream: Stream | None = None) -> Sequential:
    """The network, with He initial weights drawn from `seed` and dropout drawn from `stream`.

    Takes features (N, 57), prepared by `preprocess`; returns logits (N, 10). In training a committee returns
    (members * N, 10), see `core.layers.Committee`. NormalScores must be fitted before training, see `fit_scores`.
    """
    rng, stream = np.random.default_rng(seed), stream or Stream(seed)
    members = [_layers(architecture, rng, stream) for _ in range(architecture.members)]
    network = Committee(*(Sequential(*layers) for layers in members))
    first = [NormalScores(len(FEATURES))] if architecture.normal_scores else []
    return Sequential(*first, *(members[0] if len(members) == 1 else [network]))


def _layers(architecture: Architecture, rng: np.random.Generator, stream: Stream) -> list[Layer]:
    """The layers of one network."""
    layers: list[Layer] = []
    if architecture.input_dropout:
        layers.append(Dropout(architecture.input_dropout, stream=stream))
    size = len(FEATURES)
    for hidden in architecture.hidden:
        layers.append(Linear(size, hidden, rng=rng, bias=not architecture.batch_norm))
        if architecture.batch_norm:  # it shifts by itself, so the layer before needs no bias
            layers.append(BatchNorm(hidden))
        layers.append(ReLU())
        if architecture.dropout:
            layers.append(Dropout(architecture.dropout, stream=stream))
        size = hidden
    layers.append(Linear(size, len(GENRES), rng=rng))
    return layers


def fit_scores(network: Sequential, x: Array) -> None:
    """Set the quantiles of the network's NormalScores, if it has any, from prepared training songs (N, 57)."""
    for layer in network.layers.values():
        if isinstance(layer, NormalScores):
            layer.fit(x)


def preprocess(features: Array, normalize: Normalize) -> Array:
    """What the network sees of features (N, 57): z-scores, float32, with the training songs' mean and deviation."""
    return normalize(np.asarray(features, np.float32))


def probabilities_of(network: Layer, normalize: Normalize, features: Array) -> Array:
    """What the network answers to features (N, 57), wherever it is: probabilities float32 (N, 10), on the CPU."""
    x = to_device(preprocess(features, normalize), network.device)
    return np.asarray(softmax(to_cpu(predict(network, x))))
