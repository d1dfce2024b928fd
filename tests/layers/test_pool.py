"""Pooling against PyTorch and central differences; BatchNorm and Dropout on images."""

import numpy as np
import pytest

from core.gradcheck import TOLERANCE, gradcheck
from core.layers import AvgPool2d, BatchNorm, Conv2d, Dropout, GlobalAvgPool, MaxPool2d, Parallel, ReLU, Sequential
from core.ops.cpu import pool as cpu_pool
from core.predict import predict
from core.random import Stream
from core.workers import Workers

KERNELS_STRIDES_PADDINGS = [
    (2, None, 0),
    (3, 2, 1),
    ((2, 3), (1, 2), (1, 0)),
    (3, 1, 0),
    (1, 2, 0),
    ((3, 2), 4, 1),
]
LAYERS = [MaxPool2d, AvgPool2d]


@pytest.fixture(params=[False, True], ids=["one chunk", "many chunks"])
def many_chunks(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(cpu_pool, "CHUNK_SIZE", 500)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize(("kernel", "stride", "padding"), KERNELS_STRIDES_PADDINGS)
@pytest.mark.usefixtures("many_chunks")
def test_values_and_gradients_are_those_of_pytorch(kernel, stride, padding, make, dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    theirs = {MaxPool2d: torch.nn.MaxPool2d, AvgPool2d: torch.nn.AvgPool2d}[make](kernel, stride, padding)
    ours = make(kernel, stride, padding)
    for N, H, W in [(5, 7, 9), (1, 4, 4), (3, 8, 6)]:
        x = rng.standard_normal((N, H, W, 3)).astype(dtype) - 5  # so that a zero in the padding would win
        x_torch = torch.from_numpy(x.transpose(0, 3, 1, 2)).requires_grad_()
        y_torch = theirs(x_torch)
        y = ours.forward(x, train=True)
        np.testing.assert_allclose(y, y_torch.detach().numpy().transpose(0, 2, 3, 1), rtol=1e-6)
        dy = rng.standard_normal(y.shape).astype(dtype)
        y_torch.backward(torch.from_numpy(dy.transpose(0, 3, 1, 2)))
        dx = ours.backward(dy)
        assert y.dtype == dx.dtype == dtype
        np.testing.assert_allclose(dx, x_torch.grad.numpy().transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(ours.forward(x), y)


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize(("kernel", "stride", "padding"), KERNELS_STRIDES_PADDINGS)
@pytest.mark.parametrize("N", [1, 3])
def test_gradients(make, kernel, stride, padding, N):
    rng = np.random.default_rng(1)
    x = rng.permutation(N * 7 * 6 * 2).reshape(N, 7, 6, 2) / 10  # no two elements so close that a difference swaps them
    assert gradcheck(make(kernel, stride, padding), x, rng) < TOLERANCE


def test_gradients_of_the_global_average():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((3, 4, 5, 2))
    layer = GlobalAvgPool()
    np.testing.assert_allclose(layer.forward(x), x.mean(axis=(1, 2)), atol=1e-15)
    assert gradcheck(layer, x, rng) < TOLERANCE


def test_the_first_of_equal_elements_takes_the_gradient():
    layer = MaxPool2d(2)
    layer.forward(np.zeros((1, 2, 4, 1)), train=True)
    np.testing.assert_array_equal(layer.backward(np.ones((1, 1, 2, 1)))[0, :, :, 0], [[1, 0, 1, 0], [0, 0, 0, 0]])


def test_a_nan_is_not_hidden():
    x = np.zeros((1, 2, 2, 1))
    x[0, 1, 0, 0] = np.nan
    assert np.isnan(MaxPool2d(2).forward(x)).all()


@pytest.mark.parametrize("layer", [MaxPool2d(2), AvgPool2d(3, 1, 1), GlobalAvgPool()], ids=lambda x: type(x).__name__)
def test_the_contract_of_the_two_verbs(layer):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, 4, 4, 3))
    given = x.copy()
    y = layer.forward(given, train=True)
    dy = np.ones_like(y)
    layer.backward(dy)
    np.testing.assert_array_equal(given, x)
    np.testing.assert_array_equal(dy, 1)
    with pytest.raises(RuntimeError, match="forward"):
        layer.backward(dy)
    layer.forward(x, train=True)
    layer.forward(x)
    with pytest.raises(RuntimeError, match="forward"):
        layer.backward(dy)
    empty = layer.forward(x[:0], train=True)
    assert layer.backward(empty).shape == (0, 4, 4, 3)


def test_mistakes_are_told():
    for make in LAYERS:
        with pytest.raises(ValueError, match=r"expected \(N, H, W, C\), got \(3, 4\)"):
            make(2).forward(np.zeros((3, 4)))
        with pytest.raises(ValueError, match="5 x 5 does not fit into 4 x 9"):
            make(5).forward(np.zeros((1, 4, 9, 1)))
        with pytest.raises(ValueError, match="padding of at most half the kernel, got 2"):
            make(3, padding=2)
        with pytest.raises(ValueError, match="kernel_size to be one or two whole numbers of at least 1, got 0"):
            make(0)
    with pytest.raises(ValueError, match=r"GlobalAvgPool expected \(N, H, W, C\), got \(3, 4, 5\)"):
        GlobalAvgPool().forward(np.zeros((3, 4, 5)))


# -- layers of any rank, on images -----------------------------------------------------------------------------------


def image_network(seed=0):
    rng, stream = np.random.default_rng(seed), Stream(seed)
    network = Sequential(
        Conv2d(2, 8, 3, rng=rng, padding=1, bias=False),
        BatchNorm(8),
        ReLU(),
        MaxPool2d(3, 2, 1),
        Dropout(0.3, stream=stream),
        Conv2d(8, 4, 1, rng=rng),
        GlobalAvgPool(),
    )
    return network.to(dtype=np.float64), stream


def test_gradients_of_a_network_with_batchnorm_and_dropout_on_images():
    rng = np.random.default_rng(5)
    network, _ = image_network()
    assert gradcheck(network, rng.standard_normal((3, 6, 7, 2)), rng) < TOLERANCE


@pytest.mark.parametrize("count", [2, 3])
def test_workers_share_batch_statistics_and_draw_the_same_masks_on_images(count):
    rng = np.random.default_rng(6)
    x = rng.standard_normal((11, 6, 7, 2))
    alone, stream = image_network()
    split, split_stream = image_network()
    parallel = Parallel(split, Workers(count))
    for batch in range(3):
        stream.seek(0, batch)
        split_stream.seek(0, batch)
        y = alone.forward(x, train=True)
        np.testing.assert_allclose(parallel.forward(x, train=True), y, atol=1e-12)
        dy = np.cos(y)
        np.testing.assert_allclose(parallel.backward(dy), alone.backward(dy), atol=1e-12)
        for ours, expected in zip(split.parameters(), alone.parameters(), strict=True):
            np.testing.assert_allclose(ours.grad, expected.grad, atol=1e-11)
    np.testing.assert_allclose(predict(parallel, x, 5), predict(alone, x), atol=1e-12)


def test_batchnorm_on_images_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)
    ours, theirs = BatchNorm(5), torch.nn.BatchNorm2d(5)
    x = rng.standard_normal((6, 7, 4, 5), np.float32) * 3 + 2
    x_torch = torch.from_numpy(x.transpose(0, 3, 1, 2)).requires_grad_()
    y_torch = theirs(x_torch)
    y = ours.forward(x, train=True)
    np.testing.assert_allclose(y, y_torch.detach().numpy().transpose(0, 2, 3, 1), atol=2e-6)
    dy = rng.standard_normal(y.shape, np.float32)
    y_torch.backward(torch.from_numpy(dy.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(ours.backward(dy), x_torch.grad.numpy().transpose(0, 2, 3, 1), atol=2e-6)
    np.testing.assert_allclose(ours.weight.grad, theirs.weight.grad.numpy(), rtol=1e-4)
    np.testing.assert_allclose(ours.running_var, theirs.running_var.numpy(), rtol=1e-5)
    y = ours.forward(x)
    np.testing.assert_allclose(y, theirs.eval()(x_torch).detach().numpy().transpose(0, 2, 3, 1), atol=2e-5)
