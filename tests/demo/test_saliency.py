"""Saliency against finite differences, for networks that behave differently in training and at test time."""

from __future__ import annotations

import numpy as np
import pytest

from core.demo.saliency import Saliency, as_overlay
from core.layers import BatchNorm, Dropout, Layer, Linear, ReLU, Residual, Sequential
from core.random import Stream


def network() -> Sequential:
    rng, stream = np.random.default_rng(0), Stream(0)
    body = Sequential(BatchNorm(8, dtype=np.float64), ReLU(), Linear(8, 8, rng=rng, dtype=np.float64))
    model = Sequential(
        Linear(6, 8, rng=rng, dtype=np.float64),
        Dropout(0.5, stream=stream),
        Residual(body),
        BatchNorm(8, dtype=np.float64),
        Linear(8, 3, rng=rng, dtype=np.float64),
    )
    model.skip_input_grad()
    for _, layer in model.walk():
        if isinstance(layer, BatchNorm):
            layer.running_mean[:] = rng.normal(size=8)
            layer.running_var[:] = rng.uniform(0.5, 2, 8)
    return model


def score(model: Layer, x: np.ndarray, answer: int) -> float:
    logits = model.forward(x)[0]
    return float(logits[answer] - np.delete(logits, answer).mean())


def test_it_is_the_gradient_at_test_time_times_the_input():
    model = network()
    x = np.random.default_rng(1).normal(size=(1, 6))
    answer = int(model.forward(x).argmax())
    step = 1e-6
    slopes = [(score(model, x + step * e, answer) - score(model, x - step * e, answer)) / (2 * step) for e in np.eye(6)]
    np.testing.assert_allclose(Saliency(model)(x)[0], slopes * x[0], rtol=1e-6, atol=1e-9)


def test_each_row_is_explained_by_itself_and_again():
    x = np.random.default_rng(2).normal(size=(4, 6))
    explain = Saliency(network())
    together = explain(x).copy()
    alone = np.concatenate([explain(row[None]).copy() for row in x])
    np.testing.assert_allclose(together, alone)


def test_the_network_is_left_as_it_was():
    model = network()
    before, gradients = model.state_dict(), [parameter.grad.copy() for parameter in model.parameters()]
    Saliency(model)(np.ones((2, 6)))
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        np.testing.assert_array_equal(parameter.grad, gradient)
    assert model.layers["1"].rate == 0.5
    assert isinstance(model.layers["3"], BatchNorm)
    assert not model.layers["0"].input_grad


def test_a_linear_network_is_explained_completely():
    """Without biases the contributions add up to the score."""
    model = Sequential(Linear(5, 4, rng=np.random.default_rng(0), bias=False, dtype=np.float64))
    x = np.random.default_rng(3).normal(size=(1, 5))
    assert Saliency(model)(x).sum() == pytest.approx(score(model, x, int(model.forward(x).argmax())))


def test_the_overlay_is_blue_for_and_orange_against():
    picture = as_overlay(np.full((1, 3), 200, np.uint8), np.array([[1.0, -1.0, 0.0]]))
    assert picture.dtype == np.uint8
    assert picture[0].tolist() == [[86, 180, 233], [213, 94, 0], [90, 90, 90]]
    assert as_overlay(np.zeros((2, 2), np.uint8), np.zeros((2, 2))).max() == 0
