"""A network whose samples are coupled and told apart, and its training, for the tests of Parallel."""

import numpy as np

from core.layers import BatchNorm, Dropout, Linear, ReLU, Sequential
from core.losses import softmax_cross_entropy
from core.optim import Adam
from core.random import Stream


def network(seed=0):
    rng, stream = np.random.default_rng(seed), Stream(seed)
    return Sequential(
        Linear(12, 16, rng=rng, bias=False),  # a bias before BatchNorm has a gradient of pure rounding noise
        BatchNorm(16),
        ReLU(),
        Dropout(0.3, stream=stream),
        Linear(16, 5, rng=rng),
    ), stream


def train(model, stream, steps=10, rows=37, dtype=np.float32):
    rng = np.random.default_rng(1)
    optimizer = Adam(model.parameters())
    losses = []
    for step in range(steps):
        stream.seek(0, step)
        x, labels = rng.standard_normal((rows, 12), dtype), rng.integers(0, 5, rows)
        loss, dlogits = softmax_cross_entropy(model.forward(x, train=True), labels)
        model.backward(dlogits)
        optimizer.step(0.01)
        losses.append(float(loss))
    return losses, model.state_dict()
