"""Is a hand-derived backward right? Compare it with central differences.

    python -m core.gradcheck

prints a table of all layers and losses. In your own code, `gradcheck(layer, x, rng)` returns a layer's worst error.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from core import layers, losses
from core.backend import Array
from core.checks import expect_whole
from core.cli import guarded
from core.layers import Layer
from core.random import Stream

STEP = 1e-5  # the error of a central difference, step^2 + rounding / step, is smallest near here in float64
TOLERANCE = 1e-6
SMALLEST = 1e-4  # gradients below count as this large: that of a bias before a BatchNorm is zero but for rounding
SAMPLES = 24  # entries of each array that are perturbed


def gradcheck(layer: Layer, x: Array, rng: np.random.Generator, samples: int = SAMPLES) -> float:
    """The worst relative error of the gradients of a layer, with respect to its input and to every parameter.

    The loss is a random linear function of the output, so that no symmetry can hide a mistake. `x` must be float64,
    like the layer (`layer.to(dtype=np.float64)`), and away from kinks such as 0 for a ReLU. Of each array up to
    `samples` entries are checked. Parameters' gradients have to be added to what is there, and are zero afterwards.
    Layers that keep running statistics change them, as in training. A gradient with a NaN or infinity anywhere has an
    error of NaN, which is below no limit; one of another shape raises ValueError.
    """
    if x.dtype != np.float64:
        raise TypeError(f"gradcheck expected a float64 input, got {x.dtype}")
    expect_whole("gradcheck", samples=samples)
    y = layer.forward(x, train=True)
    weights = rng.standard_normal(y.shape)
    parameters = layer.parameters()
    before = [rng.standard_normal(parameter.data.shape) for parameter in parameters]
    for parameter, gradient in zip(parameters, before, strict=True):
        parameter.grad[...] = gradient  # to which backward has to add
    dx = layer.backward(weights)
    checked = [] if dx is None else [(x, np.array(dx))]
    checked += [(one.data, one.grad - gradient) for one, gradient in zip(parameters, before, strict=True)]
    for parameter in parameters:
        parameter.zero_grad()

    def loss() -> float:
        return float((layer.forward(x, train=True) * weights).sum())

    return worst(relative_error(gradient, array, loss, rng, samples) for array, gradient in checked)


def gradcheck_loss(loss: Callable[[Array], tuple[Any, Array]], x: Array, rng: np.random.Generator) -> float:
    """The worst relative error of the gradient that `loss(x) -> (value, gradient)` returns."""
    _, gradient = loss(x)
    return relative_error(gradient.copy(), x, lambda: float(loss(x)[0]), rng, SAMPLES)


def relative_error(
    gradient: Array, array: Array, loss: Callable[[], float], rng: np.random.Generator, samples: int = SAMPLES
) -> float:
    """|analytic - numeric| / (|analytic| + |numeric|), over sampled entries of `array`, which is perturbed in place."""
    if gradient.shape != array.shape:
        raise ValueError(f"gradcheck expected a gradient of shape {array.shape}, got {gradient.shape}")
    if not np.isfinite(gradient).all():
        return math.nan
    flat, analytic = array.reshape(-1), gradient.reshape(-1)
    if not np.shares_memory(flat, array):
        raise ValueError("gradcheck expected a C-contiguous array, since it perturbs the entries in place")
    places = rng.choice(flat.size, size=min(samples, flat.size), replace=False)
    numeric = np.array([_slope(flat, place, loss) for place in places])
    scale = np.linalg.norm(analytic[places]) + np.linalg.norm(numeric)
    return float(np.linalg.norm(analytic[places] - numeric) / max(scale, SMALLEST))


def worst(errors: Iterable[float]) -> float:
    """The largest error; NaN if one is NaN, which Python's max() may pass over."""
    return float(np.max(list(errors)))


def _slope(flat: Array, place: int, loss: Callable[[], float]) -> float:
    original = flat[place]
    flat[place] = original + STEP
    above = loss()
    flat[place] = original - STEP
    below = loss()
    flat[place] = original
    return (above - below) / (2 * STEP)


def away_from_zero(x: Array, distance: float = 0.05) -> Array:
    """`x` with every element at least `distance` from 0, where ReLU and its kin have a kink."""
    return np.where(np.abs(x) < distance, np.copysign(distance, x) + x, x)


Cases = Iterator[tuple[str, Layer, Array]]


def layer_cases(rng: np.random.Generator) -> Cases:
    """A case for every layer: its name, a float64 layer, and an input."""
    yield from plain_cases(rng)
    yield from image_cases(rng)
    yield from sequence_cases(rng)


def plain_cases(rng: np.random.Generator) -> Cases:
    """The layers that care only for the last axis."""
    rows, images = away_from_zero(rng.standard_normal((6, 5))), away_from_zero(rng.standard_normal((3, 4, 4, 5)))

    def linear(inputs: int, outputs: int, bias: bool = True) -> layers.Linear:
        return layers.Linear(inputs, outputs, rng=rng, bias=bias, dtype=np.float64)

    yield "Linear", linear(5, 4), rows
    yield "Linear, no bias", linear(5, 4, bias=False), images
    yield "ReLU", layers.ReLU(), rows
    yield "LeakyReLU", layers.LeakyReLU(0.01), rows
    yield "GELU", layers.GELU(), rows
    yield "GELU, tanh", layers.GELU("tanh"), rows
    yield "SELU", layers.SELU(), rows
    yield "Softplus", layers.Softplus(), rows
    yield "Softplus, beta 2, threshold 1", layers.Softplus(2.0, 1.0), away_from_zero(rows - 0.5) + 0.5
    yield "Sigmoid", layers.Sigmoid(), rows
    yield "Tanh", layers.Tanh(), rows
    yield "Dropout", layers.Dropout(0.4, stream=Stream(3)), rows
    yield "BatchNorm, rows", layers.BatchNorm(5, dtype=np.float64), rows
    yield "BatchNorm, images", layers.BatchNorm(5, dtype=np.float64), images
    yield "LayerNorm", layers.LayerNorm(5, dtype=np.float64), images
    yield "Flatten", layers.Flatten(), images
    yield "Residual", layers.Residual(layers.Sequential(linear(5, 7), layers.Tanh(), linear(7, 5))), rows
    yield "Residual, shortcut", layers.Residual(linear(5, 3), linear(5, 3)), rows
    yield "Committee", layers.Committee(linear(5, 3), linear(5, 3)), rows
    together = layers.Committee(linear(5, 3), linear(5, 3))
    together.apart = False
    yield "Committee, answering together", together, rows
    norm = layers.BatchNorm(6, dtype=np.float64)
    network = layers.Sequential(layers.Flatten(), linear(80, 6, bias=False), norm, layers.GELU(), linear(6, 3))
    yield "a whole network", network, images


def image_cases(rng: np.random.Generator) -> Cases:
    """Convolutions and pooling."""
    images, double = rng.standard_normal((3, 7, 6, 4)), np.float64
    yield "Conv2d", layers.Conv2d(4, 5, 3, rng=rng, padding=1, dtype=double), images
    grouped = layers.Conv2d(4, 6, (3, 2), rng=rng, stride=2, dilation=(1, 2), groups=2, dtype=double)
    yield "Conv2d, strides and groups", grouped, images
    yield "Conv2d, strides and holes", layers.Conv2d(4, 5, 2, rng=rng, stride=(2, 1), dilation=2, dtype=double), images
    yield "Conv2d, points", layers.Conv2d(4, 5, 1, rng=rng, dtype=double), images
    yield "ConvReLUPool", layers.ConvReLUPool(4, 5, 3, rng=rng, padding=1, dtype=double), images
    yield "ConvReLUPool, no pool", layers.ConvReLUPool(4, 5, 3, rng=rng, pool=1, dtype=double), images
    yield "ConvPool", layers.ConvPool(4, 5, 3, rng=rng, padding=1, dtype=double), images
    yield "MaxPool2d", layers.MaxPool2d(3, 2, padding=1), images
    yield "AvgPool2d", layers.AvgPool2d(3, 2, padding=1), images
    yield "GlobalAvgPool", layers.GlobalAvgPool(), images


def sequence_cases(rng: np.random.Generator) -> Cases:
    """Recurrent layers, each with a way to make one vector of a sequence."""
    sequences, double = rng.standard_normal((4, 5, 3)), np.float64
    yield "RNN", layers.Sequential(layers.RNN(3, 4, rng=rng, dtype=double), layers.LastState()), sequences
    gru = layers.GRU(3, 4, rng=rng, bidirectional=True, dtype=double)
    yield "GRU, both directions", layers.Sequential(gru, layers.MeanState()), sequences
    steps = layers.EachStep(layers.Linear(4, 2, rng=rng, dtype=double))
    yield "EachStep", layers.Sequential(layers.RNN(3, 4, rng=rng, dtype=double), steps, layers.MeanState()), sequences
    lstm = layers.LSTM(3, 4, rng=rng, num_layers=2, bidirectional=True, dropout=0.3, stream=Stream(2), dtype=double)
    yield "LSTM, two layers, dropout", layers.Sequential(lstm, layers.MeanState()), sequences

    def recurrent(inputs: int) -> layers.Layer:
        return layers.GRU(inputs, 2, rng=rng, bidirectional=True, dtype=double)

    residual = layers.Sequential(recurrent(3), layers.Residual(recurrent(4)), layers.LastState())
    yield "Residual, of sequences", residual, sequences
    committee = layers.Committee(layers.LastState(), layers.MeanState())
    yield "Committee, of sequences", layers.Sequential(recurrent(3), committee), sequences


def loss_cases(rng: np.random.Generator) -> Iterator[tuple[str, Callable[[Array], tuple[Any, Array]], Array]]:
    """A case for every loss: its name, the loss as a function of its first argument, and that argument."""
    logits, labels = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    yield "softmax cross-entropy", lambda z: losses.softmax_cross_entropy(z, labels), logits
    smoothed = "softmax cross-entropy, smoothing 0.1, temperature 2"
    yield smoothed, lambda z: losses.softmax_cross_entropy(z, labels, 0.1, 2.0), logits
    weights = np.array([0.5, 1.0, 2.0, 3.0])
    weighted = "softmax cross-entropy, smoothing 0.1, class weights"
    yield weighted, lambda z: losses.softmax_cross_entropy(z, labels, 0.1, 1.0, weights), logits
    yield "mean squared error", lambda z: losses.mean_squared_error(z, np.eye(4)[labels]), logits
    yield "focal, gamma 2", lambda z: losses.focal_loss(z, labels, 2.0), logits
    yield "focal, gamma 0.5", lambda z: losses.focal_loss(z, labels, 0.5), logits


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table; 0 if every error is below the tolerance, else 1."""
    argparse.ArgumentParser(description="Check the gradients of all layers and losses.").parse_args(arguments)
    rng = np.random.default_rng(0)
    errors = [(name, gradcheck(layer, x, rng)) for name, layer, x in layer_cases(rng)]
    errors += [(name, gradcheck_loss(loss, x, rng)) for name, loss, x in loss_cases(rng)]
    print(f"{'float64, central differences':<52}{'relative error':>16}")
    for name, error in errors:
        print(f"{name:<52}{error:>16.1e}{'' if error < TOLERANCE else '   WRONG'}")
    largest = worst(error for _, error in errors)
    print(f"{'worst':<52}{largest:>16.1e}")
    return 0 if largest < TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
