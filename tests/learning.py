"""Networks that learn in a second or two, for the tests that ask a demo what somebody drew."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from core.backend import Array
from core.layers import Layer
from core.losses import softmax_cross_entropy
from core.optim import Adam


def learn(
    network: Layer, inputs: Callable[[Array], Array], labels: Array, steps: int, lr: float = 3e-3, batch: int = 64
) -> Layer:
    """Train the network with Adam on random batches, `inputs` of rows; returns it."""
    rng, optimizer = np.random.default_rng(0), Adam(network.parameters())
    for step in range(steps):
        rows = rng.integers(len(labels), size=batch)
        _, dlogits = softmax_cross_entropy(network.forward(inputs(rows), train=True), labels[rows])
        network.backward(dlogits)
        optimizer.step(lr * (1 - step / steps))
    return network
