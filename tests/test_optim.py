"""What optimizers promise beyond PyTorch's figures, which tests/layers compares."""

import copy
import weakref
from functools import partial
from threading import current_thread

import numpy as np
import pytest

from core.fastest import TRIES
from core.layers import Linear
from core.memory import FLOATS
from core.optim import (
    LONGEST_PIECE,
    SGD,
    SWEEP_EVERY,
    Adam,
    AdamW,
    AMSGrad,
    _borders,
    clip_by_norm,
    clip_by_value,
    gradient_norm,
)
from core.params import Parameter, pack
from core.workers import set_threads, workers

MAKERS = {
    "sgd": lambda p: SGD(p, momentum=0.9, weight_decay=0.01),
    "adam": lambda p: Adam(p, weight_decay=0.01),
    "amsgrad": AMSGrad,
    "adamw": lambda p: AdamW(p, weight_decay=0.01),
}


def parameters(seed=0):
    """Two parameters that are cut into several pieces, with and without decay."""
    rng = np.random.default_rng(seed)
    return [
        Parameter(rng.standard_normal(LONGEST_PIECE * 3 + 17, dtype=np.float32)),
        Parameter(rng.standard_normal(LONGEST_PIECE + 5, dtype=np.float32), decay=False),
    ]


def steps(optimizer, count, seed=1):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        for parameter in optimizer.flat.parameters:
            parameter.add_grad(rng.standard_normal(parameter.data.shape, dtype=np.float32))
        optimizer.step(0.01)
    return optimizer.flat.data


def test_sharing_is_tried_for_large_updates_and_never_for_small_ones():
    before, ranks = workers().count, set()
    set_threads(2)

    class Watched(SGD):
        def update(self, piece):
            ranks.add(current_thread().name)
            super().update(piece)

    steps(Watched([Parameter(np.zeros(1000, np.float32))]), 3 * TRIES)
    assert len(ranks) == 1
    steps(Watched(parameters()), 2 * TRIES)
    assert len(ranks) == 2
    set_threads(before)


def test_an_optimizer_nobody_has_any_more_frees_its_memory_at_once():
    optimizer = Adam(parameters())
    steps(optimizer, 2 * TRIES)
    reference = weakref.ref(optimizer)
    del optimizer
    assert reference() is None


@pytest.mark.parametrize("name", MAKERS)
def test_the_number_of_threads_changes_nothing(name):
    before, results = workers().count, []
    for count in (1, 2, 3):
        set_threads(count)
        results.append(steps(MAKERS[name](parameters()), 2 * TRIES + 1).copy())  # one worker's turns, and all workers'
    set_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("name", MAKERS)
def test_continuing_from_a_state_is_exact(name):
    whole = MAKERS[name](parameters())
    steps(whole, 3)
    other = MAKERS[name](parameters())
    other.flat.data[...] = whole.flat.data
    other.load_state_dict(whole.state_dict())
    assert other.steps == 3
    np.testing.assert_array_equal(steps(whole, 2, seed=5), steps(other, 2, seed=5))
    assert other.flat.data.dtype == np.float32


@pytest.mark.parametrize("name", MAKERS)
def test_a_copy_beside_its_parameters_goes_on_as_the_original_does(name):
    own = parameters()
    optimizer = MAKERS[name](own)
    steps(optimizer, 2)
    others, duplicate = copy.deepcopy((own, optimizer))
    before = optimizer.flat.data.copy()
    steps(duplicate, 2)
    np.testing.assert_array_equal(optimizer.flat.data, before)
    np.testing.assert_array_equal(steps(optimizer, 2), duplicate.flat.data)
    for parameter, other in zip(own, others, strict=True):
        np.testing.assert_array_equal(other.data, parameter.data)
    assert not np.array_equal(optimizer.flat.data, before)


def test_a_state_of_another_optimizer_is_refused():
    with pytest.raises(ValueError, match="SGD expected"):
        SGD(parameters()).load_state_dict(Adam(parameters()).state_dict())
    state = Adam(parameters()).state_dict()
    state["first_moment"] = state["first_moment"][:-1]
    with pytest.raises(ValueError, match="first_moment expected shape"):
        Adam(parameters()).load_state_dict(state)


def test_a_step_consumes_the_gradients():
    layer = Linear(3, 2, rng=np.random.default_rng(0))
    optimizer = SGD(layer.parameters())
    layer.weight.add_grad(np.ones((3, 2), np.float32))
    optimizer.step(1.0)
    after = layer.weight.data.copy()
    optimizer.step(1.0)
    np.testing.assert_array_equal(layer.weight.data, after)


def test_data_may_be_written_to():
    layer = Linear(3, 2, rng=np.random.default_rng(0))
    optimizer = SGD(layer.parameters())
    layer.weight.data[...] = 1
    layer.weight.data += 1
    layer.weight.add_grad(np.ones((3, 2), np.float32))
    optimizer.step(0.5)
    np.testing.assert_array_equal(layer.weight.data, 1.5)


def test_weights_of_several_dtypes_cannot_lie_side_by_side():
    rng = np.random.default_rng(0)
    layers = [Linear(3, 2, rng=rng, dtype=np.float64), Linear(3, 2, rng=rng)]
    with pytest.raises(TypeError, match="parameters of one dtype, got float32 and float64"):
        SGD(parameter for layer in layers for parameter in layer.parameters())


def move(layer):
    layer.to(dtype=np.float64)


def have_another_optimizer(layer):
    SGD([layer.weight])


def replace_data(layer):
    layer.weight.data = layer.weight.data.copy()


@pytest.mark.parametrize("meanwhile", [move, have_another_optimizer, replace_data])
def test_an_optimizer_that_has_lost_its_weights_says_so(meanwhile):
    layer = Linear(3, 2, rng=np.random.default_rng(0))
    optimizer = Adam(layer.parameters())
    optimizer.step(0.1)
    meanwhile(layer)
    with pytest.raises(RuntimeError, match="Adam no longer has all of its weights"):
        optimizer.step(0.1)
    before = layer.weight.data.copy()
    layer.weight.add_grad(np.ones_like(before))
    Adam(layer.parameters()).step(0.1)  # in new buffers
    assert np.all(layer.weight.data < before)


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_weight_decay_may_begin_late(kind):
    results = []
    for first in (0.0, 0.5):
        optimizer = kind(parameters(), weight_decay=first)
        optimizer.weight_decay = 0.0
        steps(optimizer, 1)
        optimizer.weight_decay = 0.5
        results.append(steps(optimizer, 1).copy())
    np.testing.assert_array_equal(*results)
    never = kind(parameters(), weight_decay=0.0)
    steps(never, 1)
    assert np.abs(results[0] - steps(never, 1)).max() > 1e-3


def after_the_gradient_has_vanished(kind, count):
    """An optimizer after one step with a gradient and many without."""
    optimizer = kind([Parameter(np.linspace(-1, 1, 1001, dtype=np.float32))])
    steps(optimizer, 1)
    for _ in range(count - 1):
        optimizer.step(0.01)
    return optimizer


def subnormal(array):
    return (array != 0) & (np.abs(array) < np.finfo(array.dtype).tiny)


@pytest.mark.parametrize("kind", [partial(SGD, momentum=0.9), Adam, AMSGrad, AdamW])
def test_moments_never_become_subnormal_and_nothing_changes_by_it(kind, monkeypatch):
    count = 9 * SWEEP_EVERY  # 0.9 ** 900 is 1e-41
    swept = after_the_gradient_has_vanished(kind, count)
    monkeypatch.setattr("core.optim.SWEEP_EVERY", count + 1)
    unswept = after_the_gradient_has_vanished(kind, count)
    assert any(subnormal(slot).any() for slot in unswept.state.values())
    assert not any(subnormal(slot).any() for slot in swept.state.values())
    np.testing.assert_array_equal(swept.flat.data, unswept.flat.data)


def test_a_small_eps_and_float16_are_swept_of_nothing():
    """With them, a second moment of 1e-36 has an effect, and half of all numbers of float16 are below 1."""
    data = {kind: np.ones(3, kind) for kind in (np.float32, np.float16)}
    exact = Adam([Parameter(data[np.float32])], eps=0.0)
    half = SGD([Parameter(data[np.float16])], momentum=0.9)
    for _ in range(SWEEP_EVERY):
        exact.flat.parameters[0].grad[...] = 1e-18
        half.flat.parameters[0].grad[...] = 1
        exact.step(0.01)
        half.step(0.0)
    np.testing.assert_allclose(exact.flat.data, 1 - 0.01 * SWEEP_EVERY, atol=1e-3)
    assert (exact.state["second_moment"] > 0).all()
    np.testing.assert_allclose(half.state["velocity"], 10, rtol=0.01)


def test_parameters_may_be_empty():
    optimizer = Adam([Parameter(np.zeros((0, 3), np.float32))])
    optimizer.step(0.1)
    assert optimizer.flat.data.size == 0


def test_clipping_by_value():
    parameter = Parameter(np.zeros(3, np.float32))
    parameter.add_grad(np.array([-5, 0.25, 5], np.float32))
    clip_by_value(pack([parameter]), 1.0)
    np.testing.assert_array_equal(parameter.grad, [-1, 0.25, 1])


def test_clipping_by_norm():
    parameters = [Parameter(np.zeros(1)), Parameter(np.zeros(1), decay=False)]
    flat = pack(parameters)
    for parameter, value in zip(parameters, (3.0, 4.0), strict=True):
        parameter.add_grad(np.array([value]))
    assert clip_by_norm(flat, 10.0) == pytest.approx(5)
    np.testing.assert_array_equal(flat.grad, [3, 4])
    assert clip_by_norm(flat, 1.0) == pytest.approx(5)
    assert gradient_norm(flat) == pytest.approx(1)


def test_adamw_decays_weights_unless_told_otherwise():
    optimizers = AdamW(parameters()), AdamW(parameters(), weight_decay=0.0), Adam(parameters())
    decayed, kept, plain = (steps(optimizer, 1) for optimizer in optimizers)
    np.testing.assert_array_equal(kept, plain)
    weights = parameters()[0].data
    np.testing.assert_allclose((decayed - kept)[: weights.size], -0.01 * 0.01 * weights, atol=2e-6)  # lr * decay * w


def test_nesterovs_form_needs_a_momentum():
    with pytest.raises(ValueError, match="momentum above 0 for nesterov"):
        SGD(parameters(), nesterov=True)


def test_an_optimizer_takes_parameters_and_no_arrays():
    with pytest.raises(TypeError, match=r"expected parameters, such as layer.parameters\(\) has them, got ndarray"):
        Adam([parameter.data for parameter in parameters()])


def test_an_optimizer_needs_parameters():
    with pytest.raises(ValueError, match="at least one parameter"):
        Adam([])


@pytest.mark.parametrize(("start", "stop", "count"), [(0, 100, 3), (5, 37, 4), (5, 20, 2), (64, 64, 0), (0, 7, 1)])
def test_pieces_are_whole_cache_lines_but_at_the_ends(start, stop, count):
    borders = _borders(start, stop, count)
    assert borders == sorted(borders)
    assert (borders[0], borders[-1]) == (start, stop)
    assert len(borders) == max(count, 1) + 1
    assert all(border % FLOATS == 0 or border == start for border in borders[:-1])
