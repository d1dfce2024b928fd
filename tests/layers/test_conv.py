"""The layers of convolution: gradients by differences, the block against the plain chain, and the contract."""

import itertools

import numpy as np
import pytest

from core.gradcheck import TOLERANCE, gradcheck
from core.layers import Conv2d, ConvPool, ConvReLUPool, Flatten, MaxPool2d, ReLU, Sequential
from core.ops.cpu import conv_phases, conv_windows, image_chunks, winograd
from core.ops.cpu.conv_windows import WindowRows
from core.ops.cpu.image_chunks import FEW
from core.params import pack
from core.workers import set_threads, workers
from core.workspaces import Workspaces

KERNELS = [(1, 1), (3, 3), (2, 5)]
STRIDES = [(1, 1), (3, 2)]
PADDINGS = [(0, 0), (2, 1)]
DILATIONS = [(1, 1), (2, 1)]
COMBINATIONS = list(itertools.product(KERNELS, STRIDES, PADDINGS, DILATIONS, [1, 2]))
EXACT = {np.float64: 1e-13, np.float32: 3e-6}  # relative to the norm of the array


@pytest.fixture(autouse=True)
def small_batches_too(monkeypatch):
    """Let Winograd's tiles serve as few images as the tests have."""
    monkeypatch.setattr(winograd, "FEWEST_TILES", 1)


@pytest.fixture(params=["one chunk", "equal chunks", "chunks and a rest"])
def many_chunks(request, monkeypatch):
    """Cut batches into chunks of one or two small images, as large images would be."""
    if request.param == "chunks and a rest":
        monkeypatch.setattr(image_chunks, "_equal_size", lambda N, size: None)
    if request.param != "one chunk":
        monkeypatch.setattr(winograd, "PLANE", 140)
        monkeypatch.setattr(winograd, "TILES_AT_ONCE", 1)
        monkeypatch.setattr(winograd, "MULTIPLICATIONS_AT_ONCE", 1)
        monkeypatch.setattr(conv_phases, "WINDOWS_SIZE", 2000)


def distance(ours, expected):
    """The relative distance of two arrays."""
    assert ours.shape == expected.shape
    return np.linalg.norm(ours - expected) / max(np.linalg.norm(expected), 1e-30)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "groups"), COMBINATIONS)
def test_gradients_of_every_combination(kernel, stride, padding, dilation, groups, bias):
    rng = np.random.default_rng(2)
    layer = Conv2d(
        2,
        4,
        kernel,
        rng=rng,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias,
        dtype=np.float64,
    )
    assert gradcheck(layer, rng.standard_normal((2, 9, 7, 2)), rng, samples=6) < TOLERANCE


@pytest.mark.parametrize("N", [1, 3])
@pytest.mark.parametrize("size", [(4, 4), (5, 7), (9, 6)])
@pytest.mark.parametrize("padding", [0, 1, (2, 0)])
@pytest.mark.parametrize("channels", [(1, 3), (8, 8)], ids=["few channels", "winograd"])
@pytest.mark.parametrize("make", [Conv2d, ConvReLUPool], ids=["plain", "block"])
def test_gradients_of_3x3_kernels(make, channels, padding, size, N):
    rng = np.random.default_rng(3)
    layer = make(*channels, 3, rng=rng, padding=padding, dtype=np.float64)
    layer.bias.data[...] = rng.standard_normal(channels[1])
    assert gradcheck(layer, rng.standard_normal((N, *size, channels[0])), rng, samples=8) < TOLERANCE


def both_ways(rng, dtype, in_channels, out_channels, kernel, padding, pool):
    """The block, and the chain of plain layers that it stands for."""
    block = ConvReLUPool(in_channels, out_channels, kernel, rng=rng, padding=padding, pool=pool, dtype=dtype)
    block.bias.data[...] = rng.standard_normal(out_channels)
    chain = Sequential(conv=Conv2d(in_channels, out_channels, kernel, rng=rng, padding=padding, dtype=dtype))
    chain.load_state_dict(Sequential(conv=block).state_dict())
    chain.layers["relu"] = ReLU()
    if pool == 2:
        chain.layers["pool"] = MaxPool2d(2)
    return block, chain


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("channels", "kernel", "padding"),
    [
        ((1, 4), 3, 0),
        ((3, 4), 3, 1),
        ((2, 3), (2, 5), (1, 2)),
        ((2, 3), 4, 3),
        ((1, 2), 1, 0),
        ((2, 3), 1, 1),
        ((8, 4), 5, 2),
        ((8, 8), 3, 0),
        ((8, 9), 3, 1),
        ((9, 8), 3, 2),
    ],
)
@pytest.mark.parametrize("size", [(8, 8), (9, 6), (5, 11)])
@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.usefixtures("many_chunks")
def test_the_block_is_the_chain_of_plain_layers(pool, size, channels, kernel, padding, dtype):
    rng = np.random.default_rng(4)
    block, chain = both_ways(rng, dtype, *channels, kernel, padding, pool)
    x = rng.standard_normal((5, *size, channels[0])).astype(dtype)
    y = block.forward(x, train=True).copy()
    assert distance(y, chain.forward(x, train=True)) < EXACT[dtype]
    dy = rng.standard_normal(y.shape).astype(dtype)
    assert distance(block.backward(dy), chain.backward(dy)) < EXACT[dtype]
    for ours, plain in zip(block.parameters(), chain.parameters(), strict=True):
        assert distance(ours.grad, plain.grad) < EXACT[dtype]
    np.testing.assert_array_equal(block.forward(x), y)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("channels", [(3, 4), (8, 9)], ids=["few channels", "winograd"])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (9, 6), (5, 11)])
@pytest.mark.usefixtures("many_chunks")
def test_convolution_and_pooling_are_the_chain_of_both(size, kernel, channels, dtype):
    rng = np.random.default_rng(4)
    block = ConvPool(*channels, kernel, rng=rng, padding=kernel // 2, dtype=dtype)
    plain = Conv2d(*channels, kernel, rng=rng, padding=kernel // 2, bias=False, dtype=dtype)
    plain.load_state_dict(block.state_dict())
    chain = Sequential(plain, MaxPool2d(2))
    x = rng.standard_normal((5, *size, channels[0])).astype(dtype)
    y = block.forward(x, train=True).copy()
    assert distance(y, chain.forward(x, train=True)) < EXACT[dtype]
    dy = rng.standard_normal(y.shape).astype(dtype)
    assert distance(block.backward(dy), chain.backward(dy)) < EXACT[dtype]
    assert distance(block.weight.grad, plain.weight.grad) < EXACT[dtype]
    np.testing.assert_array_equal(block.forward(x), y)


@pytest.mark.parametrize("channels", [(1, 3), (8, 8)], ids=["few channels", "winograd"])
@pytest.mark.parametrize("size", [(4, 4), (9, 6)])
def test_gradients_of_convolution_and_pooling(channels, size):
    rng = np.random.default_rng(3)
    layer = ConvPool(*channels, 3, rng=rng, padding=1, dtype=np.float64)
    assert gradcheck(layer, rng.standard_normal((2, *size, channels[0])), rng, samples=8) < TOLERANCE


@pytest.mark.parametrize("make", [Conv2d, ConvReLUPool], ids=["plain", "block"])
@pytest.mark.parametrize("channels", [(2, 3), (8, 8)])
def test_used_workspaces_leave_no_trace(make, channels):
    """Other batch and image sizes, and a backward, must not leave anything in the border of the images."""
    rng = np.random.default_rng(6)
    layer = make(*channels, 3, rng=rng, padding=1)
    images = [rng.standard_normal((N, H, W, channels[0]), np.float32) for N, H, W in [(9, 9, 8), (2, 5, 5), (9, 9, 8)]]
    for x in images * 2:
        y = layer.forward(x, train=True)
        dy = np.cos(y)
        dx = layer.backward(dy)
        unused = make(*channels, 3, rng=rng, padding=1)
        unused.load_state_dict(layer.state_dict())
        np.testing.assert_array_equal(unused.forward(x, train=True), y)
        np.testing.assert_array_equal(unused.backward(dy), dx)


@pytest.mark.parametrize("make", [Conv2d, ConvReLUPool], ids=["plain", "block"])
@pytest.mark.parametrize("channels", [(2, 3), (8, 8)])
def test_what_is_laid_out_for_a_few_images_keeps_no_weights(make, channels):
    """Neither when they change nor when an optimizer packs them."""
    rng = np.random.default_rng(9)
    layer = make(*channels, 3, rng=rng, padding=1)
    for N in (1, 3, FEW, FEW + 1, 3):
        x = rng.standard_normal((N, 9, 8, channels[0]), np.float32)
        layer.weight.data *= -2
        unused = make(*channels, 3, rng=rng, padding=1)
        unused.load_state_dict(layer.state_dict())
        np.testing.assert_array_equal(layer.forward(x), unused.forward(x))
        pack(layer.parameters())


@pytest.mark.parametrize("make", [Conv2d, ConvReLUPool], ids=["plain", "block"])
def test_a_first_layer_spends_nothing_on_the_gradient_of_its_input(make):
    rng = np.random.default_rng(7)
    network = Sequential(make(3, 4, 3, rng=rng), Flatten())
    x = rng.standard_normal((2, 8, 8, 3), np.float32)
    dy = np.ones_like(network.forward(x, train=True))
    assert network.backward(dy).shape == x.shape
    expected = [parameter.grad.copy() for parameter in network.parameters()]
    first = network.layers["0"]
    first.workspace = Workspaces()
    network.skip_input_grad()
    for parameter in network.parameters():
        parameter.zero_grad()
    network.forward(x, train=True)
    assert network.backward(dy) is None
    assert "dx" not in first.workspace._arrays
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        np.testing.assert_array_equal(parameter.grad, gradient)


@pytest.mark.parametrize("make", [Conv2d, ConvReLUPool], ids=["plain", "block"])
def test_an_empty_batch_passes(make):
    layer = make(3, 4, 3, rng=np.random.default_rng(0))
    y = layer.forward(np.empty((0, 8, 8, 3), np.float32), train=True)
    assert layer.backward(y).shape == (0, 8, 8, 3)
    assert not layer.weight.grad.any()


def test_a_view_of_a_larger_array_is_as_good_as_a_copy():
    rng = np.random.default_rng(8)
    larger = rng.standard_normal((4, 20, 20, 6), np.float32)
    x = larger[::2, 2:12, 3:12, 1:4]
    for layer in (Conv2d(3, 4, 1, rng=rng), Conv2d(3, 4, 3, rng=rng), ConvReLUPool(3, 4, 3, rng=rng)):
        y = layer.forward(x, train=True).copy()
        dx = layer.backward(np.ones_like(y)).copy()
        np.testing.assert_array_equal(layer.forward(x.copy(), train=True), y)
        np.testing.assert_array_equal(layer.backward(np.ones_like(y)), dx)


def test_wrong_images_are_told_with_both_shapes():
    rng = np.random.default_rng(0)
    for make in (Conv2d, ConvReLUPool):
        with pytest.raises(ValueError, match=r"expected \(N, H, W, 16\), got \(32, 1, 28, 28\)"):
            make(16, 32, 3, rng=rng).forward(np.zeros((32, 1, 28, 28), np.float32))
        with pytest.raises(ValueError, match=r"expected \(N, H, W, 16\), got \(32, 16\)"):
            make(16, 32, 3, rng=rng).forward(np.zeros((32, 16), np.float32))
        with pytest.raises(ValueError, match="5 x 5 does not fit into 4 x 9 pixels"):
            make(1, 1, 5, rng=rng).forward(np.zeros((1, 4, 9, 1), np.float32))
    with pytest.raises(ValueError, match="2 x 2 does not fit into 1 x 4 pixels"):
        ConvReLUPool(1, 1, 3, rng=rng).forward(np.zeros((1, 3, 6, 1), np.float32))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"groups": 2}, "2 groups can share, got 3 and 4"),
        ({"stride": 0}, "stride to be one or two whole numbers of at least 1, got 0"),
        ({"padding": -1}, "padding to be one or two whole numbers of at least 0"),
        ({"dilation": (1, 2, 3)}, "dilation to be one or two whole numbers"),
        ({"kernel_size": 0}, "kernel_size to be one or two whole numbers of at least 1"),
    ],
)
def test_wrong_settings_are_told(settings, message):
    with pytest.raises(ValueError, match=message):
        Conv2d(**{"in_channels": 3, "out_channels": 4, "kernel_size": 3, "rng": np.random.default_rng(0)} | settings)


def test_the_block_pools_by_two_or_not_at_all():
    with pytest.raises(ValueError, match="pool=1 or pool=2, got 3"):
        ConvReLUPool(1, 1, 3, rng=np.random.default_rng(0), pool=3)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("images", [1, 3], ids=["lines of one image", "whole images"])
def test_workers_share_the_windows_and_change_nothing(images, padding, threads, monkeypatch):
    shared = []
    together = WindowRows._convolve_together
    monkeypatch.setattr(conv_windows, "ROWS_SIZE", 1 << 20)  # all images are one chunk
    monkeypatch.setattr(WindowRows, "_convolve_together", lambda *args: shared.append(together(*args)))
    layer = Conv2d(16, 130, 5, padding=padding, rng=np.random.default_rng(0), dtype=np.float64)
    x = np.random.default_rng(1).standard_normal((images, 21, 20, 16))
    before = workers().count
    set_threads(1)
    alone = layer.forward(x).copy()
    assert not shared
    set_threads(threads)
    together_result = layer.forward(x).copy()
    set_threads(before)
    assert shared
    np.testing.assert_allclose(together_result, alone, rtol=1e-12, atol=1e-12)
