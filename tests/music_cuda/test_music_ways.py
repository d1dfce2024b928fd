"""The ways to train (layers, vectors, one kernel an epoch, a kernel a layer) all come to the same weights.

The kernels run on the CPU here, through the shim of core.kernels, and on an emulated GPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.data.batches import epoch_order
from core.errors import UserError
from core.kernels import KernelError
from core.kernels.emulated import emulated_gpu
from core.kernels.shim import SANITIZE, compiler, thread_order
from core.layers import Linear
from core.losses import softmax_cross_entropy
from core.optim import SGD
from music_cuda.model import Architecture, build
from music_cuda.on_chip import KERNELS, Fused, Naive, padded
from music_cuda.per_sample import PerSample
from music_cuda.settings import PRESETS, Settings
from music_cuda.whole_epochs import make_epoch

needs_compiler = pytest.mark.skipif(compiler() is None, reason="kernels run on the CPU only with g++ or clang++")
SONGS = 60


@pytest.fixture(scope="module")
def songs():
    rng = np.random.default_rng(0)
    return rng.standard_normal((SONGS, 57)).astype(np.float32), rng.integers(0, 10, SONGS)


def linears_of(network):
    return [layer for layer in network.layers.values() if isinstance(layer, Linear)]


def rates_for(songs, batch_size, lr=0.03):
    """A learning rate for each step that changes, so that using another step's shows."""
    return (lr * np.linspace(1, 0.2, -(-songs // batch_size))).tolist()


def train(way, songs, batch_size=1, epochs=2, hidden=(32, 16), dtype=np.float32, count=53):
    """Losses and accuracies of the epochs, and the weights after them."""
    x, labels = songs[0].astype(dtype), songs[1]
    network = build(Architecture(hidden=hidden), seed=3).to(dtype=dtype)
    SGD(network.parameters())  # packs them, as in training
    results, rates = [], rates_for(count, batch_size)
    run = None if way == "layers" else make_epoch(way, linears_of(network), x, labels, batch_size)
    for epoch in range(epochs):
        order = epoch_order(SONGS, seed=5, epoch=epoch)[:count]
        results.append(run(order, rates) if run else layer_epoch(network, x, labels, order, rates, batch_size))
    return np.array(results), network.state_dict()


def layer_epoch(network, x, labels, order, rates, batch_size):
    """The plain loop with the layers of core."""
    optimizer, losses, right = SGD(network.parameters()), [], 0
    for step, rate in enumerate(rates):
        rows = order[step * batch_size : (step + 1) * batch_size]
        logits = network.forward(x[rows], train=True)
        loss, dlogits = softmax_cross_entropy(logits, labels[rows])
        right += (logits.argmax(axis=1) == labels[rows]).sum()
        losses.append(float(loss) * len(rows))
        network.backward(dlogits)
        optimizer.step(rate)
    return sum(losses) / len(order), right / len(order)


def assert_same(one, other, tolerance):
    np.testing.assert_allclose(one[0], other[0], rtol=tolerance, atol=tolerance)
    for name, array in one[1].items():
        np.testing.assert_allclose(array, other[1][name], rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(
    "way", ["vectors", pytest.param("fused", marks=needs_compiler), pytest.param("naive", marks=needs_compiler)]
)
def test_one_song_at_a_time(way, songs):
    expected = train("layers", songs)
    assert expected[0][0, 0] > expected[0][1, 0], "it learns"
    assert_same(train(way, songs), expected, 2e-5)


def test_vectors_take_any_number_of_layers(songs):
    for hidden in ((7,), (20, 9, 5)):
        assert_same(train("vectors", songs, hidden=hidden), train("layers", songs, hidden=hidden), 2e-5)


@needs_compiler
@pytest.mark.parametrize(
    ("batch_size", "hidden"),
    [
        (1, (5, 3)),
        (1, (31, 9)),
        (1, (32, 17)),
        (1, (33, 16)),
        (2, (32, 16)),
        (8, (32, 16)),
        (8, (33, 7)),
        (30, (5, 3)),
        (53, (4, 9)),
        (1, (70, 40)),
        (100, (6, 6)),
    ],
)
def test_fused_batches_of_any_size_and_networks_of_any_width(batch_size, hidden, songs):
    expected = train("layers", songs, batch_size, hidden=hidden)
    assert_same(train("fused", songs, batch_size, hidden=hidden), expected, 5e-5)


@needs_compiler
@pytest.mark.parametrize(("way", "batch_size"), [("fused", 1), ("fused", 4), ("naive", 1)])
def test_kernels_in_double_precision(way, batch_size, songs):
    expected = train("layers", songs, batch_size, hidden=(12, 6), dtype=np.float64)
    assert_same(train(way, songs, batch_size, hidden=(12, 6), dtype=np.float64), expected, 1e-12)


@needs_compiler
@pytest.mark.parametrize(("way", "batch_size"), [("fused", 1), ("fused", 5), ("naive", 1)])
def test_the_order_of_threads_changes_not_a_bit(way, batch_size, songs):
    """A missing barrier or a race would."""
    results = []
    for order in ("forward", "reverse", "shuffled"):
        with thread_order(order):
            results.append(train(way, songs, batch_size, epochs=1, hidden=(18, 11), count=11))
    for other in results[1:]:
        assert_same(other, results[0], 0)


@pytest.mark.parametrize(
    ("way", "batch_size"),
    [
        ("vectors", 1),
        pytest.param("fused", 1, marks=needs_compiler),
        pytest.param("fused", 3, marks=needs_compiler),
        pytest.param("naive", 1, marks=needs_compiler),
    ],
)
def test_a_weight_that_is_no_number_shows_in_the_loss(way, batch_size, songs):
    network = build(Architecture(), seed=3)
    network.parameters()[0].data[:, 2] = np.nan  # a hidden unit, which a ReLU by max(x, 0) would make 0
    run = make_epoch(way, linears_of(network), *songs, batch_size)
    loss, _ = run(np.arange(6), rates_for(6, batch_size))
    assert np.isnan(loss)


@needs_compiler
@pytest.mark.parametrize("way", ["fused", "naive"])
def test_on_an_emulated_gpu(way, songs):
    expected = train("layers", songs, count=9)
    with emulated_gpu() as gpu:
        network = build(Architecture(), seed=3).to("gpu")
        SGD(network.parameters())
        run = make_epoch(way, linears_of(network), gpu.asarray(songs[0]), gpu.asarray(songs[1]), 1)
        results = [run(epoch_order(SONGS, seed=5, epoch=epoch)[:9], rates_for(9, 1)) for epoch in range(2)]
        state = network.state_dict()
    assert_same((np.array(results), state), expected, 2e-5)


@needs_compiler
def test_an_epoch_of_naive_training_never_waits_for_the_gpu(songs):
    with emulated_gpu() as gpu:
        network = build(Architecture(hidden=(6, 4))).to("gpu")
        naive = Naive(linears_of(network), gpu.asarray(songs[0]), gpu.asarray(songs[1]))
        before = gpu.waits
        naive(np.arange(5), [0.1] * 5)
        assert gpu.waits - before == 2, "for the loss and the accuracy, in the end"


@needs_compiler
def test_no_songs_and_more_blocks_change_nothing(songs):
    network = build(Architecture(hidden=(6, 4)))
    before = network.state_dict()
    fused = Fused(linears_of(network), songs[0], songs[1], 1)
    with np.errstate(invalid="ignore"), pytest.warns(RuntimeWarning, match="empty slice"):
        fused(np.arange(0), [])
    for name, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@needs_compiler
def test_every_kernel_of_the_project_is_known_here():
    names = {
        "fused_epoch",
        "one_by_one_epoch",
        "naive_forward",
        "naive_softmax_gradient",
        "naive_backward",
        "naive_update",
    }
    assert set(KERNELS.signatures) == names, "a new kernel needs a test here"


SANITIZED = """
import numpy as np
from core.layers import Linear
from music_cuda.model import Architecture, build
from music_cuda.on_chip import Fused, Naive
rng = np.random.default_rng(0)
x, labels = rng.standard_normal((30, 57)).astype(np.float32), rng.integers(0, 10, 30)
for hidden, size in (((32, 16), 1), ((33, 7), 4), ((5, 3), 7)):
    linears = [layer for layer in build(Architecture(hidden=hidden)).layers.values() if isinstance(layer, Linear)]
    Fused(linears, x, labels, size)(rng.permutation(30)[:23], [0.01] * -(-23 // size))
    Naive(linears, x, labels)(np.arange(3), [0.01] * 3)
print("done")
"""


@needs_compiler
def test_the_kernels_stay_within_their_arrays():
    """Under AddressSanitizer, whose library Python must have loaded before all else."""
    asan = subprocess.run([compiler(), "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    if not Path(asan.stdout.strip()).is_absolute():
        pytest.skip("the compiler has no AddressSanitizer")
    settings = {"LD_PRELOAD": asan.stdout.strip(), "ASAN_OPTIONS": "detect_leaks=0", SANITIZE: "1"}
    environment = os.environ | settings | {"PYTHONPATH": str(KERNELS.folder.parents[1])}
    done = subprocess.run([sys.executable, "-c", SANITIZED], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_the_kernels_compile_for_gpus():
    from core.kernels.compile import compile_folder
    from core.kernels.compilers import find_compiler

    found = find_compiler()
    if found is None:
        pytest.skip("no compiler for GPU code: pip install nvidia-cuda-nvrtc")
    assert compile_folder(KERNELS.folder, ["sm_90"], found) == 0


def test_vectors_agree_with_pytorch(songs):
    torch = pytest.importorskip("torch")
    x, labels = songs
    network = build(Architecture(), seed=3)
    linears = linears_of(network)
    theirs = torch.nn.Sequential(
        torch.nn.Linear(57, 32), torch.nn.ReLU(), torch.nn.Linear(32, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10)
    )
    with torch.no_grad():
        for linear, module in zip(linears, theirs[::2], strict=True):
            module.weight.copy_(torch.from_numpy(linear.weight.data.T))
            module.bias.zero_()
    optimizer, losses = torch.optim.SGD(theirs.parameters(), lr=0.03), []
    for row in range(SONGS):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            theirs(torch.from_numpy(x[row : row + 1])), torch.tensor(labels[row : row + 1])
        )
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    ours, _ = PerSample(linears, x, labels)(np.arange(SONGS), [0.03] * SONGS)
    assert ours == pytest.approx(np.mean(losses), rel=1e-5)
    for linear, module in zip(linears, theirs[::2], strict=True):
        np.testing.assert_allclose(linear.weight.data.T, module.weight.detach().numpy(), atol=1e-5)
        np.testing.assert_allclose(linear.bias.data, module.bias.detach().numpy(), atol=1e-5)


def test_vectors_leave_the_weights_in_the_optimizers_memory(songs):
    network = build(Architecture())
    optimizer = SGD(network.parameters())
    PerSample(linears_of(network), *songs)(np.arange(10), [0.1] * 10)
    assert all(np.shares_memory(parameter.data, optimizer.flat.data) for parameter in network.parameters())


def test_what_is_too_large_for_the_chip_is_refused(songs):
    with pytest.raises(UserError, match=r"--fused keeps .* try a --batch-size up to 4\d$"):
        Fused(linears_of(build(Architecture())), *songs, 60)
    with pytest.raises(UserError, match="smaller --hidden1 and --hidden2"):
        Fused(linears_of(build(Architecture(hidden=(300, 200)))), *songs, 1)


@needs_compiler
def test_the_largest_batch_that_is_advised_fits(songs):
    network = build(Architecture())
    try:
        Fused(linears_of(network), *songs, 60)
    except UserError as error:
        most = int(str(error).split()[-1])
    Fused(linears_of(network), *songs, most)(np.arange(SONGS), rates_for(SONGS, most))
    with pytest.raises(UserError):
        Fused(linears_of(network), *songs, most + 1)


@needs_compiler
def test_wrong_arrays_are_refused_before_they_reach_the_kernel(songs):
    x, labels = songs
    fused = Fused(linears_of(build(Architecture())), x, labels, 1)
    fused.x = x[:, :40].copy()
    with pytest.raises(KernelError, match="D="):
        fused(np.arange(5), [0.1] * 5)


@pytest.mark.parametrize("columns", range(1, 70))
def test_rows_on_the_chip_do_not_meet_in_a_bank(columns):
    assert padded(columns) >= columns
    assert padded(columns) % 8 == 4


@pytest.mark.parametrize(
    ("changes", "device", "way"),
    [
        ({}, "cpu", "vectors"),
        ({}, "gpu", "fused"),
        ({"layers": True}, "cpu", "layers"),
        ({"layers": True}, "gpu", "layers"),
        ({"batch_size": 4}, "cpu", "layers"),
        ({"batch_size": 4}, "gpu", "fused"),
        ({"fused": True}, "cpu", "fused"),
        ({"naive": True}, "gpu", "naive"),
        ({"dropout": 0.1}, "cpu", "layers"),
        ({"momentum": 0.9}, "gpu", "layers"),
        ({"hidden2": 0}, "cpu", "layers"),
    ],
)
def test_which_way_the_settings_choose(changes, device, way):
    plain = {"optimizer": "sgd", "momentum": 0.0, "batch_size": 1}
    assert Settings(**(plain | changes)).way(device) == way


def test_the_presets_choose_the_ways_that_the_readme_says():
    assert PRESETS["default"].way("cpu") == "vectors"
    assert PRESETS["default"].way("gpu") == "fused"
    assert PRESETS["best"].way("cpu") == PRESETS["best"].way("gpu") == "layers"
