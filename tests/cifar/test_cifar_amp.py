"""Training with --amp on the emulated GPU: the four networks learn as they do in float32, and resume bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_cifar import make_archive

from cifar import training
from cifar.settings import PRESETS, Settings
from core.backend import gpu_module
from core.data.prepared import load_prepared, save_prepared
from core.errors import UserError
from core.kernels import shim
from core.kernels.emulated import emulated_gpu
from core.layers import mixed
from core.training.checkpoint import load_checkpoint
from core.training.outputs import Outputs
from core.training.run import STEPS_BETWEEN_GPU_CHECKS, Run

needs_compiler = pytest.mark.skipif(shim.compiler() is None, reason="kernels run on the CPU only with g++ or clang++")

PLAIN = {"crop": 0, "jitter": 0.0, "rotate": 0.0, "cutout": 0, "dropout": 0.0}
ADAM = {"optimizer": "adam", "schedule": "constant"}
SMALL = {
    "mlp": ADAM | {"hidden": (32, 16), "lr": 3e-4},
    "cnn": ADAM | {"widths": (4, 4, 4), "hidden": (8,), "lr": 1e-2},
    "resnet": ADAM | {"widths": (4, 4), "lr": 2e-2, "ema_decay": 0.5, "ema_every": 1},
    "fast": {"widths": (4, 4, 4)},
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = make_archive(tmp_path_factory.mktemp("archive") / "cifar10", parts=("train",))
    prepared = load_prepared(folder, mmap=False)
    save_prepared(folder, {name: array[:20] for name, array in prepared.arrays.items()}, prepared.info)
    return folder


@pytest.fixture
def quick(archive, tmp_path, monkeypatch):
    """A function that gives small settings of a model, whose runs go to a temporary folder."""
    monkeypatch.setattr(training, "PROJECT", tmp_path)
    monkeypatch.setattr(Outputs, "draw", lambda *_: None)

    def settings(model: str, **changes: object) -> Settings:
        usual = {"data": str(archive), "epochs": 2, "batch_size": 5, "validation": 5, "warm_up": 0.0, "threads": 1}
        return replace(PRESETS[model], **(usual | PLAIN | SMALL[model] | changes))

    return settings


def history(folder):
    return np.genfromtxt(folder / "history.csv", delimiter=",", names=True)


@pytest.fixture
def waits(monkeypatch):
    """How often the host waited for the GPU in each step, from the batch to its update."""
    counted, batches, step = [], Run.batches, Run.step

    def watched(run, *arrays, **how):
        for batch in batches(run, *arrays, **how):
            run.waits_before = getattr(gpu_module(), "waits", 0)
            yield batch

    def finished(run, loss, **metrics):
        number = run.state.step
        step(run, loss, **metrics)
        counted.append((number, gpu_module().waits - run.waits_before))

    monkeypatch.setattr(Run, "batches", watched)
    monkeypatch.setattr(Run, "step", finished)
    return counted


@needs_compiler
@pytest.mark.parametrize("model", SMALL)
def test_it_learns_as_in_float32_and_each_step_waits_once(model, quick, tmp_path, monkeypatch, request):
    monkeypatch.setattr(mixed, "FIRST_SCALE", 2.0**10)  # low enough for small batches: no step is left out
    training.train(quick(model, name="single", device="cpu"))
    waits = request.getfixturevalue("waits")
    with emulated_gpu():
        training.train(quick(model, name="half", device="gpu", amp=True))
    single, half = (history(tmp_path / "runs" / name) for name in ("single", "half"))
    assert set(half["loss_scale"]) == {2**10}
    assert half["train_loss"][-1] < 0.98 * half["train_loss"][0]
    for figure in ("train_loss", "validation_loss"):
        np.testing.assert_allclose(half[figure], single[figure], rtol=0.03)
    tensors, _ = load_checkpoint(tmp_path / "runs" / "half" / "last.safetensors")
    kinds = {name: array.dtype.name for name, array in tensors.items()}
    assert {kind for name, kind in kinds.items() if name.startswith("model.")} == {"float32"}
    assert "float16" not in kinds.values()
    assert len(waits) == 6
    assert {count for step, count in waits if step % STEPS_BETWEEN_GPU_CHECKS} == {1}


class StopError(Exception):
    """The end of a training in the middle."""


@needs_compiler
def test_a_resumed_training_ends_with_the_same_bits(quick, tmp_path, monkeypatch):
    """With averaged weights, and with a scale that is still on its way down."""
    settings = quick("mlp", epochs=2, device="gpu", amp=True, checkpoint_seconds=0.0, ema_decay=0.9, dropout=0.3)
    step = Run.step

    def step_or_stop(run, loss, **metrics):
        step(run, loss, **metrics)
        if run.state.step == 4:
            raise StopError

    with emulated_gpu():
        training.train(replace(settings, name="whole"))
        monkeypatch.setattr(Run, "step", step_or_stop)
        with pytest.raises(StopError):
            training.train(replace(settings, name="parts"))
        monkeypatch.setattr(Run, "step", step)
        training.train(replace(settings, name="parts", resume=True))
    (whole, about), (parts, _) = (
        load_checkpoint(tmp_path / "runs" / name / "last.safetensors") for name in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    for name, tensor in whole.items():
        np.testing.assert_array_equal(tensor, parts[name], err_msg=name)
    assert float(whole["loss_scale.value"]) < mixed.FIRST_SCALE
    assert int(whole["optimizer.steps"]) < about["position"][2] == 6


def test_on_a_cpu_it_is_refused_in_one_line(quick):
    with pytest.raises(
        UserError, match=r"^--amp needs a GPU, whose tensor cores multiply float16; leave it out on a CPU$"
    ):
        training.train(quick("mlp", amp=True, device="cpu"))
