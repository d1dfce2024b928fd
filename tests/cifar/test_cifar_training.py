"""Training the four networks on a few pictures: they learn, resume bit for bit, and keep what they must not see."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from mistakes import complaint_of
from tiny_cifar import NOTICE, make_archive, make_arrays

from cifar import training
from cifar.data import load_training_images
from cifar.model import Architecture, build
from cifar.settings import PRESETS, Settings, choose_preset
from core.errors import UserError
from core.training.checkpoint import load_checkpoint
from core.training.outputs import Outputs
from core.training.run import Run

SMALL = {
    "mlp": {"hidden": (32, 16)},
    "cnn": {"widths": (8, 8, 8), "hidden": (16,)},
    "resnet": {"widths": (8, 8, 8)},
    "fast": {"widths": (8, 8, 8)},
    "resnet-wide": {"widths": (8, 8, 8)},
    "fast-long": {"widths": (8, 8, 8)},
    "fast-gpu": {"widths": (8, 8, 8)},
    "mnist": {"widths": (4, 4, 4), "hidden": (16,)},
}
MODELS = ("mlp", "cnn", "resnet", "fast")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The training images alone: whoever opens others fails."""
    return make_archive(tmp_path_factory.mktemp("archive") / "cifar10", parts=("train",))


@pytest.fixture
def quick(archive, tmp_path, monkeypatch):
    """A function that gives small settings of a preset, whose runs go to a temporary folder."""
    monkeypatch.setattr(training, "PROJECT", tmp_path)
    monkeypatch.setattr(Outputs, "draw", lambda *_: None)  # the curves of each training would take most of the time

    def settings(preset: str, **changes: object) -> Settings:
        usual = {"data": str(archive), "epochs": 2, "batch_size": 40, "validation": 0, "patience": 0, "warm_up": 0.0}
        usual |= {"threads": 2}
        return replace(PRESETS[preset], **(usual | SMALL[preset] | changes))

    return settings


def weights(run):
    return load_checkpoint(run / "best.safetensors")[0]


@pytest.mark.parametrize("model", MODELS)
def test_each_network_learns(model, quick, tmp_path):
    lr = {"fast": 0.07, "resnet": 0.01}.get(model, 3e-3)
    changes = {"lr": lr} if model == "fast" else {"lr": lr, "optimizer": "adam"}
    plain = {"crop": 0, "flip": "none", "jitter": 0.0, "rotate": 0.0, "cutout": 0, "dropout": 0.0, "ema_decay": 0.0}
    row = training.train(quick(model, epochs=8, batch_size=20, **(changes | plain)))
    assert row["train_accuracy"] > 0.2, "a guess is right in 10 %"
    folder = tmp_path / "runs" / f"cifar10-{model}"
    tensors, metadata = load_checkpoint(folder / "best.safetensors")
    assert metadata["notice"] == NOTICE
    assert metadata["about"]["trained_on"] == 200
    network = build(Architecture.from_dict(metadata["about"]["architecture"]))
    assert set(tensors) == set(network.state_dict())


class StopError(Exception):
    """The end of a training in the middle."""


@pytest.mark.parametrize("model", MODELS)
def test_a_resumed_training_ends_with_the_same_bits(model, quick, tmp_path, monkeypatch):
    """Stopped within the second epoch, just behind a checkpoint."""
    settings = quick(model, epochs=3, validation=40, checkpoint_seconds=0.0)
    training.train(replace(settings, name="whole"))
    step, count = Run.step, 0

    def step_or_stop(run, loss, **metrics):
        nonlocal count
        step(run, loss, **metrics)
        count += 1
        if count == 6:
            raise StopError

    monkeypatch.setattr(Run, "step", step_or_stop)
    with pytest.raises(StopError):
        training.train(replace(settings, name="parts"))
    monkeypatch.setattr(Run, "step", step)
    training.train(replace(settings, name="parts", resume=True))
    whole, parts = (weights(tmp_path / "runs" / name) for name in ("whole", "parts"))
    for name, tensor in whole.items():
        np.testing.assert_array_equal(tensor, parts[name], err_msg=name)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains(preset, quick, tmp_path, archive):
    changes = {"epochs": 1, "validation": 20, "name": "preset"}
    if preset == "mnist":
        arrays = {name: array[:, 2:30, 2:30, 0] if array.ndim == 4 else array for name, array in make_arrays().items()}
        from core.data.prepared import load_prepared, save_prepared

        save_prepared(tmp_path / "mnist", arrays, load_prepared(archive).info | {"dataset": "mnist"})
        changes["data"] = str(tmp_path / "mnist")
    training.train(quick(preset, **changes))
    assert (tmp_path / "runs" / "preset" / "best.safetensors").exists()


def test_without_validation_the_last_epoch_is_taken_and_nothing_is_selected(quick, tmp_path):
    row = training.train(quick("fast"))
    assert row["epoch"] == 2
    assert "validation_accuracy" not in row
    about = load_checkpoint(tmp_path / "runs" / "cifar10-fast" / "best.safetensors")[1]["about"]
    assert (about["trained_on"], about["selected_on"]) == (200, 0)


def test_what_is_held_out_is_always_the_same_and_not_trained_on(archive):
    first, second = (load_training_images("cifar10", str(archive), 40) for _ in range(2))
    np.testing.assert_array_equal(first.held_out, second.held_out)
    assert len(first.held_out) == 40
    assert not set(first.rows) & set(first.held_out)
    assert len(first.rows) == 160


def test_an_image_changes_sides_with_every_epoch(quick, monkeypatch):
    """Alternate flips: in two epochs each image is seen both ways."""
    seen: list[np.ndarray] = []
    forward = training.Parallel.forward

    def watched(model, x, train=False):
        if train:
            seen.append(x.copy())
        return forward(model, x, train)

    monkeypatch.setattr(training.Parallel, "forward", watched)
    training.train(quick("fast", crop=0, batch_size=200))
    first, second = ({image.tobytes() for image in images} for images in seen)
    mirrored = {np.ascontiguousarray(image[:, ::-1]).tobytes() for image in seen[0]}
    assert second == mirrored
    assert first != second


def test_muon_leaves_the_factors_of_the_norms_alone(quick, tmp_path):
    training.train(quick("fast"))
    tensors = weights(tmp_path / "runs" / "cifar10-fast")
    factors = [array for name, array in tensors.items() if name.endswith("norm.weight")]
    shifts = [array for name, array in tensors.items() if name.endswith("norm.bias")]
    assert len(factors) == 4
    assert all((array == 1).all() for array in factors)
    assert all(array.any() for array in shifts)


def test_the_learning_rate_falls_after_the_epochs_that_are_named():
    stepwise = replace(PRESETS["cnn"], schedule="step", lr=0.01, decay_at=(50, 75))
    schedule = training.schedule_of(stepwise, 38_000)
    an_epoch = 149
    for epoch, lr in ((49, 0.01), (50, 0.001), (74, 0.001), (75, 0.0001)):
        assert schedule(epoch * an_epoch) == pytest.approx(lr)
    assert schedule(50 * an_epoch - 1) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("arguments", "preset"),
    [
        ([], "fast"),
        (["--model", "cnn"], "cnn"),
        (["--model", "cnn", "--batch-norm"], "cnn"),
        (["--model", "resnet", "--epochs", "3"], "resnet"),
        (["--dataset", "mnist"], "mnist"),
        (["--dataset", "mnist", "--model", "cnn"], "mnist"),
        (["--dataset", "mnist", "--model", "mlp"], "mlp"),
        (["--dataset", "mnist", "--model", "fast"], "fast"),
        (["--preset", "fast-long"], "fast-long"),
        (["--preset", "fast-long", "--model", "fast"], "fast-long"),
    ],
)
def test_model_and_data_choose_the_preset(arguments, preset):
    assert choose_preset(arguments) == preset


def test_a_preset_for_another_network_is_a_mistake():
    with pytest.raises(UserError, match="--preset fast is for --model fast, not mlp"):
        choose_preset(["--model", "mlp", "--preset", "fast"])


@pytest.mark.parametrize(
    ("preset", "change", "message"),
    [
        ("cnn", {"widths": ()}, "--widths of cnn needs more numbers"),
        ("fast", {"widths": (32,)}, "--widths of fast needs more numbers"),
        ("fast", {"widths": (31, 64)}, "even number of whitening filters"),
        ("fast", {"widths": (56, 64)}, "even number of whitening filters up to 54"),
        ("fast", {"widths": (8,) * 8}, "leave nothing of 32 x 32"),
        ("fast", {"hidden": (8,)}, "--hidden is for mlp and cnn"),
        ("resnet", {"schedule": "plateau"}, "--schedule plateau waits for the validation loss"),
        ("cnn", {"validation": 0}, "--patience 10 waits for validation figures"),
        ("fast", {"dropout": 0.1}, "--dropout is for"),
        ("fast", {"bias_rate": 0.0}, "--bias-rate must be above 0"),
        ("cnn", {"optimizer": "muon"}, "--optimizer muon is for --model fast"),
        ("mlp", {"widths": (8,)}, "--widths are channels of convolutions"),
        ("mlp", {"dropout": 1.0}, "--dropout must be"),
        ("cnn", {"jitter": 1.5}, "--jitter must be"),
        ("cnn", {"cutout": -1}, "--cutout must be at least 0"),
        ("cnn", {"crop": 32}, "--crop must be at most 31"),
        ("mnist", {"crop": 28}, "--crop must be at most 27"),
        ("cnn", {"decay_at": (0,)}, "--decay-at must be at least 1"),
    ],
)
def test_wrong_settings(preset, change, message):
    with pytest.raises(UserError, match=message):
        replace(PRESETS[preset], **change)


def test_too_few_images_and_other_data(quick, tmp_path):
    with pytest.raises(UserError, match="--validation 200 leaves nothing of 200 images"):
        training.train(quick("fast", validation=200))
    with pytest.raises(UserError, match="holds cifar10: --dataset mnist needs other data"):
        training.train(quick("mnist"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "vgg"], "vgg"),
        (["--data", "nowhere"], "nowhere"),
        (["--batch-size", "0"], "--batch-size must be at least 1"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(flags, message, tmp_path):
    assert message in complaint_of(training.__file__, *flags, folder=tmp_path)


def test_the_script_runs_from_any_folder(tmp_path, archive):
    """In a copy of the project, so that its runs lie elsewhere."""
    (tmp_path / "cifar").mkdir()
    for path in training.PROJECT.glob("*.py"):
        (tmp_path / "cifar" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "core").symlink_to(training.PROJECT.parent / "core")
    script = tmp_path / "cifar" / "training.py"
    flags = ["--data", str(archive), "--epochs", "1", "--widths", "4", "4", "8", "--validation", "20"]
    done = subprocess.run([sys.executable, script, *flags], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert "epoch 1/1" in done.stdout + done.stderr
    run = tmp_path / "cifar" / "runs" / "cifar10-fast"
    assert {"best.safetensors", "history.csv", "curves.png", "config.json"} <= {path.name for path in run.iterdir()}


def test_the_settings_survive_json(quick, tmp_path):
    training.train(quick("resnet", epochs=1))
    config = json.loads((tmp_path / "runs" / "cifar10-resnet" / "config.json").read_text())
    assert config["settings"]["widths"] == [8, 8, 8]
    assert NOTICE in json.dumps(config)
