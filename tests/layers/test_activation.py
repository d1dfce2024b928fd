"""Activations at their limits, and on their own output. Values are compared with PyTorch in test_against_torch.py."""

import numpy as np
import pytest

from core.layers import GELU, SELU, LeakyReLU, ReLU, Sigmoid, Softplus, Tanh
from core.ops.cpu.activation import leaky_relu_forward

SELU_LEAST = -1.0507009873554805 * 1.6732632423543772
LIMITS = {  # y and dy/dx at -infinity, then at infinity
    "ReLU": (ReLU, (0, 0), (np.inf, 1)),
    "LeakyReLU": (LeakyReLU, (-np.inf, 0.01), (np.inf, 1)),
    "LeakyReLU, slope 0": (lambda: LeakyReLU(0), (0, 0), (np.inf, 1)),
    "GELU": (GELU, (0, 0), (np.inf, 1)),
    "GELU, tanh": (lambda: GELU("tanh"), (0, 0), (np.inf, 1)),
    "SELU": (SELU, (SELU_LEAST, 0), (np.inf, 1.0507009873554805)),
    "Softplus": (Softplus, (0, 0), (np.inf, 1)),
    "Softplus, threshold 0.5": (lambda: Softplus(1.0, 0.5), (0, 0), (np.inf, 1)),
    "Sigmoid": (Sigmoid, (0, 0), (1, 0)),
    "Tanh": (Tanh, (-1, 0), (1, 0)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LIMITS)
def test_infinite_and_huge_inputs_have_the_limit_of_large_ones(name, dtype):
    make, (least, least_slope), (most, most_slope) = LIMITS[name]
    layer, huge = make(), np.finfo(dtype).max / 2
    x = np.array([-np.inf, -huge, -1e15, 1e15, huge, np.inf], dtype)
    y, dx = layer.forward(x, train=True), layer.backward(np.ones_like(x))
    np.testing.assert_allclose(y[[0, -1]], [least, most], rtol=1e-6)
    assert not np.isnan(y).any()
    np.testing.assert_allclose(dx, 3 * [least_slope] + 3 * [most_slope], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", LIMITS)
def test_an_activation_may_be_given_its_own_output(name):
    x = np.linspace(-3, 3, 7, dtype=np.float32)
    layer, other = LIMITS[name][0](), LIMITS[name][0]()
    once = layer.forward(x)
    expected = other.forward(once.copy()).copy()
    np.testing.assert_array_equal(layer.forward(once.reshape(7, 1))[:, 0], expected)


@pytest.mark.parametrize("of", [lambda a: (a, a), lambda a: (a[:], a), lambda a: (a, a[:]), lambda a: (a[:], a[:])])
def test_leaky_relu_may_write_to_where_it_reads(of):
    x, y = of(np.array([-2.0, -1.0, 3.0]))
    leaky_relu_forward(x, y, 0.5)
    np.testing.assert_array_equal(y, [-1.0, -0.5, 3.0])
