"""Small networks of all kinds, as they are after some training."""

from __future__ import annotations

import itertools

import numpy as np

from core.frozen import freeze
from core.frozen.replay import WORTH_WRITING_DOWN, Replay
from core.layers import (
    GRU,
    BatchNorm,
    Committee,
    Conv2d,
    ConvPool,
    ConvReLUPool,
    Dropout,
    Flatten,
    GlobalAvgPool,
    LastState,
    Layer,
    LeakyReLU,
    Linear,
    ReLU,
    Residual,
    Sequential,
)
from core.random import Stream


def perceptron(rng, stream):
    return Sequential(
        Flatten(), Linear(48, 32, rng=rng), ReLU(), Dropout(0.5, stream=stream), Linear(32, 5, rng=rng, bias=False)
    )


def normed_perceptron(rng, stream):
    return Sequential(
        Flatten(), BatchNorm(48), Linear(48, 32, rng=rng), BatchNorm(32), ReLU(), Linear(32, 5, rng=rng, bias=False)
    )


def convolutional(rng, stream):
    return Sequential(
        ConvReLUPool(3, 16, 3, padding=1, rng=rng), Flatten(), Linear(64, 9, rng=rng), Linear(9, 5, rng=rng)
    )


def residual(rng, stream):
    def normed(inputs, outputs, convolution=Conv2d):
        bias = {"bias": False} if convolution is Conv2d else {}
        layer = convolution(inputs, outputs, 3, padding=1, rng=rng, **bias)
        return Sequential(conv=layer, norm=BatchNorm(outputs), activation=LeakyReLU(0.1))

    body = Sequential(normed(12, 12), normed(12, 12))
    last = Sequential(GlobalAvgPool(), Linear(12, 5, rng=rng))
    return Sequential(normed(3, 8), normed(8, 12, ConvPool), Residual(body, Conv2d(12, 12, 1, rng=rng)), last)


def committee(rng, stream):
    return Committee(perceptron(rng, stream), normed_perceptron(rng, stream))


def recurrent(rng, stream):
    layer = GRU(12, 7, num_layers=2, bidirectional=True, dropout=0.3, stream=stream, rng=rng)
    return Sequential(Steps(), layer, LastState(), Linear(14, 5, rng=rng))


def multi(*sizes, dtype=np.float32, bias=True):
    """Fully connected layers of these sizes, with a ReLU between two of them, behind a Flatten; and three inputs."""
    rng = np.random.default_rng(0)
    layers = [Flatten()]
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [Linear(inputs, outputs, rng=rng, bias=bias, dtype=dtype), ReLU()]
        if bias:
            layers[-2].bias.data[:] = rng.normal(size=outputs)
    network = Sequential(*layers[:-1])
    return network, [rng.standard_normal((1, sizes[0])).astype(dtype) for _ in range(3)]


class Steps(Flatten):
    """(N, 4, 4, 3) -> (N, 4, 12): a line of pixels a step."""

    def forward(self, x, train=False):
        super().forward(x, train)
        return x.reshape(len(x), 4, 12)


BUILDERS = [perceptron, normed_perceptron, convolutional, residual, committee, recurrent]


def trained(build, dtype=np.float64):
    """A network whose biases and statistics are not those that it starts with."""
    rng = np.random.default_rng(0)
    network = build(rng, Stream(0)).to(dtype=dtype)
    for _, layer in network.walk():
        if isinstance(layer, BatchNorm):
            layer.running_mean[:] = rng.normal(size=layer.size)
            layer.running_var[:] = rng.uniform(0.5, 2, layer.size)
            layer.weight.data[:] = rng.normal(size=layer.size)  # some below zero
        for parameter in vars(layer).values():
            if hasattr(parameter, "decay") and not parameter.decay:
                parameter.data[...] += 0.3 * rng.normal(size=parameter.data.shape)
    return network


def images(rows, dtype=np.float64):
    return np.random.default_rng(rows).standard_normal((rows, 4, 4, 3)).astype(dtype)


def distance(ours, expected):
    assert ours.shape == expected.shape
    assert ours.dtype == expected.dtype
    return np.abs(ours - expected).max() / np.abs(expected).max()


def replay_of(network: Layer) -> Replay:
    frozen = freeze(network)
    return frozen if isinstance(frozen, Replay) else Replay(frozen)


def replayed(network: Layer, x: np.ndarray) -> Replay:
    """The network as it is when the calls for inputs like `x` have been written down."""
    replay = replay_of(network)
    for _ in range(WORTH_WRITING_DOWN):
        replay.forward(x)
    return replay
