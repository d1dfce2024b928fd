"""Whole layers and networks on the GPU's path, on the CPU: right gradients, the same training, and no waiting."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

from core import layers
from core.backend import to_cpu, to_device
from core.frozen import freeze
from core.gradcheck import layer_cases
from core.kernels import shim
from core.kernels.emulated import EmulatedArray, EmulatedGPU, emulated_gpu
from core.layers import Layer, Sequences
from core.losses import accuracy, focal_loss, softmax_cross_entropy
from core.ops.gpu import dropout_forward
from core.optim import SGD, AdamW, AMSGrad, clip_by_norm
from core.random import Draws, Stream
from core.training.history import Tally
from scripts.gpu.gradients import gradient_error
from scripts.gpu_check import TOLERANCE

pytestmark = pytest.mark.skipif(shim.compiler() is None, reason="kernels run on the CPU only with g++ or clang++")

LAYERS = {name: (layer, x) for name, layer, x in layer_cases(np.random.default_rng(0))}


def both_verbs(layer: Layer, x, weights) -> tuple[np.ndarray, list[np.ndarray]]:
    """The output of a training forward, and all gradients."""
    for parameter in layer.parameters():
        parameter.zero_grad()
    y = np.array(to_cpu(layer.forward(x, train=True)))
    dx = layer.backward(weights)
    return y, [np.array(to_cpu(dx)), *(np.array(to_cpu(p.grad)) for p in layer.parameters())]


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_does_on_a_gpu_what_it_does_on_a_cpu(name):
    layer, x = LAYERS[name]
    layer = layer.replica()  # with workspaces of its own
    weights = np.random.default_rng(2).standard_normal(layer.forward(x, train=True).shape)
    expected, gradients = both_verbs(layer, x, weights)
    with emulated_gpu():
        there = layer.replica().to("gpu")
        found, found_gradients = both_verbs(there, to_device(x, "gpu"), to_device(weights, "gpu"))
        assert isinstance(there.forward(to_device(x, "gpu")), EmulatedArray)
        evaluated = to_cpu(there.forward(to_device(x, "gpu")))
        layer.load_state_dict(there.state_dict())  # running statistics have moved
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(evaluated, layer.forward(x), rtol=1e-10, atol=1e-12)
    for one, other in zip(found_gradients, gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_right_by_central_differences(name):
    with emulated_gpu():
        assert gradient_error(*LAYERS[name]) < TOLERANCE


LOSSES = {
    "cross-entropy": softmax_cross_entropy,
    "smoothed": lambda z, labels: softmax_cross_entropy(z, labels, label_smoothing=0.1, temperature=2.0),
    "focal": focal_loss,
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_agree_without_waiting(name):
    rng = np.random.default_rng(3)
    logits, labels = rng.standard_normal((7, 5)), rng.integers(0, 5, 7)
    expected = LOSSES[name](logits, labels)
    with emulated_gpu() as gpu:
        there = to_device(logits, "gpu"), to_device(labels, "gpu")
        with gpu.forbid_waiting():
            found = LOSSES[name](*there)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(to_cpu(one), other, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("loss", [softmax_cross_entropy, focal_loss])
@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_that_is_no_class_makes_the_loss_not_a_number(loss, label):
    with emulated_gpu() as gpu:
        value, _ = loss(gpu.ones((3, 4)), gpu.array([0, label, 1]))
        assert np.isnan(float(value))


@pytest.mark.parametrize(("dtype", "classes"), [(np.uint8, 300), (np.int8, 200)])
def test_a_focal_loss_takes_labels_of_a_small_type(dtype, classes):
    rng = np.random.default_rng(6)
    logits, labels = rng.standard_normal((5, classes)), rng.integers(0, 100, 5).astype(dtype)
    expected, _ = focal_loss(logits, labels)
    with emulated_gpu():
        found, _ = focal_loss(to_device(logits, "gpu"), to_device(labels, "gpu"))
        assert float(found) == pytest.approx(float(expected))


def test_last_states_are_chosen_on_their_device():
    rng = np.random.default_rng(7)
    sequences = Sequences.pack(rng.standard_normal((7, 2)), [4, 1, 2])
    states = layers.RNN(2, 3, rng=rng, dtype=np.float64).forward(sequences)
    expected = states[np.array([2, 0])].last
    with emulated_gpu():
        np.testing.assert_array_equal(to_cpu(states.to("gpu")[np.array([2, 0])].last), expected)


def test_optimizers_keep_no_memory_that_a_gpu_never_uses():
    with emulated_gpu():
        network = layers.Linear(100, 50, rng=np.random.default_rng(0)).to("gpu")
        (pieces,) = AdamW(network.parameters())._cut(1)
        assert all(piece.scratch.size == 0 for piece in pieces)


def test_losses_take_every_other_label_and_weight():
    rng = np.random.default_rng(4)
    logits, labels, weights = rng.standard_normal((6, 8)), rng.integers(0, 4, 12), rng.uniform(0.5, 1.5, 8)
    expected = softmax_cross_entropy(logits[:, ::2], labels[::2], class_weights=weights[::2])
    share = accuracy(logits[:, ::2], labels[::2])
    with emulated_gpu():
        logits, labels, weights = (to_device(array, "gpu") for array in (logits, labels, weights))
        found = softmax_cross_entropy(logits[:, ::2], labels[::2], class_weights=weights[::2])
        assert float(accuracy(logits[:, ::2], labels[::2])) == share
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(to_cpu(one), other, rtol=1e-12)


@pytest.mark.parametrize("rows", [5, 2])
def test_a_network_that_has_run_on_one_device_runs_on_the_other(rows):
    rng = np.random.default_rng(5)
    network = convolutions(rng, Stream(1))
    x = rng.standard_normal((5, 8, 8, 1))
    expected = network.forward(x.astype(np.float32))
    with emulated_gpu():
        network.to("gpu")
        for part in (x, x[:rows]):
            found = network.forward(to_device(part.astype(np.float32), "gpu"))
            np.testing.assert_allclose(to_cpu(found), expected[: len(part)], rtol=1e-4, atol=1e-5)
    network.to("cpu")
    np.testing.assert_allclose(network.forward(x[:rows].astype(np.float32)), expected[:rows], rtol=1e-4, atol=1e-5)


def test_more_draws_than_the_kernel_can_count_are_refused():
    tiny = np.zeros((1, 1), np.float32)
    draws = Draws(seed=1, salt=1, first_block=0, batch=0, epoch=0, rows=2**29 + 1, width=1)
    with pytest.raises(ValueError, match="at most 536,870,912 blocks of draws, got 536,870,913"):
        dropout_forward(tiny, draws, 0.5, tiny, tiny)


def perceptron(rng: np.random.Generator, stream: Stream) -> Layer:
    return layers.Sequential(
        layers.Linear(20, 16, rng=rng, bias=False),
        layers.BatchNorm(16),
        layers.ReLU(),
        layers.Dropout(0.2, stream=stream),
        layers.Linear(16, 4, rng=rng),
    )


def convolutions(rng: np.random.Generator, stream: Stream) -> Layer:
    return layers.Sequential(
        layers.ConvReLUPool(1, 4, 3, rng=rng, padding=1),
        layers.Residual(layers.Conv2d(4, 4, 3, rng=rng, padding=1)),
        layers.GELU(),
        layers.MaxPool2d(2),
        layers.Flatten(),
        layers.LayerNorm(16),
        layers.Linear(16, 4, rng=rng),
    )


def recurrent(rng: np.random.Generator, stream: Stream) -> Layer:
    return layers.Sequential(
        layers.GRU(3, 5, rng=rng, bidirectional=True, num_layers=2, dropout=0.2, stream=stream),
        layers.LastState(),
        layers.Linear(10, 4, rng=rng),
    )


NETWORKS = {
    "perceptron": (perceptron, (20,)),
    "convolutions": (convolutions, (8, 8, 1)),
    "recurrent": (recurrent, (6, 3)),
}
OPTIMIZERS = {
    "perceptron": lambda p: AdamW(p, weight_decay=0.01),
    "convolutions": lambda p: SGD(p, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "recurrent": AMSGrad,
}


def train(name: str, gpu: EmulatedGPU | None) -> tuple[list[float], Layer]:
    """Five steps; on a GPU none of them may wait for it."""
    build, shape = NETWORKS[name]
    rng, stream = np.random.default_rng(0), Stream(0)
    x, labels = rng.standard_normal((24, *shape), np.float32), rng.integers(0, 4, 24)
    network = build(rng, stream)
    if gpu:
        network.to("gpu")
        x, labels = to_device(x, "gpu"), to_device(labels, "gpu")
    optimizer, losses = OPTIMIZERS[name](network.parameters()), []
    for step in range(5):
        stream.seek(0, step)
        batch = Sequences.pack_padded(x, rng.integers(1, 7, 24)) if name == "recurrent" else x
        sent = gpu.uploads if gpu else 0
        with gpu.forbid_waiting() if gpu else nullcontext():
            loss, dlogits = softmax_cross_entropy(network.forward(batch, train=True), labels)
            network.backward(dlogits)
            norm = clip_by_norm(optimizer.flat, 1.0)
            optimizer.step(0.05)
        if gpu and name != "recurrent":  # whose sequences are in another order in every batch
            assert gpu.uploads == sent, "a step sends nothing to the GPU"
        losses.append((loss, norm))
    return [float(number) for pair in losses for number in pair], network


@pytest.mark.parametrize("name", NETWORKS)
def test_training_is_the_same_and_never_waits(name):
    expected, network = train(name, None)
    with emulated_gpu() as gpu:
        found, there = train(name, gpu)
        state = there.state_dict()
    np.testing.assert_allclose(found, expected, rtol=2e-4)
    assert expected[-2] < expected[0]
    for key, array in network.state_dict().items():
        np.testing.assert_allclose(state[key], array, rtol=1e-3, atol=1e-4)


def test_an_epochs_figures_come_in_one_copy():
    with emulated_gpu() as gpu:
        tally = Tally()
        with gpu.forbid_waiting():
            for number in range(20):
                tally.add(number + 1, {"loss": gpu.full((), number, np.float32), "half": 0.5})
        assert tally.means() == {"loss": pytest.approx(sum(n * (n + 1) for n in range(20)) / 210), "half": 0.5}
        assert gpu.waits == 1


def test_a_frozen_network_answers_on_a_gpu_too():
    rng = np.random.default_rng(4)
    network = layers.Sequential(
        layers.Conv2d(3, 8, 3, padding=1, bias=False, rng=rng, dtype=np.float64),
        layers.BatchNorm(8, dtype=np.float64),
        layers.LeakyReLU(),
        layers.ConvPool(8, 9, 3, padding=1, rng=rng, dtype=np.float64),
        layers.BatchNorm(9, dtype=np.float64),
        layers.Sequential(
            layers.Flatten(),
            layers.Linear(36, 7, rng=rng, dtype=np.float64),
            layers.ReLU(),
            layers.Linear(7, 5, rng=rng, dtype=np.float64),
        ),
    )
    x = rng.standard_normal((3, 4, 4, 3))
    network.forward(x, train=True)  # moves the statistics
    expected = network.forward(x).copy()
    with emulated_gpu():
        there = freeze(network.replica().to("gpu"))
        assert there.device == "gpu"
        for rows in (slice(0, 1), slice(None)):
            found = to_cpu(there.forward(to_device(x[rows], "gpu")))
            np.testing.assert_allclose(found, expected[rows], rtol=1e-9, atol=1e-12)
