"""The network of cnn_mnist100: what it is built from, whether its gradients are right, and against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from cnn_mnist100.model import Architecture, Halves, TensAndUnits, build, preprocess
from core.data.normalize import Normalize
from core.gradcheck import TOLERANCE, gradcheck
from core.layers import Flatten
from core.losses import softmax, softmax_cross_entropy
from core.optim import Adam

DIGITS = Architecture(filters=(3, 4, 5), padding=1, hidden=(8,), dropout=0.0, batch_norm=True, head="digits")
SMALL = Architecture(filters=(3, 4), hidden=(8,), dropout=0.0)
RNG = np.random.default_rng(0)


def test_the_default_network_is_the_one_that_was_asked_for():
    network = build(Architecture())
    shapes = {name: array.shape for name, array in network.state_dict().items() if array.ndim == 2}
    assert shapes == {
        "conv1.weight": (3 * 3 * 1, 16),
        "conv2.weight": (3 * 3 * 16, 32),
        "hidden1.weight": (5 * 12 * 32, 256),
        "output.weight": (256, 100),
    }
    kinds = [type(layer).__name__ for layer in network.layers.values()]
    assert kinds == ["ConvReLUPool", "ConvReLUPool", "Flatten", "Linear", "ReLU", "Dropout", "Linear"]
    assert network.layers["hidden1_dropout"].rate == 0.4
    assert network.forward(np.zeros((2, 28, 56, 1), np.float32)).shape == (2, 100)


@pytest.mark.parametrize("architecture", [Architecture(), SMALL, DIGITS, Architecture(hidden=(), padding=2, kernel=5)])
def test_an_architecture_knows_its_matrices_and_survives_json(architecture):
    assert Architecture.from_dict(architecture.to_dict()) == architecture
    weights = [array.shape for array in build(architecture).state_dict().values() if array.ndim == 2]
    assert sorted(weights) == sorted(architecture.matrices())


def test_an_architecture_in_words():
    assert str(Architecture()) == "convolutions 3x3 of 16-32 filters, fully connected 256-100"
    assert str(DIGITS) == "convolutions 3x3 of 3-4-5 filters, fully connected 8-10+10"
    assert str(Architecture(hidden=())).endswith("fully connected 100")


@pytest.mark.parametrize("layer", [Halves(), TensAndUnits()])
def test_gradients_of_the_layers_that_only_this_project_has(layer):
    shape = (3, 2, 10) if isinstance(layer, TensAndUnits) else (3, 4, 6, 5)
    assert gradcheck(layer, RNG.standard_normal(shape), RNG) < TOLERANCE


def test_each_half_is_a_row_of_its_own():
    x = RNG.standard_normal((2, 3, 4, 5))
    y = Halves().forward(x)
    np.testing.assert_array_equal(y[:, 0], Flatten().forward(np.ascontiguousarray(x[:, :, :2])))
    np.testing.assert_array_equal(y[:, 1], Flatten().forward(np.ascontiguousarray(x[:, :, 2:])))
    with pytest.raises(ValueError, match="even width"):
        Halves().forward(x[:, :, :3])


def test_the_probability_of_a_number_is_the_product_of_its_digits():
    logits = RNG.standard_normal((3, 2, 10))
    p = softmax(TensAndUnits().forward(logits))
    digits = softmax(logits)
    np.testing.assert_allclose(p[:, 42], digits[:, 0, 4] * digits[:, 1, 2], rtol=1e-6)
    with pytest.raises(ValueError, match=r"\(N, 2, 10\)"):
        TensAndUnits().forward(logits[:, :1])


@pytest.mark.parametrize("architecture", [SMALL, DIGITS])
def test_outputs_gradients_and_weights_agree_with_pytorch(architecture):
    torch = pytest.importorskip("torch")
    from cnn_mnist100 import training_torch

    ours, theirs = build(architecture), training_torch.torch_network(architecture)
    training_torch.load_into_torch(theirs, ours.state_dict())
    x, labels = RNG.standard_normal((12, 28, 56, 1), np.float32), RNG.integers(0, 100, 12)
    np.testing.assert_allclose(training_torch.logits_of(theirs, x).numpy(), ours.forward(x), atol=1e-5)
    loss, dlogits = softmax_cross_entropy(ours.forward(x, train=True), labels)
    ours.backward(dlogits)
    their_loss = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(labels))
    their_loss.backward()
    assert float(loss) == pytest.approx(their_loss.item(), rel=1e-5)
    gradients = {name: parameter.grad for name, parameter in ours.named_parameters()}
    statistics = {name: array for name, array in ours.named_state() if name not in gradients}
    wanted = training_torch.as_torch(theirs, gradients | statistics)
    largest = max(float(parameter.grad.abs().max()) for parameter in theirs.parameters())
    for name, parameter in theirs.named_parameters():
        difference = (parameter.grad - wanted[name]).norm()
        assert difference <= 1e-4 * parameter.grad.norm() + 1e-6 * largest, name


def test_it_learns_40_pairs_by_heart():
    x, labels = RNG.standard_normal((40, 28, 56, 1), np.float32), RNG.integers(0, 100, 40)
    network = build(Architecture(filters=(4, 8), hidden=(64,), dropout=0.0))
    network.skip_input_grad()
    optimizer = Adam(network.parameters())
    losses = []
    for _ in range(40):
        loss, dlogits = softmax_cross_entropy(network.forward(x, train=True), labels)
        network.backward(dlogits)
        optimizer.step(0.003)
        losses.append(float(loss))
    assert losses[0] > 4
    assert losses[-1] < 0.05
    assert (network.forward(x).argmax(axis=1) == labels).all()


def test_preprocess_takes_bytes_and_fractions_alike():
    images = RNG.integers(0, 256, (3, 28, 56), dtype=np.uint8)
    normalize = Normalize(0.13, 0.31)
    seen = preprocess(images, normalize)
    assert (seen.dtype, seen.shape) == (np.float32, (3, 28, 56, 1))
    np.testing.assert_allclose(seen[..., 0], (images / 255 - 0.13) / 0.31, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(preprocess(images.astype(np.float32) / 255, normalize), seen, rtol=1e-4, atol=1e-5)
