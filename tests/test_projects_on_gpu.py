"""The training scripts with --device gpu, on the emulated GPU: the same training as on the CPU, and no step waits."""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.backend import device_of, gpu_module
from core.data.prepared import load_prepared, save_prepared
from core.data.synthetic import digits
from core.kernels import shim
from core.kernels.emulated import emulated_gpu
from core.training.checkpoint import load_checkpoint
from core.training.device_feed import DeviceFeed
from core.training.outputs import Outputs
from core.training.run import STEPS_BETWEEN_GPU_CHECKS, Run

pytestmark = pytest.mark.skipif(shim.compiler() is None, reason="kernels run on the CPU only with g++ or clang++")

UNMOVED = {"rotate": 0.0, "scale": 0.0, "shear": 0.0, "elastic": 0.0}
EVEN = {"brightness": 0.0, "contrast": 0.0}
# Of each project: the settings of a small training, and whether the GPU makes its batches itself.
SMALL = {
    "mlp": ("mlp_mnist", {"dropout": 0.2, "members": 2, "cutout": 5}, True),
    "mlp, squared error": ("mlp_mnist", {"loss": "mean_squared_error", "rotate": 10.0, "elastic": 20.0}, False),
    "cnn": ("cnn_mnist100", UNMOVED | EVEN | {"shift": 2, "batch_norm": True}, True),
    "cnn, exchange": ("cnn_mnist100", {"exchange": True, "dropout": 0.2, "rotate": 5.0}, False),
    "rnn": ("rnn_doodles", {}, False),
    "emnist": ("emnist", UNMOVED | {"class_weights": "root", "shift": 0.0}, True),
    "emnist, distorted": ("emnist", {"rotate": 10.0, "elastic": 20.0, "ema_decay": 0.9}, False),
    "music": ("music_cuda", {}, False),
    "music, mixed": ("music_cuda", {"mixup": 0.2, "members": 2, "optimizer": "adamw"}, False),
    "cifar mlp": ("cifar", {"preset": "mlp", "hidden": (16,), "rotate": 0.0}, True),
    "cifar cnn": (
        "cifar",
        {"preset": "cnn", "widths": (4, 4, 4), "hidden": (8,), "rotate": 0.0, "jitter": 0.0, "cutout": 4},
        True,
    ),
    "cifar resnet": ("cifar", {"preset": "resnet", "widths": (4, 4), "rotate": 0.0, "jitter": 0.0}, True),
    "cifar fast": ("cifar", {"preset": "fast", "widths": (4, 4, 4)}, True),
}
USUAL = {
    "mlp_mnist": {"hidden": (16,), "validation": 20, "lr": 3e-3},
    "cnn_mnist100": {"filters": (4, 4), "hidden": (8,), "lr": 3e-3, "batch_size": 10},
    "rnn_doodles": {"hidden": 6, "lr": 3e-3},
    "emnist": {"filters": (2, 4), "hidden": (8,), "lr": 3e-3, "retrain": True},
    "music_cuda": {"layers": True, "hidden1": 12, "hidden2": 8},
    "cifar": {"validation": 10, "warm_up": 0.0, "batch_size": 10},
}
SAMPLES = {"cnn_mnist100": 40, "cifar": 40}  # of the larger images, of which fewer must do


def make_data(project: str, folder: Path) -> Path:
    """Prepared data of that project, little of it."""
    if project == "mlp_mnist":
        images, labels = digits(120, seed=0)
        info = {"dataset": "mnist", "origin": "synthetic", "complete": False, "notice": "SYNTHETIC", "command": "setup"}
        arrays = {"train_images": images, "train_labels": labels}
        save_prepared(folder, arrays, info | {"classes": list("0123456789")})
        return folder
    tiny = {"cnn_mnist100": "pairs", "rnn_doodles": "doodles", "music_cuda": "music"}.get(project, project)
    importlib.import_module(f"tiny_{tiny}").make_archive(folder, **({"train": 102} if project == "emnist" else {}))
    prepared = load_prepared(folder, mmap=False)
    save_prepared(folder, {name: a[: SAMPLES.get(project)] for name, a in prepared.arrays.items()}, prepared.info)
    return folder


@pytest.fixture
def steps(monkeypatch):
    """Counts the steps on a GPU, of which none may wait but those that look at the loss; and draws no curves."""
    counted, batches = [], Run.batches

    def watched(run, *arrays, **how):
        rest = batches(run, *arrays, **how)
        while True:
            looks = device_of(run.optimizer.flat.data) == "cpu" or run.state.step % STEPS_BETWEEN_GPU_CHECKS == 0
            with nullcontext() if looks else gpu_module().forbid_waiting():
                batch = next(rest, None)
                if batch is None:
                    return
                counted.append(looks)
                yield batch

    monkeypatch.setattr(Run, "batches", watched)
    monkeypatch.setattr(Outputs, "draw", lambda *_: None)
    return counted


@pytest.mark.parametrize("name", SMALL)
def test_a_project_trains_on_a_gpu_as_on_a_cpu(name, tmp_path, monkeypatch, steps):
    project, changes, made_there = SMALL[name]
    monkeypatch.syspath_prepend(Path(__file__).parent / project)  # for its tiny data
    training = importlib.import_module(f"{project}.training")
    module = importlib.import_module(f"{project}.settings")
    source = {"dataset" if project == "music_cuda" else "data": str(make_data(project, tmp_path / "data"))}
    usual = {"name": "run", "epochs": 1, "batch_size": 20, "threads": 1, **source, **USUAL[project]}
    settings = replace(module.PRESETS[changes.get("preset", next(iter(module.PRESETS)))], **(usual | changes))
    read, reads = DeviceFeed.read, []
    monkeypatch.setattr(DeviceFeed, "read", lambda feed, rows: reads.append(1) or read(feed, rows))
    monkeypatch.setattr(training, "PROJECT", tmp_path)
    rows = {}
    for device in ("cpu", "gpu"):
        with emulated_gpu() if device == "gpu" else nullcontext():
            training.train(replace(settings, name=device, device=device))
        folder = tmp_path / "runs" / device
        rows[device] = np.genfromtxt(folder / "history.csv", delimiter=",", names=True)
        tensors, _ = load_checkpoint(folder / "best.safetensors")
        assert all(type(array) is np.ndarray for array in tensors.values())
    assert steps.count(False) >= 2
    assert bool(reads) == made_there
    for figure in ("train_loss", "validation_loss", "gradient_norm"):
        np.testing.assert_allclose(rows["gpu"][figure], rows["cpu"][figure], rtol=1e-4)
