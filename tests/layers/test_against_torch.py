"""Layers and losses against PyTorch: values, gradients, and ten optimizer steps of a whole network."""

import numpy as np
import pytest

from core import layers, losses, optim

torch = pytest.importorskip("torch")
F = torch.nn.functional

ACTIVATIONS = {
    "relu": (layers.ReLU(), F.relu),
    "leaky_relu": (layers.LeakyReLU(0.01), lambda x: F.leaky_relu(x, 0.01)),
    "gelu": (layers.GELU(), F.gelu),
    "gelu_tanh": (layers.GELU("tanh"), lambda x: F.gelu(x, approximate="tanh")),
    "selu": (layers.SELU(), F.selu),
    "softplus": (layers.Softplus(), F.softplus),
    "softplus_beta": (layers.Softplus(3.0, 2.0), lambda x: F.softplus(x, 3.0, 2.0)),
    "sigmoid": (layers.Sigmoid(), torch.sigmoid),
    "tanh": (layers.Tanh(), torch.tanh),
}
EXTREME = [-1e4, -100.0, -20.0, -5.0, -1e-3, 0.5, 1e-20, 5.0, 20.0, 100.0, 1e4]


def close(ours, theirs, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activation(name, dtype):
    layer, function = ACTIVATIONS[name]
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal(40_000) * 3, EXTREME]).astype(dtype)  # more than two blocks
    dy = rng.standard_normal(x.shape).astype(dtype)
    x_torch = torch.tensor(x, requires_grad=True)
    y_torch = function(x_torch)
    y_torch.backward(torch.tensor(dy))
    tolerance = {"rtol": 1e-5, "atol": 5e-6} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}
    close(layer.forward(x, train=True), y_torch, **tolerance)
    close(layer.backward(dy), x_torch.grad, **tolerance)


@pytest.mark.parametrize("shape", [(7, 5), (3, 4, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("train", [True, False])
def test_batch_norm(shape, train):
    rng = np.random.default_rng(0)
    ours = layers.BatchNorm(5)
    theirs = torch.nn.BatchNorm1d(5)
    for target, tensor in ((ours.weight.data, theirs.weight), (ours.bias.data, theirs.bias)):
        target[...] = rng.standard_normal(5)
        tensor.data = torch.tensor(target)
    for _ in range(2):  # two forwards, so that the running statistics have moved
        x = (rng.standard_normal(shape) * 3 + 1).astype(np.float32)
        x_torch = torch.tensor(x.reshape(-1, 5), requires_grad=True)
        y_torch = theirs(x_torch)
        close(ours.forward(x, train=True).reshape(-1, 5), y_torch)
    dy = rng.standard_normal(shape).astype(np.float32)
    y_torch.backward(torch.tensor(dy.reshape(-1, 5)))
    close(ours.backward(dy).reshape(-1, 5), x_torch.grad)
    close(ours.weight.grad, theirs.weight.grad)
    close(ours.bias.grad, theirs.bias.grad)
    close(ours.running_mean, theirs.running_mean)
    close(ours.running_var, theirs.running_var)
    theirs.train(train)
    close(ours.forward(x, train=train).reshape(-1, 5), theirs(torch.tensor(x.reshape(-1, 5))))


def test_layer_norm():
    rng = np.random.default_rng(0)
    ours, theirs = layers.LayerNorm(5), torch.nn.LayerNorm(5)
    x, dy = rng.standard_normal((2, 3, 4, 5), np.float32), rng.standard_normal((2, 3, 4, 5), np.float32)
    x_torch = torch.tensor(x, requires_grad=True)
    y_torch = theirs(x_torch)
    y_torch.backward(torch.tensor(dy))
    close(ours.forward(x, train=True), y_torch)
    close(ours.backward(dy), x_torch.grad)
    close(ours.weight.grad, theirs.weight.grad)
    close(ours.bias.grad, theirs.bias.grad)


LOSSES = {
    "cross entropy": (lambda z, t: losses.softmax_cross_entropy(z, t), lambda z, t: F.cross_entropy(z, t)),
    "smoothed": (
        lambda z, t: losses.softmax_cross_entropy(z, t, label_smoothing=0.1),
        lambda z, t: F.cross_entropy(z, t, label_smoothing=0.1),
    ),
    "temperature": (
        lambda z, t: losses.softmax_cross_entropy(z, t, temperature=3.0),
        lambda z, t: F.cross_entropy(z / 3, t),
    ),
    "mean squared error": (
        lambda z, t: losses.mean_squared_error(z, np.eye(7, dtype=z.dtype)[t]),
        lambda z, t: F.mse_loss(z, F.one_hot(t, 7).to(z.dtype)),
    ),
    "focal": (
        lambda z, t: losses.focal_loss(z, t, gamma=2.0),
        lambda z, t: (-((1 - F.softmax(z, 1)) ** 2) * F.log_softmax(z, 1))[torch.arange(len(t)), t].mean(),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_loss(name):
    ours, theirs = LOSSES[name]
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((9, 7)).astype(np.float32) * 5, rng.integers(0, 7, 9)
    z = torch.tensor(logits, requires_grad=True)
    loss_torch = theirs(z, torch.tensor(labels))
    loss_torch.backward()
    loss, dlogits = ours(logits, labels)
    close(loss, loss_torch)
    close(dlogits, z.grad)
    assert dlogits.dtype == np.float32


OPTIMIZERS = {
    "sgd": (lambda p: optim.SGD(p), lambda p: torch.optim.SGD(p, 0.01)),
    "momentum and l2": (
        lambda p: optim.SGD(p, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, weight_decay=0.1),
    ),
    "nesterov": (
        lambda p: optim.SGD(p, momentum=0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, nesterov=True),
    ),
    "adam": (lambda p: optim.Adam(p), lambda p: torch.optim.Adam(p, 0.01)),
    "adam and l2": (lambda p: optim.Adam(p, weight_decay=0.1), lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1)),
    "amsgrad": (lambda p: optim.AMSGrad(p), lambda p: torch.optim.Adam(p, 0.01, amsgrad=True)),
    "adamw": (lambda p: optim.AdamW(p, weight_decay=0.1), lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1)),
}


def twin_networks(rng, sizes=(20, 16, 5)):
    """The same two-layer network here and in PyTorch, in float64 so that ten steps cannot drift apart by rounding."""
    ours = layers.Sequential(
        layers.Linear(sizes[0], sizes[1], rng=rng, dtype=np.float64),
        layers.Tanh(),
        layers.Linear(sizes[1], sizes[2], rng=rng, dtype=np.float64),
    )
    theirs = torch.nn.Sequential(
        torch.nn.Linear(sizes[0], sizes[1]), torch.nn.Tanh(), torch.nn.Linear(sizes[1], sizes[2])
    ).double()
    for name, parameter in ours.named_parameters():
        layer, kind = name.split(".")
        getattr(theirs[int(layer)], kind).data = torch.tensor(parameter.data.T.copy())
    return ours, theirs


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("clip", [None, 0.1])
def test_ten_steps(name, clip):
    rng = np.random.default_rng(0)
    ours, theirs = twin_networks(rng)
    make, make_torch = OPTIMIZERS[name]
    # PyTorch decays biases too, unless told otherwise by groups, so let ours do the same here.
    for parameter in ours.parameters():
        parameter.decay = True
    optimizer, optimizer_torch = make(ours.parameters()), make_torch(theirs.parameters())
    for _ in range(10):
        x, labels = rng.standard_normal((12, 20)), rng.integers(0, 5, 12)
        _, dlogits = losses.softmax_cross_entropy(ours.forward(x, train=True), labels)
        ours.backward(dlogits)
        optimizer_torch.zero_grad()
        F.cross_entropy(theirs(torch.tensor(x)), torch.tensor(labels)).backward()
        if clip:
            norm = optim.clip_by_norm(optimizer.flat, clip)
            close(norm, torch.nn.utils.clip_grad_norm_(theirs.parameters(), clip), rtol=1e-9)
        optimizer.step(0.01)
        optimizer_torch.step()
    for name, parameter in ours.named_parameters():
        layer, kind = name.split(".")
        close(parameter.data.T, getattr(theirs[int(layer)], kind), rtol=1e-8, atol=1e-9)


def test_biases_take_no_weight_decay():
    rng = np.random.default_rng(0)
    layer = layers.Linear(3, 2, rng=rng)
    layer.bias.data[...] = 1
    before = layer.weight.data.copy()
    optim.AdamW(layer.parameters(), weight_decay=0.5).step(0.1)
    np.testing.assert_allclose(layer.weight.data, before * 0.95, rtol=1e-6)
    np.testing.assert_array_equal(layer.bias.data, 1)
