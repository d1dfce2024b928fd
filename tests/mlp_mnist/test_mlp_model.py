"""The network of mlp_mnist: what it is built from, and whether its gradients are right as a whole."""

from typing import get_args

import numpy as np
import pytest

from core.data.normalize import Normalize
from core.gradcheck import TOLERANCE, gradcheck
from core.layers import BatchNorm, Dropout, Linear
from core.losses import softmax_cross_entropy
from core.optim import Adam
from mlp_mnist.model import ActivationName, Architecture, build, preprocess


@pytest.mark.parametrize("activation", get_args(ActivationName))
def test_whole_network_gradients(activation):
    rng = np.random.default_rng(0)
    network = build(Architecture(hidden=(9, 7), activation=activation, dropout=0.2)).to(dtype=np.float64)
    assert gradcheck(network, rng.standard_normal((4, 28, 28)), rng) < TOLERANCE


def test_whole_network_gradients_with_batch_norm_and_sigmoids():
    rng = np.random.default_rng(0)
    architecture = Architecture(hidden=(9,), activation="gelu", batch_norm=True, sigmoid_output=True, input_dropout=0.1)
    network = build(architecture).to(dtype=np.float64)
    assert gradcheck(network, rng.standard_normal((4, 28, 28)), rng) < TOLERANCE


def test_the_default_network():
    network = build(Architecture())
    sizes = [(layer.in_features, layer.out_features) for _, layer in network.walk() if isinstance(layer, Linear)]
    assert sizes == [(784, 256), (256, 128), (128, 10)]
    assert sum(parameter.data.size for parameter in network.parameters()) == 235_146
    assert not any(isinstance(layer, Dropout | BatchNorm) for _, layer in network.walk())


def test_an_architecture_survives_json():
    architecture = Architecture(hidden=(5, 4), activation="selu", dropout=0.1, batch_norm=True, classes=7)
    assert Architecture.from_dict(architecture.to_dict()) == architecture


def test_the_seed_decides_the_weights():
    first, same, other = (build(Architecture(hidden=(8,)), seed=seed).state_dict() for seed in (1, 1, 2))
    assert all((first[name] == same[name]).all() for name in first)
    assert (first["1.weight"] != other["1.weight"]).any()


def test_preprocess_takes_bytes_and_fractions_alike():
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    normalize = Normalize(0.13, 0.31)
    seen = preprocess(images, normalize)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, (images / 255 - 0.13) / 0.31, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(preprocess(images.astype(np.float32) / 255, normalize), seen, rtol=1e-4, atol=1e-5)


def test_it_learns_32_images_by_heart():
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((32, 28, 28), np.float32), rng.integers(0, 10, 32)
    network = build(Architecture(hidden=(32,)))
    optimizer = Adam(network.parameters())
    losses = []
    for _ in range(60):
        loss, dlogits = softmax_cross_entropy(network.forward(x, train=True), labels)
        network.backward(dlogits)
        optimizer.step(0.003)
        losses.append(float(loss))
    assert losses[0] > 2
    assert losses[-1] < 0.01
    assert (network.forward(x).argmax(axis=1) == labels).all()
