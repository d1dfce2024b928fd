"""All layers in small, for `gpu_check.py` and the tests: are their gradients right on a GPU?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from core import gradcheck, layers
from core.backend import to_device
from core.layers import Layer
from core.random import Stream

STEP = 1e-5  # of a central difference in float64
SMALLEST = 0.1  # gradients below count as this large


def layer_cases() -> Iterator[tuple[str, Layer, Any]]:
    """Name, float64 layer and input: those of core.gradcheck, then convolutions, pooling and recurrent layers."""
    yield from gradcheck.layer_cases(np.random.default_rng(0))
    rng, double = np.random.default_rng(1), {"dtype": np.float64}
    images, sequences = rng.standard_normal((3, 7, 6, 4)), rng.standard_normal((4, 5, 3))
    yield "Conv2d", layers.Conv2d(4, 5, 3, rng=rng, padding=1, **double), images
    strides = layers.Conv2d(4, 6, (3, 2), rng=rng, stride=2, dilation=(1, 2), groups=2, **double)
    yield "Conv2d, strides and groups", strides, images
    yield "Conv2d, strides and holes", layers.Conv2d(4, 5, 2, rng=rng, stride=(2, 1), dilation=2, **double), images
    yield "Conv2d, points", layers.Conv2d(4, 5, 1, rng=rng, **double), images
    yield "ConvReLUPool", layers.ConvReLUPool(4, 5, 3, rng=rng, padding=1, **double), images
    yield "ConvReLUPool, no pool", layers.ConvReLUPool(4, 5, 3, rng=rng, pool=1, **double), images
    yield "ConvPool", layers.ConvPool(4, 5, 3, rng=rng, padding=1, **double), images
    yield "MaxPool2d", layers.MaxPool2d(3, 2, padding=1), images
    yield "AvgPool2d", layers.AvgPool2d(3, 2, padding=1), images
    yield "GlobalAvgPool", layers.GlobalAvgPool(), images
    yield "RNN", layers.Sequential(layers.RNN(3, 4, rng=rng, **double), layers.LastState()), sequences
    gru = layers.GRU(3, 4, rng=rng, bidirectional=True, **double)
    yield "GRU", layers.Sequential(gru, layers.MeanState()), sequences
    lstm = layers.LSTM(3, 4, rng=rng, num_layers=2, bidirectional=True, dropout=0.3, stream=Stream(2), **double)
    yield "LSTM", layers.Sequential(lstm, layers.MeanState()), sequences


def gradient_error(layer: Layer, x: Any, samples: int = 4) -> float:
    """The worst difference between a gradient on the GPU and a central difference there, relative to the larger."""
    rng = np.random.default_rng(1)
    there, given = layer.replica().to("gpu"), to_device(x, "gpu")
    weights = to_device(rng.standard_normal(there.forward(given, train=True).shape), "gpu")

    def loss() -> float:
        return float((there.forward(given, train=True) * weights).sum())

    loss()
    for parameter in there.parameters():
        parameter.zero_grad()
    dx = there.backward(weights)
    assert dx is not None
    arrays = [(given, dx.copy()), *((parameter.data, parameter.grad.copy()) for parameter in there.parameters())]
    worst = 0.0
    for array, gradient in arrays:
        for place in rng.choice(array.size, min(samples, array.size), replace=False).tolist():
            where = tuple(int(i) for i in np.unravel_index(place, array.shape))
            original, sums = float(array[where]), []
            for value in (original + STEP, original - STEP):
                array[where] = value
                sums.append(loss())
            array[where] = original
            numeric, analytic = (sums[0] - sums[1]) / (2 * STEP), float(gradient[where])
            worst = max(worst, abs(numeric - analytic) / max(abs(numeric), abs(analytic), SMALLEST))
    return worst
