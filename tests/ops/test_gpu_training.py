"""The projects' training scripts with --device gpu, on the emulated GPU: they run, and a step does not wait."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import cifar.model
import cnn_mnist100.model
import emnist.model
import music_cuda.model
from core.backend import gpu_module, to_device
from core.data.prepared import save_prepared
from core.data.synthetic import digits
from core.kernels import shim
from core.kernels.emulated import emulated_gpu
from core.losses import softmax_cross_entropy
from core.optim import SGD, gradient_norm
from core.training.checkpoint import load_checkpoint
from core.training.history import Tally
from core.training.outputs import Outputs
from core.training.run import STEPS_BETWEEN_GPU_CHECKS, Run

TESTS = Path(__file__).resolve().parents[1]
sys.path.append(str(TESTS / "rnn_doodles"))  # for tiny_doodles

pytestmark = pytest.mark.skipif(shim.compiler() is None, reason="kernels run on the CPU only with g++ or clang++")


@pytest.fixture
def steps(monkeypatch):
    """Counts steps, and forbids those to wait that do not look at the loss; drawing curves would take all the time."""
    counted, step = [], Run.step

    def watched(run, loss, **metrics):
        counted.append(1)
        if run.state.step % STEPS_BETWEEN_GPU_CHECKS:
            with gpu_module().forbid_waiting():
                step(run, loss, **metrics)
        else:
            step(run, loss, **metrics)

    monkeypatch.setattr(Run, "step", watched)
    monkeypatch.setattr(Outputs, "draw", lambda *_: None)
    return counted


@pytest.fixture
def mlp(tmp_path):
    images, labels = digits(300, seed=0)
    info = {"dataset": "mnist", "origin": "synthetic", "complete": False, "notice": "SYNTHETIC", "command": "setup"}
    save_prepared(
        tmp_path / "data", {"train_images": images, "train_labels": labels}, info | {"classes": list("0123456789")}
    )
    from mlp_mnist import training
    from mlp_mnist.settings import Settings

    settings = Settings(data=str(tmp_path / "data"), epochs=2, batch_size=32, hidden=(16,), validation=60, lr=3e-3)
    return training, settings, "runs/mnist-default"


@pytest.fixture
def rnn(tmp_path):
    from tiny_doodles import make_archive

    from rnn_doodles import training
    from rnn_doodles.settings import Settings

    data = make_archive(tmp_path / "data", parts=("train",))
    return training, Settings(data=str(data), epochs=2, batch_size=30, hidden=8, lr=0.01), "runs/default"


@pytest.mark.parametrize("project", ["mlp", "rnn"])
def test_a_project_trains_on_a_gpu_as_on_a_cpu(project, request, tmp_path, monkeypatch, steps):
    training, settings, folder = request.getfixturevalue(project)
    rows = {}
    for device in ("gpu", "cpu"):
        monkeypatch.setattr(training, "PROJECT", tmp_path / device)
        settings.device = device
        if device == "gpu":
            with emulated_gpu() as gpu:
                training.train(settings)
                assert gpu.waits > 0
            assert len(steps) >= 4
            monkeypatch.undo()
            monkeypatch.setattr(Outputs, "draw", lambda *_: None)
        else:
            training.train(settings)
        path = tmp_path / device / folder
        rows[device] = np.genfromtxt(path / "history.csv", delimiter=",", names=True)
        tensors, _ = load_checkpoint(path / "best.safetensors")
        assert all(type(array) is np.ndarray for array in tensors.values())
    for name in ("train_loss", "validation_loss", "gradient_norm"):
        np.testing.assert_allclose(rows["gpu"][name], rows["cpu"][name], rtol=2e-3)


NETWORKS = {
    "cnn_mnist100": (cnn_mnist100.model, cnn_mnist100.model.Architecture((4, 8), batch_norm=True), (28, 56, 1)),
    "emnist": (emnist.model, emnist.model.Architecture(10, (4, 8), hidden=(16,), dropout=0.3), (28, 28, 1)),
    "music_cuda": (music_cuda.model, music_cuda.model.Architecture(batch_norm=True, dropout=0.2), (57,)),
    "cifar mlp": (cifar.model, cifar.model.Architecture("mlp", hidden=(24,), activation="gelu"), (32, 32, 3)),
    "cifar cnn": (cifar.model, cifar.model.Architecture("cnn", widths=(4, 4, 8), hidden=(16,)), (32, 32, 3)),
    "cifar resnet": (cifar.model, cifar.model.Architecture("resnet", widths=(4, 4, 8)), (32, 32, 3)),
    "cifar fast": (cifar.model, cifar.model.Architecture("fast", widths=(4, 4, 8)), (32, 32, 3)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_a_step_without_waiting(name):
    model, architecture, shape = NETWORKS[name]
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((4, *shape)).astype(np.float32), rng.integers(0, 10, 4)

    def step(network, x, labels):
        optimizer = SGD(network.skip_input_grad().parameters(), momentum=0.9)
        loss, dlogits = softmax_cross_entropy(network.forward(x, train=True), labels)
        network.backward(dlogits)
        norm = gradient_norm(optimizer.flat)
        optimizer.step(0.1)
        return loss, norm

    expected = step(model.build(architecture), x, labels)
    with emulated_gpu() as gpu:
        network, there = model.build(architecture).to("gpu"), (to_device(x, "gpu"), to_device(labels, "gpu"))
        with gpu.forbid_waiting():
            found = step(network, *there)
        np.testing.assert_allclose([float(number) for number in found], expected, rtol=1e-3)


def test_an_epochs_figures_come_in_one_copy():
    with emulated_gpu() as gpu:
        tally = Tally()
        with gpu.forbid_waiting():
            for number in range(20):
                tally.add(number + 1, {"loss": gpu.full((), number, np.float32), "half": 0.5})
        assert tally.means() == {"loss": pytest.approx(sum(n * (n + 1) for n in range(20)) / 210), "half": 0.5}
        assert gpu.waits == 1
