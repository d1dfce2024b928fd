"""Losses: gradients, extreme inputs and wrong ones. Values are compared with PyTorch in tests/layers."""

import numpy as np
import pytest

from core.gradcheck import TOLERANCE, gradcheck_loss, loss_cases
from core.losses import focal_loss, mean_squared_error, softmax, softmax_cross_entropy

CASES = {name: (loss, x) for name, loss, x in loss_cases(np.random.default_rng(0))}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_right(name):
    loss, x = CASES[name]
    assert gradcheck_loss(loss, x.copy(), np.random.default_rng(1)) < TOLERANCE


def test_huge_logits_do_not_overflow():
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], np.float32)
    for loss in (softmax_cross_entropy, focal_loss):
        value, dlogits = loss(logits, np.array([0, 0]))
        assert np.isfinite(value)
        assert np.isfinite(dlogits).all()
    assert softmax_cross_entropy(logits, np.array([0, 0]))[0] == pytest.approx(1e4)
    np.testing.assert_allclose(softmax(logits).sum(axis=1), 1)


def test_a_certain_and_right_answer_costs_nothing_and_has_no_gradient():
    logits, labels = np.array([[200.0, 0.0]]), np.array([0])
    for loss in (softmax_cross_entropy, focal_loss):
        value, dlogits = loss(logits, labels)
        assert value == pytest.approx(0, abs=1e-12)
        np.testing.assert_allclose(dlogits, 0, atol=1e-12)


def test_focal_loss_with_gamma_zero_is_the_cross_entropy():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    for ours, expected in zip(focal_loss(logits, labels, 0), softmax_cross_entropy(logits, labels), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_losses_leave_their_inputs_alone():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    given = logits.copy()
    softmax_cross_entropy(given, labels, 0.1, 2.0)
    focal_loss(given, labels)
    mean_squared_error(given, np.zeros_like(given))
    softmax(given, 2.0)
    np.testing.assert_array_equal(given, logits)


@pytest.mark.parametrize("loss", [softmax_cross_entropy, focal_loss])
def test_wrong_shapes_and_dtypes(loss):
    with pytest.raises(ValueError, match=r"logits \(N, C\) and labels \(N,\)"):
        loss(np.zeros((3, 4)), np.zeros(2, int))
    with pytest.raises(TypeError, match="integer labels, got float64"):
        loss(np.zeros((3, 4)), np.zeros(3))


def test_mean_squared_error_does_not_broadcast():
    with pytest.raises(ValueError, match="equal shapes"):
        mean_squared_error(np.zeros((3, 1)), np.zeros(3))
