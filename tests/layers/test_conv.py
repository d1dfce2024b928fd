"""Convolution: the plain version against PyTorch, the fast ones against the plain one, gradients by differences."""

import itertools
import tracemalloc

import numpy as np
import pytest

from core import losses, optim
from core.gradcheck import TOLERANCE, gradcheck
from core.layers import Conv2d, ConvReLUPool, Dropout, Flatten, Linear, MaxPool2d, Parallel, ReLU, Sequential
from core.ops import cpu, gpu
from core.ops.cpu import conv_phases, conv_windows, winograd
from core.ops.cpu.conv_simple import simple_conv2d_backward, simple_conv2d_forward
from core.ops.windows import Windows
from core.predict import predict
from core.random import Stream
from core.workers import Workers

KERNELS = [(1, 1), (3, 3), (2, 5)]
STRIDES = [(1, 1), (3, 2)]
PADDINGS = [(0, 0), (2, 1)]
DILATIONS = [(1, 1), (2, 1)]
COMBINATIONS = list(itertools.product(KERNELS, STRIDES, PADDINGS, DILATIONS, [1, 2]))
EXACT = {np.float64: 1e-13, np.float32: 3e-6}  # relative to the norm of the array


@pytest.fixture(params=[False, True], ids=["one chunk", "many chunks"])
def many_chunks(request, monkeypatch):
    """Cut batches into chunks of one or two small images, with a rest, as large images would be."""
    if request.param:
        monkeypatch.setattr(winograd, "PLANE", 140)
        monkeypatch.setattr(conv_windows, "ROWS_SIZE", 2000)
        monkeypatch.setattr(conv_phases, "WINDOWS_SIZE", 2000)


def distance(ours, expected):
    """The relative distance of two arrays."""
    assert ours.shape == expected.shape
    return np.linalg.norm(ours - expected) / max(np.linalg.norm(expected), 1e-30)


def arrays(rng, dtype, N, H, W, C, K, kernel, groups=1):
    x = rng.standard_normal((N, H, W, C)).astype(dtype)
    weight = rng.standard_normal((kernel[0] * kernel[1] * C // groups, K)).astype(dtype)
    return x, weight, rng.standard_normal(K).astype(dtype)


def fresh(name, shape, like, dtype=None):
    """A workspace full of rubbish."""
    memory = np.empty(shape, dtype or like.dtype)
    memory.fill(77)
    return memory


# -- the plain version ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "groups"), COMBINATIONS)
def test_the_simple_version_is_that_of_pytorch(kernel, stride, padding, dilation, groups):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    windows = Windows(kernel, stride, padding, dilation)
    x, weight, bias = arrays(rng, np.float64, 2, 9, 8, 4, 6, kernel, groups)
    theirs = [torch.from_numpy(a).requires_grad_() for a in (x.transpose(0, 3, 1, 2), to_torch(weight, kernel), bias)]
    y = torch.nn.functional.conv2d(*theirs, stride, padding, dilation, groups)
    ours = simple_conv2d_forward(x, weight, bias, windows, groups)
    np.testing.assert_allclose(ours, y.detach().numpy().transpose(0, 2, 3, 1), atol=1e-12)
    dy = rng.standard_normal(ours.shape)
    y.backward(torch.from_numpy(dy.transpose(0, 3, 1, 2)))
    dx, dweight, dbias = simple_conv2d_backward(dy, x, weight, windows, groups)
    np.testing.assert_allclose(dx, theirs[0].grad.numpy().transpose(0, 2, 3, 1), atol=1e-12)
    np.testing.assert_allclose(to_torch(dweight, kernel), theirs[1].grad.numpy(), atol=1e-12)
    np.testing.assert_allclose(dbias, theirs[2].grad.numpy(), atol=1e-12)


def to_torch(weight, kernel):
    """Our weight (KH * KW * C, K) in PyTorch's order (K, C, KH, KW)."""
    return weight.reshape(*kernel, -1, weight.shape[1]).transpose(3, 2, 0, 1).copy()


def from_torch(weight):
    return weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))


# -- the fast versions ---------------------------------------------------------------------------------------------


def check_against_simple(dtype, N, H, W, C, K, windows, groups=1, ops=cpu):
    rng = np.random.default_rng(1)
    x, weight, bias = arrays(rng, dtype, N, H, W, C, K, windows.kernel, groups)
    precise = [array.astype(np.float64) for array in (x, weight, bias)]
    expected = simple_conv2d_forward(*precise, windows, groups)
    y = np.empty(expected.shape, dtype)
    ops.conv2d_forward(x, weight, bias, windows, groups, y, fresh)
    assert distance(y, expected) < EXACT[dtype]
    dy = rng.standard_normal(y.shape).astype(dtype)
    dx = np.empty_like(x)
    dweight, dbias = ops.conv2d_backward(dy, x, weight, windows, groups, dx, fresh)
    expected = simple_conv2d_backward(dy.astype(np.float64), *precise[:2], windows, groups)
    for ours, right in zip((dx, dweight, dbias), expected, strict=True):
        assert ours.dtype == dtype
        assert distance(ours, right) < EXACT[dtype]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "groups"), COMBINATIONS)
@pytest.mark.usefixtures("many_chunks")
def test_the_fast_version_is_the_simple_one(kernel, stride, padding, dilation, groups, dtype):
    check_against_simple(dtype, 3, 9, 8, 4, 6, Windows(kernel, stride, padding, dilation), groups)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 2), (0, 1)])
@pytest.mark.parametrize("size", [(3, 3), (4, 4), (5, 7), (8, 8), (13, 6)])
@pytest.mark.usefixtures("many_chunks")
def test_winograd_is_the_simple_version(size, padding, dtype):
    windows = Windows((3, 3), padding=padding)
    assert cpu.conv.suits_winograd(np.empty((1, *size, 8)), np.empty((72, 9)), windows, groups=1)
    check_against_simple(dtype, 5, *size, 8, 9, windows)


def test_winograd_in_float32_is_nearly_as_precise_as_a_direct_sum():
    rng = np.random.default_rng(0)
    x, weight, bias = arrays(rng, np.float32, 8, 16, 16, 64, 64, (3, 3))
    windows = Windows((3, 3), padding=(1, 1))
    precise = simple_conv2d_forward(*(array.astype(np.float64) for array in (x, weight, bias)), windows)
    y = np.empty(precise.shape, np.float32)
    cpu.conv2d_forward(x, weight, bias, windows, 1, y, fresh)
    direct = distance(simple_conv2d_forward(x, weight, bias, windows), precise)
    assert distance(y, precise) < min(1e-6, 6 * direct)


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "groups"), COMBINATIONS[::3])
def test_the_version_for_a_gpu_is_the_simple_one(kernel, stride, padding, dilation, groups):
    check_against_simple(np.float64, 3, 9, 8, 4, 6, Windows(kernel, stride, padding, dilation), groups, ops=gpu)


# -- the layers ----------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("size", [(8, 8), (9, 7)])
def test_the_block_for_a_gpu_is_the_same(size):
    rng = np.random.default_rng(5)
    windows = Windows((3, 3), padding=(1, 1))
    x, weight, bias = arrays(rng, np.float64, 3, *size, 2, 4, (3, 3))
    results = []
    for ops in (cpu, gpu):
        y, dx = np.empty((3, size[0] // 2, size[1] // 2, 4)), np.empty_like(x)
        winners = ops.conv_relu_pool_forward(x, weight, bias, windows, y, True, fresh)
        dy = np.sin(np.arange(y.size)).reshape(y.shape)
        results.append([y, dx, *ops.conv_relu_pool_backward(dy, x, y, winners, weight, windows, dx, fresh)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


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
def test_a_first_layer_spends_nothing_on_the_gradient_of_its_input(make):
    rng = np.random.default_rng(7)
    network = Sequential(make(3, 4, 3, rng=rng), Flatten())
    x = rng.standard_normal((2, 8, 8, 3), np.float32)
    dy = np.ones_like(network.forward(x, train=True))
    assert network.backward(dy).shape == x.shape
    expected = [parameter.grad.copy() for parameter in network.parameters()]
    first = network.layers["0"]
    first._workspaces.clear()
    network.skip_input_grad()
    for parameter in network.parameters():
        parameter.zero_grad()
    network.forward(x, train=True)
    assert network.backward(dy) is None
    assert "dx" not in first._workspaces
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


# -- whole networks ------------------------------------------------------------------------------------------------


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
            module.weight.copy_(torch.from_numpy(to_torch(ours.weight.data, (3, 3))))
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
        assert distance(ours.data, theirs.data) < 1e-4


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


# -- mistakes ------------------------------------------------------------------------------------------------------


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
        ({"stride": 0}, "stride to be one or two numbers of at least 1, got 0"),
        ({"padding": -1}, "padding to be one or two numbers of at least 0"),
        ({"dilation": (1, 2, 3)}, "dilation to be one or two numbers"),
        ({"kernel_size": 0}, "kernel_size to be one or two numbers of at least 1"),
    ],
)
def test_wrong_settings_are_told(settings, message):
    with pytest.raises(ValueError, match=message):
        Conv2d(**{"in_channels": 3, "out_channels": 4, "kernel_size": 3, "rng": np.random.default_rng(0)} | settings)


def test_the_block_pools_by_two_or_not_at_all():
    with pytest.raises(ValueError, match="pool=1 or pool=2, got 3"):
        ConvReLUPool(1, 1, 3, rng=np.random.default_rng(0), pool=3)
