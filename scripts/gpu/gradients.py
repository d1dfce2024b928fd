"""Are a layer's gradients right on a GPU? For `gpu_check.py` and the tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.backend import to_device
from core.layers import Layer

STEP = 1e-5  # of a central difference in float64
SMALLEST = 0.1  # gradients below count as this large


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
