"""A batch in parts leads to the gradient of the whole, and to the same weights."""

from __future__ import annotations

import numpy as np
import pytest
from toy_run import settings_of, train, weights

from core.layers import Linear
from core.params import pack
from core.training.parts import BatchParts

pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.parametrize("sizes", [[8], [4, 4], [2, 2, 2, 2], [5, 3], [1, 4, 3]])
def test_the_gradient_of_parts_is_that_of_the_whole(sizes):
    rng = np.random.default_rng(1)
    x, dy = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    layer = Linear(3, 2, rng=rng, dtype=np.float64)
    flat = pack(layer.parameters())
    parts = BatchParts(flat)
    start = 0
    for size in sizes:
        rows = slice(start, start + size)
        parts.begin(size)
        layer.forward(x[rows], train=True)
        layer.backward(dy[rows] / size)  # a mean over the part, as the losses give
        parts.count()
        start += size
    assert parts.finish() == 8
    np.testing.assert_allclose(layer.weight.grad, x.T @ dy / 8, rtol=1e-12)
    np.testing.assert_allclose(layer.bias.grad, dy.mean(axis=0), rtol=1e-12)


def test_what_was_left_in_the_middle_is_forgotten():
    layer = Linear(2, 1, rng=np.random.default_rng(0))
    flat = pack(layer.parameters())
    parts = BatchParts(flat)
    for size, steps in [(2, True), (2, False)]:  # the backward of the second part was there, its step was not
        parts.begin(size)
        layer.backward(layer.forward(np.ones((size, 2), np.float32), train=True))
        if steps:
            parts.count()
    parts.discard()
    assert flat.is_zero
    parts.begin(3)
    parts.count()
    assert parts.finish() == 3


def test_accumulation_equals_the_large_batch(tmp_path):
    """110 samples in batches of 32 leave parts of 8, 8 and 6 at the end."""
    same = ["--batch-size", "32", "--no-norm", "--augment", "none", "--dropout", "0", "--optimizer", "sgd"]
    train(settings_of(tmp_path / "whole", *same))
    _, run = train(settings_of(tmp_path / "parts", *same, "--accumulate", "4"))
    assert run.state.step == 16
    whole, parts = weights(tmp_path / "whole", "last"), weights(tmp_path / "parts", "last")
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=2e-4, atol=1e-6)
