"""The training script of mlp_mnist, run as a user runs it, on small synthetic digits."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mistakes import complaint_of, prepare_coloured_pictures
from PIL import Image, ImageColor

from core.data.prepared import save_prepared
from core.data.synthetic import digits
from core.errors import UserError
from core.report import style
from core.training.checkpoint import load_checkpoint
from mlp_mnist import training
from mlp_mnist.model import Architecture, build
from mlp_mnist.settings import PRESETS, Settings

NOTICE = "SYNTHETIC data: made by a test"
SCRIPT = Path(training.__file__)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """300 rendered digits as prepared data."""
    images, labels = digits(300, seed=0)
    folder = tmp_path_factory.mktemp("archive") / "mnist"
    info = {
        "dataset": "mnist",
        "origin": "synthetic",
        "complete": False,
        "notice": NOTICE,
        "classes": list("0123456789"),
        "command": "python mlp_mnist/setup_data.py --synthetic",
    }
    save_prepared(folder, {"train_images": images, "train_labels": labels}, info)
    return folder


@pytest.fixture
def quick(archive, tmp_path, monkeypatch):
    """Settings for a training of a second, whose runs go to a temporary folder."""
    monkeypatch.setattr(training, "PROJECT", tmp_path)
    return Settings(data=str(archive), epochs=3, batch_size=32, hidden=(32,), validation=60, lr=3e-3, threads=2)


def test_it_learns_and_leaves_everything_in_the_run_folder(quick, tmp_path):
    training.train(quick)
    folder = tmp_path / "runs" / "mnist-default"
    assert {"config.json", "history.csv", "curves.png", "best.safetensors", "last.safetensors"} <= {
        path.name for path in folder.iterdir()
    }
    rows = (folder / "history.csv").read_text().splitlines()
    assert len(rows) == 1 + 3
    assert NOTICE in (folder / "config.json").read_text()
    tensors, metadata = load_checkpoint(folder / "best.safetensors")
    assert NOTICE in json.dumps(metadata)
    network = build(Architecture.from_dict(metadata["about"]["architecture"]))
    assert set(tensors) == set(network.state_dict())
    assert metadata["metrics"]["validation_accuracy"] > 0.5


def test_the_same_seed_gives_the_same_bits(quick, tmp_path):
    for name in ("first", "second"):
        training.train(replace(quick, name=name, epochs=2, rotate=5.0, elastic=20.0))
    first, second = (load_checkpoint(tmp_path / "runs" / name / "best.safetensors")[0] for name in ("first", "second"))
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor, second[name])


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains(preset, quick, archive, tmp_path):
    settings = replace(PRESETS[preset], data=str(archive), epochs=1, validation=60, train_samples=100, name="preset")
    training.train(replace(settings, hidden=(16, 8), warm_up=0.0))
    assert (tmp_path / "runs" / "preset" / "best.safetensors").exists()


def test_debugging_shows_images_and_logs_deltas_and_gradients(quick, tmp_path):
    training.train(replace(quick, epochs=1, log_gradients=True, show_images=True, shift=1.0, loss="mean_squared_error"))
    folder = tmp_path / "runs" / "mnist-default"
    with Image.open(folder / "images.png") as picture:
        assert picture.convert("RGB").getpixel((5, 5)) == ImageColor.getrgb(style.ORANGE), (
            "the notice's band is missing"
        )
    log = (folder / "gradients.log").read_text()
    assert log.count("=== step") == 8  # 240 images in batches of 32
    for wanted in ("delta at 6 Sigmoid (32, 10)", "dJ/dW of 5 Linear (32, 10)", "dJ/db of 2 Linear (32,)"):
        assert wanted in log


def test_debugging_changes_nothing(quick, tmp_path):
    for name, log in (("plain", False), ("logged", True)):
        training.train(replace(quick, epochs=1, threads=1, name=name, log_gradients=log))
    plain, logged = (load_checkpoint(tmp_path / "runs" / name / "best.safetensors")[0] for name in ("plain", "logged"))
    for name, tensor in plain.items():
        np.testing.assert_array_equal(tensor, logged[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"validation": 300}, "--validation 300 leaves nothing of 300"),
        ({"train_samples": 299}, "--train-samples 299: only 240"),
        ({"data": "nowhere"}, "nowhere.*setup_data.py"),
    ],
)
def test_wrong_data_settings(quick, change, message):
    with pytest.raises(UserError, match=message):
        training.train(replace(quick, **change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": (0,)}, "--hidden must be at least 1"),
        ({"hidden": ()}, "--hidden needs"),
        ({"members": 1_000_000}, "--members must be at most 100"),
        ({"batch_size": 0}, "--batch-size must be at least 1"),
        ({"epochs": -1}, "--epochs must be"),
        ({"lr": float("nan")}, "--lr must be"),
        ({"dropout": 1.0}, "--dropout must be"),
        ({"name": "../elsewhere"}, "--name must be"),
        ({"log_gradients": True, "batch_size": 8, "accumulate": 2}, "--log-gradients"),
        ({"loss": "focal", "label_smoothing": 0.1}, "--label-smoothing is for --loss cross_entropy"),
        ({"loss": "mean_squared_error", "label_smoothing": 0.1}, "leave it out with mean_squared_error"),
    ],
)
def test_wrong_settings(change, message):
    with pytest.raises(UserError, match=message):
        Settings(**change)


def run_script(*arguments, cwd):
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--activation", "swish"], "swish"),
        (["--preset", "bets"], "bets"),
        (["--epochs", "0"], "--epochs must be at least 1"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(arguments, message, tmp_path):
    assert message in complaint_of(SCRIPT, *arguments, folder=tmp_path)


def test_pictures_of_another_size_are_refused(tmp_path):
    data = prepare_coloured_pictures(tmp_path / "other")
    with pytest.raises(UserError, match=r"other holds samples of \(32, 32, 3\), and the network sees \(28, 28\)"):
        training.load(Settings(data=str(data)))


def test_a_gpu_that_is_not_there(quick, monkeypatch):
    from core import backend

    monkeypatch.setattr(backend, "why_no_gpu", lambda: "no GPU in this test")
    with pytest.raises(UserError, match="--device gpu: no GPU in this test"):
        training.train(replace(quick, device="gpu"))
