"""The training script of rnn_doodles on a few simple drawings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mistakes import complaint_of
from tiny_doodles import CLASSES, NOTICE, make_archive

from core.errors import UserError
from core.training.checkpoint import load_checkpoint
from core.training.outputs import Outputs
from rnn_doodles import training, tuning
from rnn_doodles.settings import PRESETS, Settings

SCRIPT = Path(training.__file__)
ALL_DISTORTIONS = {
    "rotate": 15.0,
    "stretch": 0.2,
    "jitter": 0.01,
    "drop_strokes": 0.2,
    "drop_points": 0.2,
    "flip": True,
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The training drawings alone: whoever opens the test drawings fails."""
    return make_archive(tmp_path_factory.mktemp("archive") / "quickdraw", parts=("train",))


@pytest.fixture
def quick(archive, tmp_path, monkeypatch):
    """Settings for a training of a second, whose runs go to a temporary folder."""
    monkeypatch.setattr(training, "PROJECT", tmp_path)
    monkeypatch.setattr(Outputs, "draw", lambda *_: None)  # the curves of each training would take most of the time
    return Settings(data=str(archive), epochs=2, batch_size=30, hidden=8, lr=0.01, threads=2)


def weights(run: Path) -> dict[str, np.ndarray]:
    return load_checkpoint(run / "best.safetensors")[0]


def test_it_learns_and_leaves_everything_in_the_run_folder(quick, tmp_path):
    best = training.train(replace(quick, epochs=8, hidden=16, dropout=0.1, optimizer="adamw"))
    assert best["validation_accuracy"] > 0.4, "a guess is right in 10 %"
    folder = tmp_path / "runs" / "default"
    assert {"config.json", "history.csv", "best.safetensors", "last.safetensors"} <= {p.name for p in folder.iterdir()}
    assert NOTICE in (folder / "config.json").read_text()
    _, metadata = load_checkpoint(folder / "best.safetensors")
    assert metadata["notice"] == NOTICE
    assert metadata["about"]["classes"] == CLASSES


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_the_same_seed_gives_the_same_bits(quick, tmp_path, cell):
    for name in ("first", "second"):
        training.train(replace(quick, name=name, cell=cell, buckets=3, **ALL_DISTORTIONS))
    first, second = (weights(tmp_path / "runs" / name) for name in ("first", "second"))
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor, second[name])


def test_a_resumed_run_ends_with_the_same_bits(quick, tmp_path, monkeypatch):
    settings = replace(quick, epochs=3, buckets=2, ema_decay=0.9, **ALL_DISTORTIONS)
    training.train(replace(settings, name="straight"))

    def cut(epoch, row):
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(replace(settings, name="cut"), watch=cut)
    training.train(replace(settings, name="cut", resume=True))
    straight, resumed = (weights(tmp_path / "runs" / name) for name in ("straight", "cut"))
    for name, tensor in straight.items():
        np.testing.assert_array_equal(tensor, resumed[name])


def test_parts_of_a_batch_give_the_same_as_the_whole(quick, tmp_path):
    """Without what depends on the place in a part: dropout and augmentation."""
    for parts in (1, 3):
        training.train(replace(quick, name=f"parts{parts}", epochs=1, accumulate=parts, dropout=0.0))
    whole, parts = (weights(tmp_path / "runs" / name) for name in ("parts1", "parts3"))
    for name, tensor in whole.items():
        np.testing.assert_allclose(tensor, parts[name], atol=2e-4)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains(preset, quick, tmp_path):
    settings = replace(PRESETS[preset], data=quick.data, epochs=1, batch_size=90, name="preset", hidden=8)
    training.train(settings)
    assert (tmp_path / "runs" / "preset" / "best.safetensors").exists()


def test_the_range_test_suggests_a_learning_rate(quick, tmp_path, capsys):
    tuning.tune(replace(quick, lr_find=True, hidden=4))
    assert "the loss falls most steeply at a learning rate of" in capsys.readouterr().out
    assert {"lr_find.csv", "lr_find.png"} <= {path.name for path in (tmp_path / "runs" / "default-lr-find").iterdir()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": 0}, "--hidden must be at least 1"),
        ({"layers": 0}, "--layers must be at least 1"),
        ({"layers": 100_000_000}, "--layers must be at most 100"),
        ({"buckets": -1}, "--buckets must be at least 0"),
        ({"dropout": 1.0}, "--dropout must be"),
        ({"drop_points": 1.0}, "--drop-points must be"),
        ({"validation": 1.0}, "--validation must be"),
        ({"jitter": -0.1}, "--jitter must be at least 0"),
    ],
)
def test_wrong_settings(change, message):
    with pytest.raises(UserError, match=message):
        Settings(**change)


@pytest.mark.parametrize(
    ("arguments", "message"), [(["--cell", "transformer"], "transformer"), (["--data", "nowhere"], "nowhere")]
)
def test_mistakes_end_in_one_line_and_exit_code_2(arguments, message, tmp_path):
    assert message in complaint_of(SCRIPT, *arguments, folder=tmp_path)
