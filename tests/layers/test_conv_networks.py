"""Small convolutional networks: ten steps against PyTorch, workers against one alone, and the memory of a step."""

import tracemalloc

import numpy as np
import pytest

from core import losses, optim
from core.layers import Conv2d, ConvReLUPool, Dropout, Flatten, Linear, MaxPool2d, Parallel, ReLU, Sequential
from core.predict import predict
from core.random import Stream
from core.workers import Workers


def to_torch(weight):
    """Our weight (9 * C, K) in PyTorch's order (K, C, 3, 3)."""
    return weight.reshape(3, 3, -1, weight.shape[1]).transpose(3, 2, 0, 1).copy()


def from_torch(weight):
    return weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))


def small_cnn(fused, dtype=np.float32):
    rng = np.random.default_rng(9)
    if fused:
        features = [ConvReLUPool(1, 8, 3, rng=rng, padding=1), ConvReLUPool(8, 8, 3, rng=rng)]
    else:
        features = [
            Conv2d(1, 8, 3, rng=rng, padding=1),
            ReLU(),
            MaxPool2d(2),
            Conv2d(8, 8, 3, rng=rng),
            ReLU(),
            MaxPool2d(2),
        ]
    return Sequential(*features, Flatten(), Linear(2 * 3 * 8, 5, rng=rng)).to(dtype=dtype)


def train(model, optimizer, steps=10, rows=23, dtype=np.float32):
    rng = np.random.default_rng(10)
    for _ in range(steps):
        x, labels = rng.standard_normal((rows, 12, 17, 1)).astype(dtype), rng.integers(0, 5, rows)
        _, dlogits = losses.softmax_cross_entropy(model.forward(x, train=True), labels)
        model.backward(dlogits)
        optimizer.step(0.01)


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "block"])
def test_ten_steps_are_those_of_pytorch_with_weights_moved_both_ways(fused):
    torch = pytest.importorskip("torch")
    model = small_cnn(fused, np.float64)
    conv1, conv2, linear = [layer for layer in model.layers.values() if layer.parameters()]
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(8, 8, 3),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(48, 5),
    ).double()
    heads = theirs[7].weight

    def channels_first(weight):  # ours (H * W * C, 5), theirs (5, C * H * W)
        return weight.reshape(2, 3, 8, 5).transpose(3, 2, 0, 1).reshape(5, 48)

    with torch.no_grad():
        for ours, module in ((conv1, theirs[0]), (conv2, theirs[3])):
            module.weight.copy_(torch.from_numpy(to_torch(ours.weight.data)))
            module.bias.copy_(torch.from_numpy(ours.bias.data))
        heads.copy_(torch.from_numpy(channels_first(linear.weight.data)))
        theirs[7].bias.copy_(torch.from_numpy(linear.bias.data))
    train(Parallel(model, Workers(2)), optim.Adam(model.parameters()), dtype=np.float64)
    rng, optimizer = np.random.default_rng(10), torch.optim.Adam(theirs.parameters(), 0.01)
    for _ in range(10):
        x, labels = rng.standard_normal((23, 12, 17, 1)), rng.integers(0, 5, 23)
        optimizer.zero_grad()
        logits = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2)))
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
        optimizer.step()
    for ours, module in ((conv1, theirs[0]), (conv2, theirs[3])):
        np.testing.assert_allclose(ours.weight.data, from_torch(module.weight.detach().numpy()), atol=1e-9)
        np.testing.assert_allclose(ours.bias.data, module.bias.detach().numpy(), atol=1e-9)
    np.testing.assert_allclose(channels_first(linear.weight.data), heads.detach().numpy(), atol=1e-9)


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "block"])
def test_two_workers_train_what_one_does(fused):
    alone, split = small_cnn(fused, np.float64), small_cnn(fused, np.float64)
    train(alone, optim.Adam(alone.parameters()), dtype=np.float64)
    train(Parallel(split, Workers(2)), optim.Adam(split.parameters()), dtype=np.float64)
    for name, array in alone.state_dict().items():
        np.testing.assert_allclose(split.state_dict()[name], array, rtol=1e-8, atol=1e-10, err_msg=name)
    x = np.random.default_rng(11).standard_normal((70, 12, 17, 1))
    np.testing.assert_allclose(predict(Parallel(split, Workers(2)), x, 64), predict(alone, x), atol=1e-8)


def test_plain_and_fused_training_agree_in_float32():
    plain, fused = small_cnn(False), small_cnn(True)
    for model in (plain, fused):
        train(model, optim.SGD(model.parameters(), momentum=0.9))
    for ours, theirs in zip(plain.parameters(), fused.parameters(), strict=True):
        assert np.linalg.norm(ours.data - theirs.data) < 1e-4 * np.linalg.norm(theirs.data)


def test_a_training_step_needs_little_memory_beyond_weights_and_activations():
    """The network for two-digit numbers, 256 images: at most 64 MB."""
    rng = np.random.default_rng(12)
    x, labels = rng.standard_normal((256, 28, 56, 1), np.float32), rng.integers(0, 100, 256)
    model = Sequential(
        ConvReLUPool(1, 16, 3, rng=rng),
        ConvReLUPool(16, 32, 3, rng=rng),
        Flatten(),
        Linear(1920, 256, rng=rng),
        ReLU(),
        Dropout(0.4, stream=Stream(0)),
        Linear(256, 100, rng=rng),
    )
    weights = sum(parameter.data.nbytes for parameter in model.parameters())
    activations = 4 * 256 * (13 * 27 * 16 + 5 * 12 * 32 + 256 + 256 + 256 + 100)
    tracemalloc.start()
    network = Parallel(model, Workers(2)).skip_input_grad()
    optimizer = optim.Adam(model.parameters())
    for _ in range(2):
        _, dlogits = losses.softmax_cross_entropy(network.forward(x, train=True), labels)
        network.backward(dlogits)
        optimizer.step(1e-3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - weights - activations < 64e6
