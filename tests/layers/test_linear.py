"""A fully connected layer whose products are shared computes what one thread computes."""

from functools import partial

import numpy as np
import pytest

from core.fastest import TRIES
from core.layers import BatchNorm, LayerNorm, Linear, Parallel, Sequential
from core.ops.cpu import large_product, linear
from core.ops.cpu.large_product import (
    LargeProduct,
    as_complex,
    multiply,
    multiply_by_columns,
    multiply_by_rows,
    multiply_with_blas_threads,
)
from core.ops.cpu.linear import MULTIPLICATIONS_WORTH_SHARING
from core.workers import Workers, alone, set_threads, workers


def passes(threads, rows=64, inputs=300, outputs=250, input_grad=True):
    """Output, input gradient and weight gradient of a layer that is worth sharing."""
    assert rows * inputs * outputs >= MULTIPLICATIONS_WORTH_SHARING
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


@pytest.mark.parametrize("rows", [64, 256])
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_sharing_changes_nothing_but_rounding(threads, rows):
    for expected, shared in zip(passes(1, rows), passes(threads, rows), strict=True):
        np.testing.assert_allclose(shared, expected, rtol=1e-10, atol=1e-11)


def test_products_are_shared_by_blas_threads_where_they_are_large_and_nobody_has_shared_the_batch(monkeypatch):
    made = []

    def lend(count, make, *arguments):
        made.append(count)
        make(*arguments)

    monkeypatch.setattr(linear, "with_blas_threads", lend)
    passes(3)
    assert made == [3, 3]  # forward; both products of backward
    made.clear()
    with alone():
        passes(3)
    passes(1)
    Linear(300, 250, rng=np.random.default_rng(0)).forward(np.ones((4, 300), np.float32))
    assert made == []


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


@pytest.mark.parametrize(
    "build",
    [partial(Linear, 4, 4, rng=np.random.default_rng(0)), partial(BatchNorm, 4), partial(LayerNorm, 4)],
    ids=["Linear", "BatchNorm", "LayerNorm"],
)
def test_gradients_of_another_precision_are_summed(build):
    layer = build()
    x, dy = np.random.default_rng(1).standard_normal((2, 6, 4))
    layer.forward(x.astype(np.float32), train=True)
    layer.backward(dy)
    np.testing.assert_allclose(layer.bias.grad, dy.sum(axis=0), rtol=1e-6, atol=1e-6)


def test_a_worker_does_not_share_again():
    rng = np.random.default_rng(0)
    network = Sequential(Linear(600, 500, rng=rng))
    x = rng.standard_normal((64, 600), np.float32)
    expected = network.forward(x).copy()
    set_threads(2)
    for pool in (Workers(2), workers()):  # the layer inside asks the common pool, which may be busy or not
        np.testing.assert_allclose(Parallel(network, pool).forward(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(40,), (1, 40), (5, 40)])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("make", [multiply, multiply_by_columns, multiply_with_blas_threads, LargeProduct()])
def test_all_ways_to_a_large_product_lead_to_the_same(make, threads, shape):
    before = workers().count
    set_threads(threads)
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal(shape), rng.standard_normal((70, 40)).T
    for laid_out in (weight, np.ascontiguousarray(weight)):
        y = np.full((*shape[:-1], 70), np.nan)
        make(x, laid_out, y)
        np.testing.assert_allclose(y, x @ weight, rtol=1e-12, atol=1e-12)
    set_threads(before)


@pytest.mark.parametrize(("shape", "lets_run"), [((40,), True), ((1, 40), True), ((5, 40), False)])
def test_the_columns_of_a_row_are_made_by_what_lets_other_workers_run(shape, lets_run, monkeypatch):
    made = []
    monkeypatch.setattr(large_product, "multiply", lambda x, weight, y: made.append("np.dot") or multiply(x, weight, y))
    x, weight, y = np.ones(shape), np.ones((40, 70), order="F"), np.empty((*shape[:-1], 140))
    multiply_by_columns(x, weight, y[..., :70] if lets_run else np.empty((*shape[:-1], 70)))
    assert ("np.dot" in made) == lets_run
    made.clear()
    multiply_by_columns(x, np.ascontiguousarray(weight), np.empty((*shape[:-1], 70)))
    multiply_by_columns(x, weight, y[..., ::2])  # np.dot cannot write there
    assert made == []
    assert (y[..., ::2] == 40).all()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("K", [1, 7])
def test_as_complex_numbers_a_weight_has_the_same_products_and_stays_as_it_is(K, order):
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal(12), np.asarray(rng.standard_normal((12, K)), order=order)
    weight.setflags(write=False)
    seen = as_complex(weight)
    assert seen.shape == (6, K)
    assert seen.T.flags.c_contiguous
    np.testing.assert_allclose((x.view(complex) @ seen).real, x @ weight, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 5, 40])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_workers_share_rows(threads, rows):
    before = workers().count
    set_threads(threads)
    rng = np.random.default_rng(0)
    x, weight, y = rng.standard_normal((rows, 40)), rng.standard_normal((40, 70)), np.full((rows, 70), np.nan)
    multiply_by_rows(x, weight, y)
    np.testing.assert_allclose(y, x @ weight, rtol=1e-12, atol=1e-12)
    set_threads(before)


def test_a_large_product_is_made_in_all_ways_but_not_by_a_worker(monkeypatch):
    made = []
    for name in ("multiply", "multiply_by_columns", "multiply_with_blas_threads"):
        monkeypatch.setattr(large_product, name, lambda *_, name=name: made.append(name))
    before = workers().count
    set_threads(2)
    product = large_product.LargeProduct()
    for _ in range(3 * TRIES):
        product(1, 2, 3)
    assert made == [
        name for name in ("multiply", "multiply_by_columns", "multiply_with_blas_threads") for _ in range(TRIES)
    ]
    made.clear()
    with alone():
        for _ in range(3 * TRIES):
            product(1, 2, 3)
    assert made == ["multiply"] * 3 * TRIES
    set_threads(before)


@pytest.mark.parametrize("dtypes", ["ffd", "dff", "fdd", "fdf"])
@pytest.mark.parametrize("make", [multiply, multiply_by_columns, multiply_with_blas_threads])
def test_a_large_product_of_several_types(make, dtypes):
    rng = np.random.default_rng(0)
    x, weight, y = rng.standard_normal((3, 40)), rng.standard_normal((40, 70)), np.zeros((3, 70))
    x, weight, y = (array.astype(dtype) for array, dtype in zip((x, weight, y), dtypes, strict=True))
    make(x, weight, y)
    np.testing.assert_allclose(y, x @ weight, rtol=1e-5, atol=1e-5)
