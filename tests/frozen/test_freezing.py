"""A frozen network answers as the one that it was made from, learns nothing, and does what it can only once."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from to_freeze import BUILDERS, distance, images, recurrent, residual, trained

from core.frozen import freeze
from core.frozen.freezing import ScaleShift
from core.gradcheck import gradcheck, layer_cases
from core.layers import (
    GRU,
    LSTM,
    RNN,
    BatchNorm,
    Conv2d,
    ConvPool,
    ConvReLUPool,
    Dropout,
    Linear,
    Parallel,
    Residual,
    Sequences,
    Sequential,
    Tanh,
)
from core.layers.recurrent_cells import _project_together as project_together
from core.memory import is_constant
from core.ops.cpu import conv_phases, conv_windows, winograd
from core.ops.cpu.conv import add_to_rows
from core.optim import SGD
from core.params import Constant
from core.predict import predict
from core.workers import Workers, set_threads, workers

DTYPES = {np.float64: 1e-12, np.float32: 2e-5}  # how far answers may be apart, relative to the largest
ROWS = (1, 3, 40, 37)  # the last one is a prime number, so that chunks leave a rest


@pytest.fixture(autouse=True)
def many_chunks_of_small_images(monkeypatch):
    monkeypatch.setattr(winograd, "FEWEST_TILES_OF_CONSTANTS", 1)
    monkeypatch.setattr(winograd, "PLANE", 140)
    monkeypatch.setattr(winograd, "TILES_AT_ONCE", 1)
    monkeypatch.setattr(winograd, "MULTIPLICATIONS_AT_ONCE", 1)
    monkeypatch.setattr(conv_phases, "WINDOWS_SIZE", 2000)
    monkeypatch.setattr(conv_windows, "ROWS_SIZE", 2000)


def test_a_layer_with_two_places_takes_in_only_the_norm_that_follows_it():
    class Both(Residual):
        def forward(self, x, train=False):
            return self.shortcut.forward(self.body.forward(x, train), train)

    rng = np.random.default_rng(0)
    twice, norm = Linear(6, 6, rng=rng, dtype=np.float64), BatchNorm(6, dtype=np.float64)
    norm.running_mean[...], norm.running_var[...] = rng.standard_normal(6), 2.0
    network, x = Both(Sequential(twice, Tanh())), rng.standard_normal((5, 6))
    network.shortcut = Sequential(twice, norm)
    frozen = freeze(network)
    assert not any(isinstance(layer, ScaleShift) for _, layer in frozen.walk())
    assert distance(frozen.forward(x), network.forward(x)) < 1e-12


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("build", BUILDERS)
def test_the_answers_are_the_same_but_for_rounding(build, dtype):
    network = trained(build, dtype)
    frozen = freeze(network)
    for rows in (*ROWS, *ROWS):  # the second time around, what has been derived is there already
        x = images(rows, dtype)
        assert distance(frozen.forward(x), network.forward(x)) < DTYPES[dtype]
        assert distance(frozen.forward(x, train=True), network.forward(x)) < DTYPES[dtype]


@pytest.mark.parametrize("name", [name for name, _, _ in layer_cases(np.random.default_rng(0))])
def test_every_layer_can_be_frozen(name):
    layer, x = next((layer, x) for other, layer, x in layer_cases(np.random.default_rng(0)) if other == name)
    layer.forward(x, train=True)  # moves statistics
    layer.remember(False)
    expected = np.array(layer.forward(x))
    np.testing.assert_allclose(freeze(layer).forward(x), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("build", BUILDERS)
def test_workers_share_what_is_frozen(build):
    network = trained(build)
    frozen = freeze(network)
    parallel = Parallel(frozen, Workers(2))
    assert distance(parallel.forward(images(40)), network.forward(images(40))) < 1e-12
    for (name, one), (_, other) in zip(*(replica.named_parameters() for replica in parallel.replicas), strict=True):
        assert one is other, name
    assert distance(freeze(Parallel(network, Workers(2))).forward(images(3)), network.forward(images(3))) < 1e-12


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_answers_for_itself(duplicate, build):
    """It neither looks at the memory of the original nor keeps its last answer."""
    network = trained(build)
    frozen = freeze(network)
    for _ in range(6):
        frozen.forward(images(1))
    twin = duplicate(frozen)
    for rows in (1, 2, 1, 1, 1, 1, 1):
        x = np.random.default_rng(rows).standard_normal((rows, 4, 4, 3))
        assert distance(twin.forward(x), network.forward(x)) < 1e-12
    assert all(is_constant(parameter.data) for _, parameter in twin.named_parameters())


@pytest.mark.parametrize("build", BUILDERS)
def test_each_thread_has_a_replica(build):
    frozen, inputs = freeze(trained(build)), [images(rows) for rows in ROWS]
    expected = [predict(frozen, x) for x in inputs]

    def largest_distance(network):
        pairs = zip(10 * inputs, 10 * expected, strict=True)
        return max(distance(network.forward(x), y) for x, y in pairs)

    with ThreadPoolExecutor() as threads:
        assert max(threads.map(largest_distance, [frozen, frozen.replica(), frozen.replica()])) < 1e-12


@pytest.mark.parametrize("build", [b for b in BUILDERS if b is not recurrent])
def test_backward_gives_the_gradient_of_the_input(build):
    assert gradcheck(freeze(trained(build)), images(3), np.random.default_rng(1)) < 1e-6


def test_nothing_is_left_that_only_training_needs():
    for build in BUILDERS:
        frozen = freeze(trained(build))
        assert not [layer for _, layer in frozen.walk() if isinstance(layer, BatchNorm)]
        assert not [layer for _, layer in frozen.walk() if isinstance(layer, Dropout) and layer.rate]
        assert all(isinstance(parameter, Constant) for _, parameter in frozen.named_parameters())
    left = [type(layer) for _, layer in freeze(trained(residual)).walk() if isinstance(layer, Conv2d | ScaleShift)]
    assert left == [Conv2d, ConvPool, ScaleShift, Conv2d, Conv2d, Conv2d]  # after pooling a scale may not be folded in


def test_training_goes_on_without_it_and_it_cannot_be_trained():
    network = trained(residual)
    frozen, x = freeze(network), images(3)
    before = frozen.forward(x).copy()
    for parameter in network.parameters():
        parameter.data[...] += 1
    np.testing.assert_array_equal(frozen.forward(x), before)
    assert frozen.parameters() == []
    with pytest.raises(ValueError, match="at least one parameter"):
        SGD(frozen.parameters())
    weight = next(parameter for _, parameter in frozen.named_parameters())
    with pytest.raises(ValueError, match="read-only"):
        weight.data[...] = 0
    with pytest.raises(RuntimeError, match="no gradients"):
        _ = weight.grad
    np.testing.assert_array_equal(freeze(frozen).forward(x), before)
    moved = freeze(network).to(dtype=np.float32)
    assert moved.forward(x.astype(np.float32)).dtype == np.float32
    assert moved.parameters() == []


def test_a_constant_kernel_is_transformed_once_and_any_other_at_every_call(monkeypatch):
    calls = []
    transform = winograd._transform_kernel
    monkeypatch.setattr(winograd, "_transform_kernel", lambda *args: calls.append(args) or transform(*args))
    monkeypatch.setattr(winograd, "FEWEST_TILES", 1)
    layer = Conv2d(8, 9, 3, padding=1, rng=np.random.default_rng(0), dtype=np.float64)
    frozen, x = freeze(layer), np.random.default_rng(1).standard_normal((1, 8, 8, 8))
    for _ in range(3):
        np.testing.assert_allclose(frozen.forward(x), layer.forward(x), rtol=1e-9, atol=1e-12)
    assert len(calls) == 3 + 1
    before = layer.forward(x).copy()
    layer.weight.data *= 2  # in place, as optimizers do
    np.testing.assert_allclose(layer.forward(x), 2 * before)
    frozen.network.weight = Constant(3 * frozen.network.weight.data)
    np.testing.assert_allclose(frozen.forward(x), 3 * before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smallest", [1, 1 << 16])  # C * K, for small tiles
@pytest.mark.parametrize("kind", [Conv2d, ConvReLUPool])
def test_winograd_adds_a_constant_bias_for_a_few_images(kind, smallest, dtype, monkeypatch):
    monkeypatch.setattr(winograd, "LEAST_KERNEL_OF_SMALL_TILES", smallest)
    rng = np.random.default_rng(0)
    layer = kind(8, 12, 3, padding=1, rng=rng, dtype=dtype)
    layer.bias.data[:] = rng.normal(size=12)
    frozen, without = freeze(layer).network, freeze(layer).network
    without.bias = Constant(np.zeros(12, dtype))
    added = []
    monkeypatch.setattr("core.ops.cpu.conv.add_to_rows", lambda y, bias: added.append(bias) or add_to_rows(y, bias))
    monkeypatch.setattr("core.ops.cpu.conv_block.add_to_rows", add_to_rows)
    for N in (1, 3, 5, 1):
        x = rng.standard_normal((N, 8, 6, 8)).astype(dtype)
        for train in (False, True, False):
            answer = frozen.forward(x, train).copy()
            assert distance(answer, layer.forward(x)) < DTYPES[dtype]
            if train:
                frozen.backward(answer)
        assert distance(without.forward(x), answer) > 0.01
    assert sum(map(is_constant, added)) == (0 if kind is ConvReLUPool else 4)  # for five images, which are not few


@pytest.mark.parametrize("build", BUILDERS)
def test_freezing_twice_shares_the_constants_and_nothing_that_is_written(build):
    once = freeze(trained(build))
    twice, x = freeze(once), images(1)
    for (name, one), (_, other) in zip(once.named_parameters(), twice.named_parameters(), strict=True):
        assert one is other, name
    before = once.forward(x)
    kept = before.copy()
    np.testing.assert_array_equal(twice.forward(x), kept)
    twice.forward(-x)
    np.testing.assert_array_equal(before, kept)


@pytest.mark.parametrize("kind", [RNN, GRU, LSTM])
@pytest.mark.parametrize("lengths", [[9], [5, 9, 1]], ids=["one sequence", "three sequences"])
def test_constant_weights_of_all_gates_are_one_product(kind, lengths, monkeypatch):
    together = []
    monkeypatch.setattr(
        "core.layers.recurrent_cells._project_together", lambda *args: together.append(project_together(*args))
    )
    rng, before = np.random.default_rng(0), workers().count
    layer = kind(3, 4, num_layers=2, bidirectional=True, rng=rng, dtype=np.float64)
    for parameter in layer.parameters():
        parameter.data[...] = rng.normal(size=parameter.data.shape)
    x = Sequences.pack(rng.standard_normal((sum(lengths), 3)), lengths)
    set_threads(1)
    expected = layer.forward(x).rows.copy()
    frozen = freeze(layer)
    np.testing.assert_allclose(frozen.forward(x).rows, expected, atol=1e-12)
    assert not together
    set_threads(2)
    for _ in range(2):
        np.testing.assert_allclose(frozen.forward(x).rows, expected, atol=1e-12)
    assert len(together) == 4
    np.testing.assert_allclose(layer.forward(x).rows, expected, atol=1e-12)
    assert len(together) == 4
    set_threads(before)
