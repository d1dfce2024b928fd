"""The four networks: their shapes and gradients, the same in PyTorch, whitening, and the views of an image."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny_cifar import TINY, pictures

from cifar.model import Architecture, as_colour, build, preprocess
from cifar.networks import identity_first
from cifar.settings import PRESETS
from cifar.views import answer_in_views, mirror, moved_by_one
from cifar.whitening import EPS, Whitening
from core.data.normalize import Normalize
from core.gradcheck import gradcheck
from core.layers import BatchNorm, Conv2d, ConvPool, ConvReLUPool, Layer, Linear

RNG = np.random.default_rng(0)
WITH_NORM = Architecture("cnn", widths=(8, 8, 16), hidden=(16,), activation="leaky_relu", batch_norm=True)
ON_MNIST = Architecture("cnn", shape=(28, 28, 1), widths=(4, 6, 8), hidden=(16,))
SHORT, LONG = (Architecture("cnn", widths=widths, hidden=(6,)) for widths in ((4,), (4, 4, 4, 4)))
ALL = {**TINY, "cnn with norms": WITH_NORM, "cnn on mnist": ON_MNIST, "short cnn": SHORT, "long cnn": LONG}


@pytest.mark.parametrize("name", ALL)
def test_a_network_has_the_weights_that_it_announces(name):
    architecture = ALL[name]
    network = build(architecture)
    saved = [array.shape for array in network.state_dict().values() if array.ndim == 2]
    assert sorted(saved) == sorted(architecture.matrices())
    assert Architecture.from_dict(json.loads(json.dumps(architecture.to_dict()))) == architecture
    x = RNG.standard_normal((3, *architecture.shape)).astype(np.float32)
    y = network.forward(x, train=True)
    assert y.shape == (3, 10)
    assert y.dtype == np.float32
    network.backward(np.ones_like(y))


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet", "cnn with norms", "fast"])
def test_gradients_of_whole_networks(name):
    """On tiny images, in float64, with a bend that is smooth."""
    small = {"shape": (8, 8, 3), "activation": "gelu", "dropout": 0.0}
    widths = {"cnn": (3, 4, 4), "cnn with norms": (3, 4, 4), "resnet": (3, 4), "fast": (4, 4, 6)}.get(name, ())
    hidden = {"resnet": (), "fast": ()}.get(name, (6,))
    architecture = Architecture(**(ALL[name].__dict__ | small | {"widths": widths, "hidden": hidden}))
    network = build(architecture)
    for _, layer in network.walk():
        if isinstance(layer, Whitening):
            layer.fit(pictures(40)[0].astype(np.float32) / 64 - 2)
    network.to(dtype=np.float64)
    x = np.random.default_rng(0).standard_normal((4, 8, 8, 3))  # always the same: others may be at a pooling's tie
    assert gradcheck(network, x, np.random.default_rng(1)) < 1e-5
    assert network.forward(x, train=True).shape == (4, 10)
    assert network.backward(np.ones((4, 10))).shape == x.shape


def test_whitening_passes_a_gradient_back_once_and_where_it_is_wanted():
    layer, x = Whitening(3, 8), RNG.standard_normal((2, 6, 5, 3))
    layer.fit(pictures(40)[0].astype(np.float32) / 64 - 2)
    layer.to(dtype=np.float64)
    assert gradcheck(layer, x, np.random.default_rng(1)) < 1e-6
    y = layer.forward(x, train=True)
    assert layer.backward(np.ones_like(y)).shape == x.shape
    with pytest.raises(RuntimeError, match=r"Whitening.backward needs a forward"):
        layer.backward(np.ones_like(y))
    layer.skip_input_grad().forward(x, train=True)
    assert layer.backward(np.ones_like(y)) is None


@pytest.mark.parametrize("name", ALL)
def test_pytorch_computes_the_same(name):
    """Outputs and weight gradients in training, without dropout, in float64."""
    torch = pytest.importorskip("torch")
    architecture = Architecture(**(ALL[name].__dict__ | {"dropout": 0.0}))
    network = build(architecture, seed=1)
    for _, layer in network.walk():
        if isinstance(layer, Whitening):
            layer.fit(pictures(40)[0].astype(np.float32) / 64 - 2)
    network.to(dtype=np.float64)
    for parameter in network.parameters():  # a convolution that starts as the identity makes ties for the pooling
        parameter.data += 0.01 * RNG.standard_normal(parameter.data.shape)
    x = RNG.standard_normal((4, *architecture.shape))
    y = network.forward(x, train=True).copy()
    dy = RNG.standard_normal(y.shape)
    network.backward(dy)
    weights = {id(p): torch.tensor(p.data, requires_grad=True) for p in network.parameters()}
    expected = in_torch(torch, network, torch.tensor(x), weights)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-8, atol=1e-8)
    expected.backward(torch.tensor(dy))
    for path, parameter in network.named_parameters():
        right = weights[id(parameter)].grad.numpy()
        error = np.linalg.norm(parameter.grad - right) / np.linalg.norm(right)
        assert error < 1e-8, path


def in_torch(torch, layer: Layer, x, weights):
    """What PyTorch makes of `x` (N, H, W, C) with the layer's weights."""
    functional, name = torch.nn.functional, type(layer).__name__
    if name == "Sequential":
        for inner in layer.layers.values():
            x = in_torch(torch, inner, x, weights)
        return x
    if name == "Residual":
        return x + in_torch(torch, layer.body, x, weights)
    if isinstance(layer, Conv2d | Whitening):
        kernel = torch.tensor(layer.weight) if isinstance(layer, Whitening) else weights[id(layer.weight)]
        kernel = kernel.reshape(3, 3, x.shape[3], -1).permute(3, 2, 0, 1)
        bias = weights[id(layer.bias)] if getattr(layer, "bias", None) is not None else None
        y = functional.conv2d(x.permute(0, 3, 1, 2), kernel, bias, padding=1)
        if isinstance(layer, ConvReLUPool):
            y = functional.max_pool2d(functional.relu(y), layer.pool.kernel)
        if isinstance(layer, ConvPool):
            y = functional.max_pool2d(y, 2)
        return y.permute(0, 2, 3, 1)
    if name == "BatchNorm":
        axes = tuple(range(x.ndim - 1))
        deviation = (x.var(axes, unbiased=False) + layer.eps).sqrt()
        return (x - x.mean(axes)) / deviation * weights[id(layer.weight)] + weights[id(layer.bias)]
    if name == "Linear":
        y = x @ weights[id(layer.weight)]
        return y if layer.bias is None else y + weights[id(layer.bias)]
    if name == "MaxPool2d":
        return functional.max_pool2d(x.permute(0, 3, 1, 2), layer.windows.kernel).permute(0, 2, 3, 1)
    if name == "GlobalAvgPool":
        return x.mean((1, 2))
    simple = {
        "Flatten": lambda: x.reshape(len(x), -1),
        "ReLU": lambda: functional.relu(x),
        "LeakyReLU": lambda: functional.leaky_relu(x, 0.01),
        "GELU": lambda: functional.gelu(x, approximate="tanh"),
    }
    return simple[name]()


def test_the_networks_are_those_of_the_issue():
    """Layer sizes of the presets, written out."""
    assert PRESETS["mlp"].architecture().matrices() == [(3072, 1024), (1024, 512), (512, 10)]
    cnn = PRESETS["cnn"].architecture()
    assert cnn.matrices() == [(27, 32), (288, 64), (576, 128), (8 * 8 * 128, 512), (512, 10)]
    norms = [layer for _, layer in build(PRESETS["resnet"].architecture()).walk() if isinstance(layer, BatchNorm)]
    convolutions = [layer for _, layer in build(PRESETS["resnet"].architecture()).walk() if isinstance(layer, Conv2d)]
    assert len(norms) == len(convolutions) == 1 + 3 * 3
    assert PRESETS["mnist"].architecture().matrices()[:3] == [(9, 32), (288, 64), (576, 128)]
    assert str(cnn) == "convolutions of 32-64-128 filters, fully connected 512-10"


def test_whitened_patches_are_uncorrelated_and_alike():
    images = pictures(60)[0].astype(np.float32) / 64 - 2
    layer = Whitening(3, 54)
    layer.fit(images)
    y = layer.forward(images)[:, 1:-1, 1:-1]  # the border sees zeros
    rows = y.reshape(-1, 54)[:, :27].astype(np.float64)
    moments = rows.T @ rows / len(rows)
    patches = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
    spread = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 27).astype(np.float64)
    variances = np.sort(np.linalg.eigvalsh(spread.T @ spread / len(spread)))[::-1]
    np.testing.assert_allclose(np.diag(moments), variances / (variances + EPS), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(moments - np.diag(np.diag(moments)), 0, atol=2e-3)
    np.testing.assert_array_equal(layer.weight[:, 27:], -layer.weight[:, :27])
    assert not layer.parameters()
    assert "weight" in layer.state_dict()


@pytest.mark.parametrize("filters", [3, 0, 56])
def test_whitening_with_a_wrong_number_of_filters(filters):
    with pytest.raises(ValueError, match="Whitening expected filters to be even"):
        Whitening(3, filters)


@pytest.mark.parametrize(("channels", "filters"), [(4, 6), (6, 4), (5, 5)])
def test_a_convolution_may_start_as_the_identity(channels, filters):
    layer = Conv2d(channels, filters, 3, rng=np.random.default_rng(0), padding=1, init=identity_first)
    x = RNG.standard_normal((2, 5, 5, channels)).astype(np.float32)
    passed = min(channels, filters)
    np.testing.assert_allclose(layer.forward(x)[..., :passed], x[..., :passed], atol=1e-6)
    others = layer.weight.data[:, passed:]
    if others.size:
        assert others.std() == pytest.approx((3 * 9 * channels) ** -0.5, rel=0.2)


def test_moving_by_one_mirrors_at_the_border():
    x = np.arange(24, dtype=np.float32).reshape(1, 4, 3, 2)
    moved = moved_by_one(x, 1)
    np.testing.assert_array_equal(moved[0, 1:, 1:], x[0, :-1, :-1])
    np.testing.assert_array_equal(moved[0, 0, 1:], x[0, 1, :-1])
    back = moved_by_one(x, -1)
    np.testing.assert_array_equal(back[0, :-1, :-1], x[0, 1:, 1:])
    np.testing.assert_array_equal(back[0, -1, :-1], x[0, -2, 1:])


class Corner(Layer):
    """Answers with the pixel at the top left."""

    def forward(self, x, train=False):
        return x[:, 0, 0].copy()


def test_views_are_averaged_with_their_weights():
    x = RNG.standard_normal((5, 4, 4, 3)).astype(np.float32)
    one, two, six = (answer_in_views(Corner(), x, views) for views in (1, 2, 6))
    np.testing.assert_array_equal(one, x[:, 0, 0])
    np.testing.assert_allclose(two, (x[:, 0, 0] + x[:, 0, 3]) / 2, rtol=1e-6)
    moved = [(y[:, 0, 0] + y[:, 0, 3]) / 2 for y in (moved_by_one(x, 1), moved_by_one(x, -1))]
    np.testing.assert_allclose(six, two / 2 + (moved[0] + moved[1]) / 4, rtol=1e-5, atol=1e-6)


def test_mirror_changes_the_chosen_ones_only():
    x = RNG.standard_normal((4, 3, 3, 2)).astype(np.float32)
    before = x.copy()
    mirror(x, np.array([True, False, False, True]))
    np.testing.assert_array_equal(x[[1, 2]], before[[1, 2]])
    np.testing.assert_array_equal(x[[0, 3]], before[[0, 3]][:, :, ::-1])


def test_grey_images_get_an_axis_of_channels():
    grey = np.full((2, 28, 28), 255, np.uint8)
    assert as_colour(grey).shape == (2, 28, 28, 1)
    np.testing.assert_allclose(preprocess(grey, Normalize([0.5], [0.25])), 2, rtol=1e-6)


def test_the_first_logits_are_small_whatever_the_width():
    for width in (8, 32):
        network = build(Architecture("fast", widths=(8, 8, width)))
        head = next(layer for _, layer in network.walk() if isinstance(layer, Linear))
        assert head.weight.data.std() == pytest.approx(1 / width, rel=0.25)
