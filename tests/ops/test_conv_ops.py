"""Convolution: the plain version against PyTorch, and the fast ones against the plain one."""

import itertools

import numpy as np
import pytest

from core.ops import cpu, gpu
from core.ops.cpu import conv_phases, conv_windows, image_chunks, winograd
from core.ops.cpu.conv_simple import simple_conv2d_backward, simple_conv2d_forward
from core.ops.windows import Windows

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
@pytest.mark.parametrize("form", [winograd.LARGE, winograd.SMALL], ids=["F(4x4)", "F(2x2)"])
@pytest.mark.usefixtures("many_chunks")
def test_winograd_is_the_simple_version(form, size, padding, dtype, monkeypatch):
    used = []
    monkeypatch.setattr(winograd, "form_for", lambda *_: used.append(form) or form)
    check_against_simple(dtype, 5, *size, 8, 9, Windows((3, 3), padding=padding))
    assert used


def test_a_few_tiles_are_not_worth_a_transform(monkeypatch):
    monkeypatch.setattr(winograd, "FEWEST_TILES", 24)
    windows = Windows((3, 3), padding=(1, 1))
    x, weight = np.empty((6, 8, 8, 64), np.float32), np.empty((9 * 64, 64), np.float32)
    assert winograd.form_for(x[:5], weight, windows, (8, 8)) is None
    assert winograd.form_for(x, weight, windows, (8, 8)) is winograd.LARGE
    weight.setflags(write=False)  # a constant kernel is transformed once for all calls
    assert winograd.form_for(x[:1, :4, :4], weight, windows, (4, 4)) is None
    assert winograd.form_for(x[:1], weight, windows, (8, 8)) is winograd.LARGE
    check_against_simple(np.float32, 5, 8, 8, 64, 64, windows)


def test_a_few_small_tiles_are_worth_it_where_the_kernel_is_large(monkeypatch):
    monkeypatch.setattr(winograd, "FEWEST_TILES", 24)
    windows, x = Windows((3, 3), padding=(1, 1)), np.empty((4, 4, 4, 256), np.float32)
    weight = np.empty((9 * 256, 256), np.float32)
    assert winograd.form_for(x, weight, windows, (4, 4)) is None
    weight.setflags(write=False)
    assert winograd.form_for(x, weight, windows, (4, 4)) is winograd.LARGE
    assert winograd.form_for(x[:1], weight, windows, (4, 4)) is winograd.SMALL
    assert winograd.form_for(x[:1, :2, :2], weight, windows, (2, 2)) is None
    assert winograd.form_for(x[:1], weight, Windows((3, 3), stride=(2, 2), padding=(1, 1)), (2, 2)) is None


@pytest.mark.parametrize("count", [1, 3])
def test_panels_of_the_transformed_kernel_make_the_same_products(count, monkeypatch):
    monkeypatch.setattr(winograd, "PANEL", 4)
    monkeypatch.setattr(winograd, "FEW_TILES", 8 if count == 3 else 0)
    rng, windows = np.random.default_rng(0), Windows((3, 3), padding=(1, 1))
    x, weight, _ = arrays(rng, np.float64, 1, 8, 8, 8, 12, (3, 3))
    weight.setflags(write=False)
    tiles = winograd.WinogradTiles(winograd.LARGE, 1, x, weight.shape, (1, 1), (8, 8), fresh)
    tiles.use(weight, fresh)
    assert tiles._u.shape == (36, count, 8, 12 // count)
    y = np.empty((1, 8, 8, 12))
    tiles.convolve(x, y)
    np.testing.assert_allclose(y, simple_conv2d_forward(x, weight, np.zeros(12), windows), atol=1e-12)


@pytest.mark.parametrize(("most", "pieces"), [(36 * 80, 1), (36 * 80 - 1, 2), (36 * 40 - 1, 4)])
def test_long_lines_are_multiplied_in_pieces(most, pieces, monkeypatch):
    monkeypatch.setattr(winograd, "MOST_MULTIPLICATIONS", most)
    rng, windows = np.random.default_rng(0), Windows((3, 3), padding=(1, 1))
    x, weight, _ = arrays(rng, np.float64, 2, 8, 8, 8, 12, (3, 3))  # lines of 10 pixels with 8 channels
    tiles = winograd.WinogradTiles(winograd.LARGE, 2, x, weight.shape, (1, 1), (8, 8), fresh)
    assert tiles._lines.shape == (2, 2, pieces, 6, 80 // pieces)
    tiles.use(weight, fresh)
    y = np.empty((2, 8, 8, 12))
    tiles.convolve(x, y)
    np.testing.assert_allclose(y, simple_conv2d_forward(x, weight, np.zeros(12), windows), atol=1e-12)


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


@pytest.mark.parametrize(
    ("N", "size", "expected"),
    [
        (128, 23, [32] * 4),  # 1.4 times as large, so that there is no rest
        (128, 128, [128]),
        (128, 500, [128]),
        (7, 3, [3, 3, 1]),  # a prime number has a rest
        (5, 1, [1] * 5),
        (0, 3, []),
    ],
)
def test_chunks_are_equal_where_that_is_possible(N, size, expected):
    parts = [part for _, parts in image_chunks.chunks(N, size) for part in parts]
    assert [part.stop - part.start for part in parts] == expected
    assert [M for M, parts in image_chunks.chunks(N, size) for _ in parts] == expected
    assert [n for part in parts for n in range(part.start, part.stop)] == list(range(N))
