"""One row goes through the last layers of a frozen network in a few calls, which know the parameters by heart."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from to_freeze import convolutional, distance, images, multi, perceptron, trained

from core.frozen import freeze, replay
from core.frozen.one_row import OneRowAtOnce
from core.frozen.replay import WORTH_WRITING_DOWN, write_down
from core.layers import Flatten, LeakyReLU, Linear, ReLU, Sequential
from core.memory import constant
from core.params import Constant
from core.predict import predict

pytestmark = pytest.mark.usefixtures("two_workers")


def test_one_row_goes_the_short_way_and_everything_else_the_usual_one(monkeypatch):
    frozen = freeze(trained(perceptron, np.float32))
    assert isinstance(frozen, OneRowAtOnce)
    first, second = images(2, np.float32)[:, None]
    answer = frozen.forward(first).copy()
    assert distance(frozen.forward(second), answer) > 0.1  # nothing is left of the first row
    np.testing.assert_array_equal(frozen.forward(first), answer)
    usual = []
    monkeypatch.setattr(Linear, "forward", lambda self, x, train=False: usual.append((len(x), x.dtype, train)) or x)
    frozen.forward(first)
    assert not usual
    frozen.forward(images(2, np.float32))
    frozen.forward(first.astype(np.float64))
    frozen.forward(first, train=True)
    assert usual[::2] == [(2, np.float32, False), (1, np.float64, False), (1, np.float32, True)]
    monkeypatch.undo()
    with pytest.raises(ValueError, match="expected"):
        frozen.forward(np.zeros((1, 5), np.float32))


def test_the_short_way_begins_at_the_first_of_the_last_layers_that_can_take_it():
    linear, other = (Linear(4, 4, rng=np.random.default_rng(0)) for _ in range(2))
    assert OneRowAtOnce.suits([Flatten(), linear, ReLU(), other])
    assert not OneRowAtOnce.suits([])
    assert not OneRowAtOnce.suits([Flatten()])
    assert not OneRowAtOnce.suits([linear, LeakyReLU()])
    layers = {"a": linear, "b": LeakyReLU(), "c": ReLU(), "d": Flatten(), "e": other, "f": ReLU()}
    assert OneRowAtOnce(**layers).before == [linear, layers["b"], layers["c"]]
    layers = {"a": Flatten(), "b": ReLU(), "c": Flatten(), "d": linear, "e": ReLU(), "f": other}
    assert OneRowAtOnce(**layers).before == [layers["a"], layers["b"]]
    x = np.linspace(-1, 1, 4, dtype=np.float32).reshape(1, 2, 2)
    network = Sequential(Flatten(), ReLU(), Flatten(), linear)
    assert distance(freeze(network).forward(x), network.forward(x)) < 1e-6


@pytest.mark.parametrize("shape", [(1, 4, 12), (1, 48, 1), (1, 47), (1, 1, 48), (1, 1, 1, 48)])
def test_a_row_of_another_shape_is_for_the_layers_to_judge(shape):
    network = Sequential(Linear(48, 5, rng=np.random.default_rng(0)))
    frozen = freeze(network)
    frozen.forward(np.zeros((1, 48), np.float32))
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    if shape[-1] != 48:
        with pytest.raises(ValueError, match="expected"):
            frozen.forward(x)
    else:
        answer = frozen.forward(x)
        assert answer.shape == (*shape[:-1], 5)
        assert distance(answer, network.forward(x)) < 1e-6


@pytest.mark.parametrize("build", [perceptron, convolutional])
def test_a_whole_network_replays_many_rows_itself(build, monkeypatch):
    network, written = trained(build, np.float32), []
    monkeypatch.setattr(replay, "write_down", lambda *args: written.append(args[1].shape) or write_down(*args))
    frozen = freeze(network)
    for duplicate in (frozen, copy.deepcopy(frozen), freeze(frozen)):
        written.clear()
        for seed in range(2 * WORTH_WRITING_DOWN):
            x = np.random.default_rng(seed).standard_normal((5, 4, 4, 3)).astype(np.float32)
            assert distance(duplicate.forward(x), network.forward(x)) < 2e-5
        assert written == [x.shape]
    answer = frozen.forward(x, train=True)
    assert frozen.backward(answer).shape == x.shape


@pytest.mark.parametrize("change", ["weight", "data", "bias"])
@pytest.mark.parametrize("place", [0, 1])
def test_the_short_way_notices_other_parameters_of_any_layer(place, change):
    frozen, x = freeze(trained(convolutional)), images(1)
    dense = frozen.network._linear
    assert len(dense) == 2
    before = frozen.network.forward(x).copy()
    layer = dense[place]
    if change == "bias":
        layer.bias = Constant(layer.bias.data + 1)
    elif change == "data":
        layer.weight.data = constant(2 * layer.weight.data)
    else:
        layer.weight = Constant(2 * layer.weight.data)
    both = np.concatenate([x, x])
    expected = frozen.network.forward(both)[:1].copy()  # two images go the usual way
    assert distance(expected, before) > 0.01
    assert distance(frozen.network.forward(x), expected) < 1e-12


def test_a_bias_that_is_given_to_a_layer_without_one_is_noticed():
    network, (x, *_) = multi(48, 5, bias=False)
    frozen = freeze(network)
    before = frozen.forward(x).copy()
    linear_layer = next(layer for _, layer in frozen.walk() if isinstance(layer, Linear))
    linear_layer.bias = Constant(np.ones(5, np.float32), decay=False)
    assert distance(frozen.forward(x), before + 1) < 1e-6
    linear_layer.bias = None
    assert distance(frozen.forward(x), before) < 1e-6


def test_a_bias_that_is_taken_away_is_noticed():
    network, (x, *_) = multi(48, 5)
    frozen = freeze(network)
    before = frozen.forward(x).copy()
    linear_layer = next(layer for _, layer in frozen.walk() if isinstance(layer, Linear))
    bias, linear_layer.bias = linear_layer.bias, None
    assert distance(frozen.forward(x), before - bias.data) < 1e-5


def test_a_type_is_known_by_what_it_is(monkeypatch):
    """Arrays that come from another process have a dtype object of their own."""
    network, inputs = multi(48, 5)
    frozen, laid_out = freeze(network), []
    lay_out = OneRowAtOnce._lay_out
    monkeypatch.setattr(OneRowAtOnce, "_lay_out", lambda *args: laid_out.append(1) or lay_out(*args))
    for x in inputs:
        frozen.forward(pickle.loads(pickle.dumps(x)))
        frozen.forward(x)
    assert laid_out == [1]


def test_the_answers_of_one_row_are_kept_apart_by_copies():
    """Each call overwrites the answer of the one before, as every layer may: `core.predict` copies."""
    frozen = freeze(trained(perceptron, np.float32))
    one, other = frozen.forward(images(1, np.float32)), frozen.forward(images(1, np.float32))
    assert np.shares_memory(one, other)
    one, other = (predict(frozen, images(1, np.float32)) for _ in range(2))
    assert not np.shares_memory(one, other)


def test_moving_a_frozen_network_takes_the_short_way_along():
    frozen, x = freeze(trained(perceptron, np.float32)), images(1, np.float32)
    before = frozen.forward(x).copy()
    frozen.to(dtype=np.float64)
    assert distance(frozen.forward(x.astype(np.float64)), before.astype(np.float64)) < 1e-5
    for parameter in (layer.weight for _, layer in frozen.walk() if isinstance(layer, Linear)):
        parameter.data = 2 * parameter.data
        parameter.data.setflags(write=False)
    assert distance(frozen.forward(x.astype(np.float64)), before.astype(np.float64)) > 0.1
