"""Muon: what its steps do to singular values, against a plain version, on any number of threads, and after a resume."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from core.layers import Linear
from core.muon import Group, Muon
from core.ops.cpu.muon import orthogonal
from core.params import Parameter
from core.workers import set_threads, workers

SHAPES = ((27, 8), (72, 16), (16, 40), (9, 9))


def made(dtype=np.float32, **settings):
    """An optimizer of four matrices, a vector of biases, one that stays, and a last layer."""
    rng = np.random.default_rng(0)
    matrices = [Parameter(rng.standard_normal(shape).astype(dtype)) for shape in SHAPES]
    bias, fixed = (Parameter(rng.standard_normal(8).astype(dtype), decay=False) for _ in range(2))
    head = Parameter(rng.standard_normal((16, 10)).astype(dtype))
    others = [Group([bias], 4.0), Group([fixed], 0.0), Group([head], 0.5)]
    return Muon(matrices, others, **settings), matrices, bias, fixed, head


def steps(optimizer, count, lr=0.1, seed=1):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        for parameter in optimizer.flat.parameters:
            parameter.add_grad(rng.standard_normal(parameter.data.shape).astype(parameter.data.dtype))
        optimizer.step(lr)
    return optimizer.flat.data.copy()


@pytest.mark.parametrize("shape", SHAPES)
def test_directions_stay_and_singular_values_become_alike(shape):
    rng = np.random.default_rng(0)
    left, _, right = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    values = np.linspace(0.2, 1, min(shape))
    made = orthogonal((left * values) @ right * 37)
    inner = left.T @ made @ right.T  # diagonal where the directions have stayed
    np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-6)
    assert np.diag(inner).min() > 0.5
    assert np.diag(inner).max() < 1.5


def test_a_gradient_of_zeros_moves_nothing():
    np.testing.assert_array_equal(orthogonal(np.zeros((5, 3), np.float32)), 0)


def test_two_steps_are_those_of_the_formula():
    optimizer, matrices, bias, fixed, head = made(np.float64, momentum=0.6, others_momentum=0.85, weight_decay=0.02)
    rng = np.random.default_rng(3)
    expected = {id(p): p.data.copy() for p in (*matrices, bias, fixed, head)}
    velocities = {id(p): 0.0 for p in (*matrices, bias, head)}
    for lr in (0.1, 0.05):
        for parameter in optimizer.flat.parameters:
            grad = rng.standard_normal(parameter.data.shape)
            parameter.add_grad(grad)
            rate = {id(bias): 4.0, id(head): 0.5, id(fixed): 0.0}.get(id(parameter))
            weight = expected[id(parameter)]
            if rate == 0:
                continue
            grad = grad if rate is None else grad + 0.02 / rate * weight
            momentum = 0.6 if rate is None else 0.85
            velocity = velocities[id(parameter)] = momentum * velocities[id(parameter)] + grad
            step = grad + momentum * velocity
            if rate is None:
                norm = np.sqrt((weight**2).sum())
                expected[id(parameter)] = weight * np.sqrt(weight.shape[1]) / norm - lr * orthogonal(step)
            else:
                expected[id(parameter)] = weight - lr * rate * step
        optimizer.step(lr)
    for parameter in optimizer.flat.parameters:
        np.testing.assert_allclose(parameter.data, expected[id(parameter)], rtol=1e-10, atol=1e-12)


def test_the_number_of_threads_changes_nothing():
    before, results = workers().count, []
    for count in (1, 2, 3):
        set_threads(count)
        results.append(steps(made()[0], 3))
    set_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert results[0].dtype == np.float32


def test_the_number_of_threads_may_change_on_the_way():
    before = workers().count
    steady, changing = made()[0], made()[0]
    for count, seed in ((1, 1), (3, 2), (2, 3)):
        set_threads(count)
        steps(changing, 1, seed=seed)
    set_threads(1)
    for seed in (1, 2, 3):
        steps(steady, 1, seed=seed)
    set_threads(before)
    np.testing.assert_array_equal(changing.flat.data, steady.flat.data)


def test_continuing_from_a_state_is_exact():
    whole, other = made()[0], made()[0]
    steps(whole, 3)
    other.flat.data[...] = whole.flat.data
    other.load_state_dict(whole.state_dict())
    np.testing.assert_array_equal(steps(whole, 2, seed=5), steps(other, 2, seed=5))


def test_only_matrices_can_be_turned():
    with pytest.raises(ValueError, match="expected matrices"):
        Muon([Parameter(np.zeros(3, np.float32))])


def test_a_copy_beside_its_parameters_goes_on_as_the_original_does():
    optimizer, matrices, *_ = made(weight_decay=0.02)
    steps(optimizer, 2)
    others, duplicate = copy.deepcopy((matrices, optimizer))
    before = optimizer.flat.data.copy()
    after = steps(duplicate, 2)
    np.testing.assert_array_equal(optimizer.flat.data, before)
    np.testing.assert_array_equal(steps(optimizer, 2), after)
    for parameter, other in zip(matrices, others, strict=True):
        np.testing.assert_array_equal(other.data, parameter.data)


def test_a_matrix_of_zeros_may_learn():
    layer = Linear(3, 2, rng=np.random.default_rng(0), bias=False)
    layer.weight.data[...] = 0
    optimizer = Muon(layer.parameters())
    layer.forward(np.ones((4, 3), np.float32), train=True)
    layer.backward(np.ones((4, 2), np.float32))
    optimizer.step(0.1)
    assert np.isfinite(layer.weight.data).all()
    assert np.any(layer.weight.data)


def test_a_single_number_may_be_among_the_others():
    matrix, scale = Parameter(np.eye(3, dtype=np.float32)), Parameter(np.array(1, np.float32), decay=False)
    optimizer = Muon([matrix], [Group([scale], 1.0)])
    scale.grad[...] = 1
    optimizer.step(0.1)
    assert scale.data < 1
