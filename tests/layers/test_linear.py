"""A fully connected layer whose products are shared among workers computes what one thread computes."""

import numpy as np
import pytest

from core.layers import Linear, Parallel, Sequential
from core.ops.cpu.linear import MANY_ROWS, WORTH_SHARING
from core.workers import Workers, set_threads, workers


def passes(threads, rows=64, inputs=300, outputs=250, input_grad=True):
    """Output, input gradient and weight gradient of a layer that is worth sharing."""
    assert rows * inputs * outputs >= WORTH_SHARING
    before = workers().count
    set_threads(threads)
    rng = np.random.default_rng(0)
    layer = Linear(inputs, outputs, rng=rng, dtype=np.float64)
    layer.input_grad = input_grad
    x, dy = rng.standard_normal((rows, inputs)), rng.standard_normal((rows, outputs))
    y = layer.forward(x, train=True).copy()
    dx = layer.backward(dy)
    set_threads(before)
    return y, dx, layer.weight.grad, layer.bias.grad


@pytest.mark.parametrize("rows", [64, MANY_ROWS])
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_sharing_changes_nothing_but_rounding(threads, rows):
    for alone, shared in zip(passes(1, rows), passes(threads, rows), strict=True):
        np.testing.assert_allclose(shared, alone, rtol=1e-10, atol=1e-11)


def test_sharing_without_an_input_gradient():
    _, dx, dweight, _ = passes(2, input_grad=False)
    assert dx is None
    np.testing.assert_allclose(dweight, passes(1)[2], rtol=1e-10, atol=1e-11)


def test_shared_gradients_add_up():
    set_threads(2)
    rng = np.random.default_rng(0)
    layer = Linear(300, 250, rng=rng)
    x, dy = rng.standard_normal((64, 300), np.float32), rng.standard_normal((64, 250), np.float32)
    layer.forward(x, train=True)
    layer.backward(dy)
    once = layer.weight.grad.copy()
    layer.forward(x, train=True)
    layer.backward(dy)
    np.testing.assert_allclose(layer.weight.grad, 2 * once, rtol=1e-5, atol=1e-5)


def test_a_worker_does_not_share_again():
    rng = np.random.default_rng(0)
    network = Sequential(Linear(600, 500, rng=rng))
    x = rng.standard_normal((64, 600), np.float32)
    expected = network.forward(x).copy()
    set_threads(2)
    for pool in (Workers(2), workers()):  # the layer inside asks the common pool, which may be busy or not
        np.testing.assert_allclose(Parallel(network, pool).forward(x), expected, rtol=1e-4, atol=1e-4)
