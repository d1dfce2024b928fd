"""The four networks, layer by layer. Each is a `Sequential` of two parts, `features` and `head`.

C >- w means a 3 x 3 convolution from C to w channels with one pixel of padding, /2 a max-pooling of 2 x 2.

    mlp      3072 - hidden - ... - 10
    cnn      C >- w1 /2 >- w2 /2 >- w3, hidden, 10
    resnet   C >- w1, then for each further width  >- w /2 and a block x + (>- w >- w); mean over all pixels, 10
    fast     C >- w1 by whitening, then for each further width  >- w /2 >- w; maximum over all pixels, 10
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import DTypeLike

from cifar.whitening import Whitening
from core.backend import Array
from core.initializers import glorot_normal, he_normal, uniform
from core.layers import (
    GELU,
    BatchNorm,
    Conv2d,
    ConvPool,
    ConvReLUPool,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
)
from core.random import Stream

if TYPE_CHECKING:
    from cifar.model import Architecture

ActivationName = Literal["relu", "leaky_relu", "gelu"]
POOLS_OF_CNN = 2  # its first two convolutions are followed by one
FAST_MOMENTUM = 0.4  # of the running statistics: few and large batches, so the latest ones count


def mlp(architecture: Architecture, rng: np.random.Generator, stream: Stream) -> Sequential:
    """Fully connected layers, each with its activation and dropout."""
    return Sequential(features=Flatten(), head=_connected(architecture, int(np.prod(architecture.shape)), rng, stream))


def cnn(architecture: Architecture, rng: np.random.Generator, stream: Stream) -> Sequential:
    """Three convolutions and two fully connected layers."""
    features: dict[str, Layer] = {}
    channels = architecture.shape[2]
    for place, width in enumerate(architecture.widths, start=1):
        pool = 2 if place <= POOLS_OF_CNN else 1
        if architecture.activation == "relu" and not architecture.batch_norm:  # in one pass over the images
            features[f"conv{place}"] = ConvReLUPool(channels, width, 3, rng=rng, padding=1, pool=pool)
        else:
            normed = architecture.batch_norm
            if normed and pool > 1:  # pooled first, because then the rest has a quarter of the work
                features[f"conv{place}"] = ConvPool(channels, width, 3, rng=rng, padding=1)
            else:
                features[f"conv{place}"] = Conv2d(channels, width, 3, rng=rng, padding=1, bias=not normed)
            if normed:
                features[f"norm{place}"] = BatchNorm(width)
            features[f"activation{place}"] = _activation(architecture)
            if pool > 1 and not normed:
                features[f"pool{place}"] = MaxPool2d(pool)
        channels = width
    return Sequential(
        features=Sequential(**features), head=_connected(architecture, features_of_cnn(architecture), rng, stream)
    )


def features_of_cnn(architecture: Architecture) -> int:
    """How many numbers the convolutions of `cnn` make of an image: what its first fully connected layer sees."""
    H, W, _ = architecture.shape
    shrunk = 2 ** min(POOLS_OF_CNN, len(architecture.widths))
    return (H // shrunk) * (W // shrunk) * architecture.widths[-1]


def resnet(architecture: Architecture, rng: np.random.Generator, stream: Stream) -> Sequential:
    """A stage for each width after the first: halve the image, then a residual block."""
    first, *widths = architecture.widths
    features: dict[str, Layer] = {"stem": _normed(architecture, architecture.shape[2], first, rng)}
    channels = first
    for place, width in enumerate(widths, start=1):
        features[f"down{place}"] = _normed(architecture, channels, width, rng, pool=True)
        body = Sequential(_normed(architecture, width, width, rng), _normed(architecture, width, width, rng))
        features[f"block{place}"] = Residual(body)
        channels = width
    head = Sequential(pool=GlobalAvgPool(), **_connected(architecture, channels, rng, stream).layers)
    return Sequential(features=Sequential(**features), head=head)


def fast(architecture: Architecture, rng: np.random.Generator, stream: Stream) -> Sequential:
    """Jordan's network for speed (arXiv:2404.00498): few layers, of which the first is computed from the data."""
    first, *widths = architecture.widths
    features: dict[str, Layer] = {
        "whitening": Whitening(architecture.shape[2], first),
        "activation": _activation(architecture),
    }
    channels = first
    for place, width in enumerate(widths, start=1):
        features[f"down{place}"] = _normed(architecture, channels, width, rng, pool=True, start_as_identity=True)
        features[f"conv{place}"] = _normed(architecture, width, width, rng, start_as_identity=True)
        channels = width
    side = architecture.shape[0] // 2 ** len(widths)
    output = Linear(channels, architecture.classes, rng=rng, bias=False, init=_small)
    head = Sequential(pool=MaxPool2d(side), flatten=Flatten(), output=output)
    return Sequential(features=Sequential(**features), head=head)


def _connected(architecture: Architecture, size: int, rng: np.random.Generator, stream: Stream) -> Sequential:
    """From (N, ...) of `size` values to the logits; dropout before all layers but the first of several."""
    layers: dict[str, Layer] = {"flatten": Flatten()}
    for place, hidden in enumerate(architecture.hidden, start=1):
        layers[f"hidden{place}"] = Linear(size, hidden, rng=rng)
        layers[f"activation{place}"] = _activation(architecture)
        if architecture.dropout:
            layers[f"dropout{place}"] = Dropout(architecture.dropout, stream=stream)
        size = hidden
    if architecture.dropout and not architecture.hidden:
        layers["dropout"] = Dropout(architecture.dropout, stream=stream)
    # The logits feed a softmax, which is about linear around 0: Glorot's variance starts the loss near ln 10.
    layers["output"] = Linear(size, architecture.classes, rng=rng, init=glorot_normal)
    return Sequential(**layers)


def _normed(
    architecture: Architecture,
    channels: int,
    width: int,
    rng: np.random.Generator,
    pool: bool = False,
    start_as_identity: bool = False,
) -> Sequential:
    """Convolution, pooling if wanted, BatchNorm, activation. The norm shifts by itself, so there is no bias."""
    init = identity_first if start_as_identity else he_normal
    conv = (
        ConvPool(channels, width, 3, rng=rng, padding=1, init=init)
        if pool
        else Conv2d(channels, width, 3, rng=rng, padding=1, bias=False, init=init)
    )
    norm = BatchNorm(width, momentum=FAST_MOMENTUM) if architecture.model == "fast" else BatchNorm(width)
    return Sequential(conv=conv, norm=norm, activation=_activation(architecture))


def _activation(architecture: Architecture) -> Layer:
    if architecture.activation not in ("relu", "leaky_relu", "gelu"):
        raise ValueError(f"there is no activation {architecture.activation!r}")
    if architecture.activation == "gelu":
        return GELU("tanh")
    return LeakyReLU(0.01) if architecture.activation == "leaky_relu" else ReLU()


def identity_first(
    rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int, dtype: DTypeLike = np.float32
) -> Array:
    """Kernels (9 C, K) of which the first C just pass on their channel; the others uniform, variance 1 / (3 fan_in).

    So that at the start what is seen reaches the last layer (Jordan, arXiv:2404.00498, section 3.2).
    """
    limit = fan_in**-0.5
    weight = uniform(rng, shape, limit, np.float64)
    channels = shape[0] // 9
    passed = min(channels, shape[1])
    weight[:, :passed] = 0
    weight[4 * channels + np.arange(passed), np.arange(passed)] = 1  # place 4 of 9 is the middle
    return weight.astype(dtype)


def _small(
    rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int, dtype: DTypeLike = np.float32
) -> Array:
    """Normal with deviation 1 / fan_in: the first logits are small, whatever the number of channels."""
    return (rng.standard_normal(shape) / fan_in).astype(dtype)
