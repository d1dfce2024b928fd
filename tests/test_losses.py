"""Losses: gradients, extreme inputs and wrong ones. Values are compared with PyTorch in tests/layers."""

import numpy as np
import pytest

from core.gradcheck import TOLERANCE, gradcheck_loss, loss_cases
from core.losses import accuracy, focal_loss, loss_and_accuracy, mean_squared_error, softmax, softmax_cross_entropy

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


@pytest.mark.parametrize("name", ["cross-entropy", "weighted", "focal"])
def test_a_class_that_is_ruled_out_by_minus_infinity_has_no_part(name):
    logits, labels = np.array([[1, 0.5, 2], [0, 3, 1]], np.float32), np.array([0, 1])
    ruled_out = np.insert(logits, 1, -np.inf, axis=1)
    value, dlogits = LOSSES[name](ruled_out, 2 * labels)
    expected, dexpected = LOSSES[name](logits, labels)
    assert value == pytest.approx(expected)
    np.testing.assert_allclose(dlogits, np.insert(dexpected, 1, 0, axis=1), atol=1e-7)


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


WEIGHTS = np.array([0.2, 1.0, 3.0, 0.0])


@pytest.mark.parametrize(("smoothing", "temperature"), [(0.0, 1.0), (0.1, 1.0), (0.2, 1.7)])
def test_class_weights_have_the_right_gradient_and_pytorchs_mean(smoothing, temperature):
    rng = np.random.default_rng(3)
    logits, labels = 3 * rng.standard_normal((7, 4)), np.array([0, 1, 2, 2, 1, 0, 3])

    def loss(z):
        return softmax_cross_entropy(z, labels, smoothing, temperature, WEIGHTS)

    assert gradcheck_loss(loss, logits.copy(), np.random.default_rng(1)) < TOLERANCE
    torch = pytest.importorskip("torch")
    z = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        z / temperature, torch.tensor(labels), weight=torch.tensor(WEIGHTS), label_smoothing=smoothing
    )
    expected.backward()
    value, dlogits = loss(logits)
    assert value == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(dlogits, z.grad.numpy(), atol=1e-12)


def test_equal_class_weights_change_nothing_and_keep_the_dtype():
    rng = np.random.default_rng(4)
    logits, labels = rng.standard_normal((6, 4)).astype(np.float32), rng.integers(0, 4, 6)
    value, dlogits = softmax_cross_entropy(logits, labels, 0.1, 2.0, np.full(4, 0.3))
    expected, dexpected = softmax_cross_entropy(logits, labels, 0.1, 2.0)
    assert value == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_allclose(dlogits, dexpected, atol=1e-7)
    assert dlogits.dtype == value.dtype == np.float32


def test_class_weights_of_another_number_of_classes():
    with pytest.raises(ValueError, match=r"class weights \(4,\) for logits \(2, 4\), got \(3,\)"):
        softmax_cross_entropy(np.zeros((2, 4)), np.array([0, 1]), class_weights=np.ones(3))


@pytest.mark.parametrize("number", [np.float64(0.5), np.float32(0.5), 1])
def test_a_number_of_numpy_leaves_the_dtype_alone(number):
    logits, labels = np.ones((3, 4), np.float32), np.array([0, 1, 2])
    results = [
        softmax(logits, number),
        *softmax_cross_entropy(logits, labels, number, number),
        *softmax_cross_entropy(logits, labels, number, number, np.ones(4)),
        *focal_loss(logits, labels, number),
    ]
    assert {result.dtype for result in results} == {np.dtype(np.float32)}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_sums_over_a_large_batch_do_not_overflow_in_float16(smoothing):
    rng = np.random.default_rng(0)
    logits, labels = 4 * rng.standard_normal((1024, 100)), rng.integers(0, 100, 1024)
    loss, dlogits = softmax_cross_entropy(logits.astype(np.float16), labels, smoothing)
    expected, expected_dlogits = softmax_cross_entropy(logits, labels, smoothing)
    assert dlogits.dtype == np.float16
    np.testing.assert_allclose(loss, expected, rtol=1e-3)
    np.testing.assert_allclose(dlogits, expected_dlogits, rtol=0.01, atol=1e-7)  # half a step of its smallest number


def test_losses_leave_their_inputs_alone():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    given = logits.copy()
    softmax_cross_entropy(given, labels, 0.1, 2.0)
    softmax_cross_entropy(given, labels, 0.1, 2.0, np.arange(4.0))
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


LOSSES = {
    "cross-entropy": softmax_cross_entropy,
    "weighted": lambda z, t: softmax_cross_entropy(z, t, class_weights=np.ones(z.shape[1], np.float32)),
    "focal": focal_loss,
    "accuracy": accuracy,
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_label_below_zero_is_no_class(name):
    with pytest.raises(IndexError, match="labels from 0 on, got -1"):
        LOSSES[name](np.zeros((3, 4), np.float32), np.array([0, -1, 2]))


@pytest.mark.parametrize("name", LOSSES)
def test_a_label_beyond_the_classes_is_none(name):
    with pytest.raises(IndexError, match=r"labels up to 3, got 4|index 4 is out of bounds"):
        LOSSES[name](np.zeros((3, 4), np.float32), np.array([0, 4, 2]))


@pytest.mark.parametrize("name", LOSSES)
def test_there_is_no_mean_over_no_samples(name):
    with pytest.raises(ValueError, match="at least one sample"):
        LOSSES[name](np.zeros((0, 4), np.float32), np.zeros(0, int))
    with pytest.raises(ValueError, match="at least one sample"):
        mean_squared_error(np.zeros((0, 4)), np.zeros((0, 4)))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("score", [20.0, 200.0])
def test_focal_loss_of_what_is_surely_right_has_no_gradient(gamma, score):
    logits = np.array([[score, 0, 0, 0], [0, 0, score, 0]], np.float32)
    loss, dlogits = focal_loss(logits, np.array([0, 2]), gamma)
    assert abs(loss) < 1e-3
    assert np.abs(dlogits).max() < 1e-3


def test_focal_loss_needs_a_gamma_from_zero_on():
    with pytest.raises(ValueError, match=r"focal_loss expected gamma in \[0, inf\), got -1"):
        focal_loss(np.zeros((1, 2)), np.array([0]), -1)


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_the_gradient_of_mean_squared_error_has_the_dtype_of_the_prediction(dtype):
    prediction, target = np.full((2, 3), 0.5, np.float32), np.eye(2, 3).astype(dtype)
    loss, gradient = mean_squared_error(prediction, target)
    assert gradient.dtype == np.float32
    assert loss == 0.25


def test_the_figures_of_a_validation_are_numbers_of_the_loss_that_is_asked_for():
    logits, labels = np.array([[2, 0, 1], [0, 3, 1], [0, 1, 0]], np.float32), np.array([0, 1, 2])
    for loss_of in (softmax_cross_entropy, focal_loss):
        figures = loss_and_accuracy(logits, labels, loss_of)
        assert figures == {"loss": loss_of(logits, labels)[0], "accuracy": pytest.approx(2 / 3)}
        assert {type(figure) for figure in figures.values()} == {float}
    assert loss_and_accuracy(logits, labels)["loss"] == softmax_cross_entropy(logits, labels)[0]
