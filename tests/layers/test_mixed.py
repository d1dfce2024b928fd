"""Mixed precision: float16 within, true float32 gradients outside, and a scale that finds its place."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from core import layers
from core.backend import to_cpu, to_device
from core.kernels import shim
from core.kernels.emulated import emulated_gpu
from core.layers import MixedPrecision
from core.layers.mixed import FIRST_SCALE, STEPS_TO_GROW, LossScale
from core.optim import SGD

needs_compiler = pytest.mark.skipif(shim.compiler() is None, reason="kernels run on the CPU only with g++ or clang++")


# -- the loss scale -------------------------------------------------------------------------------------------------


def test_an_overflow_halves_the_scale():
    scale = LossScale()
    assert scale.value == 2**16
    for _ in range(3):
        scale.update(overflowed=True)
    assert scale.value == 2**13


def test_the_scale_doubles_after_enough_good_steps_in_a_row():
    scale = LossScale()
    for _ in range(STEPS_TO_GROW - 1):
        scale.update(overflowed=False)
    assert scale.value == FIRST_SCALE
    scale.update(overflowed=False)
    assert (scale.value, scale.good_steps) == (2 * FIRST_SCALE, 0)
    for _ in range(STEPS_TO_GROW - 1):
        scale.update(overflowed=False)
    scale.update(overflowed=True)  # one step short, and it has to begin again
    scale.update(overflowed=False)
    assert (scale.value, scale.good_steps) == (FIRST_SCALE, 1)


def test_without_a_factor_an_overflow_is_no_matter_of_the_scale():
    scale = LossScale()
    while scale.value > 1:
        assert scale.helps
        scale.update(overflowed=True)
    assert scale.helps
    scale.update(overflowed=True)
    assert not scale.helps


def test_the_scale_goes_on_from_its_state():
    scale, other = LossScale(), LossScale()
    scale.update(overflowed=True)
    scale.update(overflowed=False)
    other.load_state_dict(scale.state_dict())
    assert vars(other) == vars(scale) == {"value": FIRST_SCALE / 2, "good_steps": 1}


# -- the layer ------------------------------------------------------------------------------------------------------


def smooth_network(dtype=np.float32):
    """Without kinks, at which a rounding may send the whole gradient another way."""
    rng = np.random.default_rng(0)
    body = layers.Sequential(layers.Conv2d(6, 6, 3, rng=rng, padding=1, dtype=dtype), layers.GELU())
    return layers.Sequential(
        layers.Conv2d(3, 6, 3, rng=rng, padding=1, bias=False, dtype=dtype),
        layers.BatchNorm(6, dtype=dtype),
        layers.GELU("tanh"),
        layers.AvgPool2d(2),
        layers.Residual(body),
        layers.Conv2d(6, 5, 1, rng=rng, dtype=dtype),
        layers.GlobalAvgPool(),
        layers.Linear(5, 4, rng=rng, dtype=dtype),
    )


@pytest.fixture
def gpu():
    with emulated_gpu() as device:
        yield device


@pytest.fixture
def batch(gpu):
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((20, 8, 8, 3), np.float32), rng.standard_normal((20, 4), np.float32) / 20
    return to_device(x, "gpu"), to_device(dy, "gpu")


def both():
    """The same network in float32 and in mixed precision."""
    return smooth_network().to("gpu"), MixedPrecision(smooth_network().to("gpu"))


def gradients(model, x, dy):
    """dx and the gradients of all parameters, from zero."""
    for parameter in model.parameters():
        parameter.zero_grad()
    model.forward(x, train=True)
    dx = model.backward(dy)
    return [to_cpu(array).copy() for array in (dx, *(parameter.grad for parameter in model.parameters()))]


def distance(ours, expected):
    return np.linalg.norm(ours - expected) / np.linalg.norm(expected)


@needs_compiler
def test_gradients_are_those_of_float32_but_for_rounding(batch):
    plain, mixed = both()
    for ours, expected in zip(gradients(mixed, *batch), gradients(plain, *batch), strict=True):
        assert ours.dtype == np.float32
        assert distance(ours, expected) < 4e-3
    assert not mixed.overflowed()


@needs_compiler
def test_what_is_between_the_layers_is_float16_and_the_rest_float32(batch, monkeypatch):
    _, mixed = both()
    seen = {}
    for name, layer in mixed.walk():
        if layer.parameters() and not list(layer.children()):
            forward = layer.forward
            monkeypatch.setattr(
                layer, "forward", lambda x, train, name=name, forward=forward: seen.setdefault(name, forward(x, train))
            )
    y = mixed.forward(batch[0], train=True)
    assert y.dtype == np.float32
    assert len(seen) == 5
    assert {array.dtype.name for array in seen.values()} == {"float16"}
    assert {parameter.data.dtype.name for parameter in mixed.parameters()} == {"float32"}
    assert {array.dtype.name for array in mixed.state_dict().values()} == {"float32"}
    assert mixed.state_dict().keys() == smooth_network().state_dict().keys()


@needs_compiler
def test_outside_of_training_it_is_as_if_it_were_not_there(batch):
    plain, mixed = both()
    np.testing.assert_array_equal(to_cpu(mixed.forward(batch[0])), to_cpu(plain.forward(batch[0])))


@needs_compiler
def test_new_weights_are_seen_at_once(batch):
    plain, mixed = both()
    mixed.forward(batch[0], train=True)
    for parameter in (*plain.parameters(), *mixed.parameters()):
        parameter.data[...] *= 1.5
    y, expected = (to_cpu(model.forward(batch[0], train=True)) for model in (mixed, plain))
    assert distance(y, expected) < 2e-3


@needs_compiler
def test_a_copy_goes_on_by_itself_from_the_same_scale(batch):
    _, mixed = both()
    mixed.scale.update(overflowed=True)
    expected = gradients(mixed, *batch)
    duplicate = copy.deepcopy(mixed)
    assert vars(duplicate.scale) == vars(mixed.scale)
    assert duplicate.scale is not mixed.scale
    for parameter in mixed.parameters():
        parameter.data[...] *= 1.5
    for gradient, other in zip(gradients(duplicate, *batch), expected, strict=True):
        np.testing.assert_array_equal(gradient, other)
    for parameter in duplicate.parameters():
        parameter.data[...] *= 1.5
    y, expected = (to_cpu(model.forward(batch[0], train=True)) for model in (duplicate, mixed))
    np.testing.assert_array_equal(y, expected)


@needs_compiler
def test_gradients_that_float16_cannot_hold_survive(batch):
    plain, mixed = both()
    x, dy = batch
    tiny = dy * np.float32(1e-7)  # most of it rounds to 0 in float16
    ours, expected = gradients(mixed, x, tiny), gradients(plain, x, tiny)
    assert distance(ours[-2], expected[-2]) < 4e-3
    mixed.scale.value = 1.0
    assert distance(gradients(mixed, x, tiny)[-2], expected[-2]) > 0.1


@needs_compiler
def test_parts_of_a_batch_add_up(batch):
    plain, mixed = both()
    x, dy = batch
    sums = []
    for model in (mixed, plain):
        gradients(model, x[:12].copy(), dy[:12].copy())
        model.forward(x[12:].copy(), train=True)
        model.backward(dy[12:].copy())
        sums.append(np.concatenate([to_cpu(parameter.grad).ravel() for parameter in model.parameters()]))
    assert distance(*sums) < 4e-3


@needs_compiler
@pytest.mark.parametrize("bad", [1e6, np.nan, np.inf])
def test_an_overflow_is_noticed_once_and_forgotten(batch, bad):
    _, mixed = both()
    x, dy = batch
    gradients(mixed, x, dy * np.float32(bad))
    assert mixed.overflowed()
    assert mixed.scale.value == FIRST_SCALE / 2
    gradients(mixed, x, dy)
    assert not mixed.overflowed()
    assert (mixed.scale.value, mixed.scale.good_steps) == (FIRST_SCALE / 2, 1)


@needs_compiler
def test_nothing_waits_or_is_sent_but_the_one_look(gpu, batch):
    _, mixed = both()
    gradients(mixed, *batch)
    waits, sent = gpu.waits, gpu.uploads
    with gpu.forbid_waiting():
        mixed.forward(batch[0], train=True)
        mixed.backward(batch[1])
    assert gpu.waits == waits
    mixed.overflowed()
    assert (gpu.waits, gpu.uploads) == (waits + 1, sent)


def test_weights_that_have_moved_away_are_noticed(batch):
    _, mixed = both()
    SGD(mixed.parameters()[:1])
    with pytest.raises(RuntimeError, match="MixedPrecision no longer has all of its weights"):
        mixed.forward(batch[0], train=True)


def test_it_is_for_float32_on_a_gpu():
    with pytest.raises(ValueError, match="expected a float32 network on a GPU, got float32 on the cpu"):
        MixedPrecision(smooth_network())
    with emulated_gpu(), pytest.raises(ValueError, match="got float64 on the gpu"):
        MixedPrecision(smooth_network(np.float64).to("gpu"))
