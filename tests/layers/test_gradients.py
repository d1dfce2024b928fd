"""Every layer's hand-derived backward against central differences, and the contract of the two verbs."""

import copy
import re

import numpy as np
import pytest

from core.frozen import freeze
from core.gradcheck import TOLERANCE, away_from_zero, gradcheck, layer_cases
from core.layers import BatchNorm, Dropout, Linear, Parallel, ReLU, Residual, Sequential, Sigmoid
from core.random import Stream
from core.workers import Workers

CASES = {name: (layer, x) for name, layer, x in layer_cases(np.random.default_rng(0))}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_right(name):
    layer, x = CASES[name]
    assert gradcheck(layer, x.copy(), np.random.default_rng(1)) < TOLERANCE


@pytest.mark.parametrize("name", CASES)
def test_a_second_backward_raises(name):
    layer, x = CASES[name]
    dy = np.ones_like(layer.forward(x, train=True))
    layer.backward(dy)
    with pytest.raises(RuntimeError, match="forward"):
        layer.backward(dy)


@pytest.mark.parametrize("name", CASES)
def test_an_inference_forward_leaves_nothing_for_backward(name):
    layer, x = CASES[name]
    layer.forward(x, train=True)
    dy = np.ones_like(layer.forward(x))
    with pytest.raises(RuntimeError, match="forward"):
        layer.backward(dy)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("wrap", [lambda layer: layer, freeze, lambda layer: Parallel(layer, Workers(2))])
def test_a_gradient_of_another_shape_is_refused(name, wrap):
    layer, x = CASES[name]
    layer = wrap(copy.deepcopy(layer))
    N, *sizes = layer.forward(x, train=True).shape
    for wrong in [(1, *sizes), (N + 1, *sizes), (2 * N, *sizes), (N, *sizes, 1), (N, *sizes[:-1], 1), (sizes[-1],), ()]:
        layer.forward(x, train=True)
        with pytest.raises(ValueError, match=rf"\.backward expected \({N}.*\), got {re.escape(str(wrong))}"):
            layer.backward(np.ones(wrong))


@pytest.mark.parametrize("name", CASES)
def test_a_gradient_of_integers_is_refused(name):
    layer, x = CASES[name]
    y = layer.forward(x, train=True)
    with pytest.raises(TypeError, match=r"\.backward expected floating-point numbers, got int64"):
        layer.backward(np.ones(y.shape, np.int64))


def test_the_gradient_of_a_right_shape_is_taken_after_a_wrong_one():
    layer, x = Sigmoid(), np.ones((3, 2))
    y = layer.forward(x, train=True)
    with pytest.raises(ValueError, match=r"Sigmoid\.backward expected \(3, 2\), got \(2,\)"):
        layer.backward(np.ones(2))
    assert layer.backward(np.ones_like(y)).shape == x.shape


@pytest.mark.parametrize("name", CASES)
def test_neither_verb_changes_its_input(name):
    layer, x = CASES[name]
    given = x.copy()
    y = layer.forward(given, train=True)
    dy = np.random.default_rng(2).standard_normal(y.shape)
    dy_given = dy.copy()
    layer.backward(dy_given)
    np.testing.assert_array_equal(given, x)
    np.testing.assert_array_equal(dy_given, dy)


@pytest.mark.parametrize("name", CASES)
def test_float32_stays_float32(name):
    layer, x = CASES[name]
    single = layer.replica().to(dtype=np.float32)
    y = single.forward(x.astype(np.float32), train=True)
    dx = single.backward(np.ones_like(y))
    assert y.dtype == dx.dtype == np.float32
    assert {parameter.grad.dtype for parameter in single.parameters()} <= {np.dtype(np.float32)}


@pytest.mark.parametrize("dtype", [">f8", np.longdouble])
@pytest.mark.parametrize("name", CASES)
def test_floats_of_other_machines_and_longer_ones_pass(name, dtype):
    layer, x = CASES[name]
    expected = layer.forward(x).copy()
    np.testing.assert_allclose(layer.forward(x.astype(dtype)).astype(np.float64), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("wrap", [lambda layer: layer, freeze])
def test_an_empty_batch_passes(name, wrap):
    layer, x = CASES[name]
    layer = wrap(layer)
    assert layer.forward(x[:0]).shape == (0, *layer.forward(x).shape[1:])
    y = layer.forward(x[:0], train=True)
    assert len(y) == 0
    assert layer.backward(y).shape == x[:0].shape


def test_gradients_add_up_until_they_are_zeroed():
    rng = np.random.default_rng(0)
    layer, x, dy = Linear(3, 2, rng=rng), rng.standard_normal((4, 3), np.float32), np.ones((4, 2), np.float32)
    for _ in range(2):
        layer.forward(x, train=True)
        layer.backward(dy)
    twice = layer.weight.grad.copy()
    layer.weight.zero_grad()
    assert not layer.weight.grad.any()
    layer.forward(x, train=True)
    layer.backward(dy)
    np.testing.assert_allclose(2 * layer.weight.grad, twice, rtol=1e-6)


def test_the_first_layer_may_skip_its_input_gradient():
    rng = np.random.default_rng(0)
    network = Sequential(Dropout(0.5, stream=Stream(0)), Linear(5, 4, rng=rng), ReLU(), Linear(4, 3, rng=rng))
    x, dy = rng.standard_normal((6, 5), np.float32), rng.standard_normal((6, 3), np.float32)
    network.forward(x, train=True)
    assert network.backward(dy).shape == x.shape
    expected = [parameter.grad.copy() for parameter in network.parameters()]
    network.skip_input_grad()
    for parameter in network.parameters():
        parameter.zero_grad()
    network.forward(x, train=True)
    assert network.backward(dy) is None
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        np.testing.assert_array_equal(parameter.grad, gradient)


def test_a_residual_block_says_what_it_misses():
    rng = np.random.default_rng(0)
    block, x = Residual(Linear(5, 5, rng=rng)), rng.standard_normal((6, 5), np.float32)
    block.body.skip_input_grad()
    block.forward(x, train=True)
    with pytest.raises(RuntimeError, match="neither body nor shortcut may skip its own"):
        block.backward(x)


def test_gradcheck_notices_a_wrong_backward():
    class WrongReLU(ReLU):
        def backward(self, dy):
            return 1.001 * super().backward(dy)

    x = away_from_zero(np.random.default_rng(0).standard_normal((4, 5)))
    assert gradcheck(ReLU(), x, np.random.default_rng(1)) < TOLERANCE
    assert gradcheck(WrongReLU(), x, np.random.default_rng(1)) > 100 * TOLERANCE


def test_gradcheck_notices_a_backward_that_overwrites_a_gradient():
    """It has to add: parts of a batch, and layers that share a weight, count on it."""

    class Overwrites(Linear):
        def backward(self, dy):
            for parameter in self.parameters():
                parameter.zero_grad()
            return super().backward(dy)

    x = np.random.default_rng(0).standard_normal((4, 5))
    layer = Overwrites(5, 3, rng=np.random.default_rng(0), dtype=np.float64)
    assert gradcheck(layer, x, np.random.default_rng(1)) > 100 * TOLERANCE


def test_gradcheck_notices_a_wrong_parameter_gradient():
    class ForgetsTheBias(Linear):
        def backward(self, dy):
            dx = super().backward(dy)
            self.bias.grad[0] = 0
            return dx

    rng = np.random.default_rng(0)
    layer = ForgetsTheBias(5, 3, rng=rng, dtype=np.float64)
    assert gradcheck(layer, rng.standard_normal((4, 5)), rng) > 100 * TOLERANCE


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("of", ["weight", "bias"])
def test_gradcheck_notices_a_gradient_that_is_not_finite_wherever_it_is(value, of):
    class Overflows(Linear):
        def backward(self, dy):
            dx = super().backward(dy)
            getattr(self, of).grad.flat[-1] = value
            return dx

    rng = np.random.default_rng(0)
    assert not gradcheck(Overflows(5, 3, rng=rng, dtype=np.float64), rng.standard_normal((4, 5)), rng, 1) < TOLERANCE


def test_gradcheck_notices_a_gradient_of_another_shape():
    class Doubled(ReLU):
        def backward(self, dy):
            return np.concatenate([super().backward(dy)] * 2)

    with pytest.raises(ValueError, match=r"gradient of shape \(4, 5\), got \(8, 5\)"):
        gradcheck(Doubled(), np.ones((4, 5)), np.random.default_rng(0))


def test_gradcheck_wants_float64():
    with pytest.raises(TypeError, match="float64"):
        gradcheck(ReLU(), np.ones((2, 2), np.float32), np.random.default_rng(0))


@pytest.mark.parametrize("name", [name for name, _, _ in layer_cases(np.random.default_rng(0))])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_integers_are_refused_or_passed_on_as_they_are(name, dtype):
    layer, x = next((layer, x) for other, layer, x in layer_cases(np.random.default_rng(0)) if other == name)
    if name in ("Flatten", "Dropout"):
        np.testing.assert_array_equal(layer.forward(x.astype(dtype)).ravel(), x.astype(dtype).ravel())
    else:
        with pytest.raises(TypeError, match=f"expected floating-point numbers, got {np.dtype(dtype)}"):
            layer.forward(x.astype(dtype))
    if name != "Flatten":
        with pytest.raises(TypeError, match=f"expected floating-point numbers, got {np.dtype(dtype)}"):
            layer.forward(x.astype(dtype), train=True)


def test_training_on_no_rows_leaves_the_running_statistics_alone():
    norm = BatchNorm(3)
    assert norm.forward(np.zeros((0, 3), np.float32), train=True).shape == (0, 3)
    assert norm.backward(np.zeros((0, 3), np.float32)).shape == (0, 3)
    np.testing.assert_array_equal(norm.running_mean, np.zeros(3))
    np.testing.assert_array_equal(norm.running_var, np.ones(3))
    assert np.isfinite(norm.weight.grad).all()
