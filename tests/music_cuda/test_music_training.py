"""The training script of music_cuda on a few made-up songs: what it learns, and what it refuses."""

from __future__ import annotations

import csv
import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mistakes import complaint_of
from tiny_music import NOTICE, make_table

from core.data.normalize import Normalize
from core.data.verify import sha256_of_content
from core.errors import UserError
from core.kernels.emulated import emulated_gpu
from core.kernels.shim import compiler
from core.training.checkpoint import load_checkpoint
from core.training.run import Run
from music_cuda import training, whole_epochs
from music_cuda.settings import PRESETS, Settings
from music_cuda.songs import load_songs, with_more
from music_cuda.trained import listen, load_listener

SCRIPT = Path(training.__file__)


def weights(run: Path) -> dict[str, np.ndarray]:
    return load_checkpoint(run / "best.safetensors")[0]


def history(run: Path) -> list[dict[str, float]]:
    with open(run / "history.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


needs_compiler = pytest.mark.skipif(compiler() is None, reason="kernels run on the CPU only with g++ or clang++")


@needs_compiler
def test_a_gpu_trains_what_has_no_room_on_the_chip_unless_the_chip_was_asked_for(quick, tmp_path):
    large = replace(quick, hidden1=256, epochs=1, batch_size=20, name="large", device="gpu")
    with emulated_gpu():
        training.train(large)
        with pytest.raises(UserError, match="has no room for this"):
            training.train(replace(large, fused=True, name="asked"))
    training.train(replace(large, device="cpu", name="there"))
    runs = tmp_path / "runs"
    assert history(runs / "large")[0]["train_loss"] == pytest.approx(history(runs / "there")[0]["train_loss"], rel=1e-4)


@needs_compiler
def test_an_epoch_that_was_interrupted_on_a_cpu_goes_on_in_a_kernel(quick, tmp_path, monkeypatch):
    settings = replace(quick, batch_size=16)
    training.train(replace(settings, device="cpu", name="whole"))
    step = Run.step

    def interrupting(run, *losses, **figures):
        if run.state.step == 4:
            signal.raise_signal(signal.SIGINT)
        step(run, *losses, **figures)

    monkeypatch.setattr(Run, "step", interrupting)
    with pytest.raises(SystemExit):
        training.train(replace(settings, device="cpu", name="cut"))
    monkeypatch.setattr(Run, "step", step)
    with emulated_gpu():
        training.train(replace(settings, device="gpu", name="cut", resume=True))
    whole, cut = (history(tmp_path / "runs" / name) for name in ("whole", "cut"))
    for before, after in zip(whole, cut, strict=True):
        for name in ("train_loss", "train_accuracy", "validation_loss", "learning_rate"):
            assert after[name] == pytest.approx(before[name], rel=1e-4)


def test_it_learns_tells_of_each_epoch_and_answers_for_a_song(quick, tmp_path, capsys):
    training.train(replace(quick, epochs=20))
    told = capsys.readouterr().out
    assert "epoch 20/20  train loss" in told
    assert "train accuracy" in told
    assert "a song that it has not heard: train.0" in told
    folder = tmp_path / "runs" / "default"
    assert {"config.json", "history.csv", "best.safetensors", "last.safetensors"} <= {p.name for p in folder.iterdir()}
    rows = history(folder)
    assert rows[-1]["train_accuracy"] > 0.5, "a guess is right in 10 %"
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert [row["step"] for row in rows[:2]] == [180, 360]
    assert load_checkpoint(folder / "best.safetensors")[1]["notice"] == NOTICE


def test_the_normalisation_is_that_of_the_songs_trained_on(quick, tmp_path, archive):
    training.train(replace(quick, epochs=1))
    about = load_checkpoint(tmp_path / "runs" / "default" / "best.safetensors")[1]["about"]
    from core.data.splits import split_indices

    data = load_songs(str(archive))
    rows, held_out = split_indices(data.labels, quick.validation, quick.seed)
    assert about["normalize"] == Normalize.fit(data.features[rows], per_channel=True).to_dict()
    assert about["normalize"] != Normalize.fit(data.features, per_channel=True).to_dict()
    assert len(held_out) == 20


def test_without_validation_all_songs_are_trained_on_and_the_last_epoch_counts(quick, tmp_path, capsys):
    training.train(replace(quick, validation=0.0))
    assert "a song that it was trained on: train.00000" in capsys.readouterr().out
    folder = tmp_path / "runs" / "default"
    assert [row["step"] for row in history(folder)] == [200, 400, 600]
    assert "validation_loss" not in history(folder)[0]
    last, _ = load_checkpoint(folder / "last.safetensors")
    for name, tensor in weights(folder).items():
        np.testing.assert_array_equal(tensor, last[f"model.{name}"])


@pytest.mark.parametrize("batch_size", [1, 7])
def test_all_ways_give_the_same_history(quick, tmp_path, batch_size):
    ways = {"layers": {"layers": True}, "auto": {}}
    if compiler() is not None:
        ways["fused"] = {"fused": True, "device": "cpu"}
    if compiler() is not None and batch_size == 1:
        ways["naive"] = {"naive": True, "device": "cpu"}
    for name, flags in ways.items():
        training.train(replace(quick, batch_size=batch_size, epochs=2, name=name, **flags))
    first, *others = (history(tmp_path / "runs" / name) for name in ways)
    assert others
    for other in others:
        for one, two in zip(first, other, strict=True):
            for figure in ("step", "learning_rate", "train_loss", "train_accuracy", "validation_loss"):
                assert one[figure] == pytest.approx(two[figure], rel=1e-4), figure


@pytest.mark.skipif(compiler() is None, reason="kernels run on the CPU only with g++ or clang++")
@pytest.mark.parametrize("flags", [{}, {"naive": True}, {"layers": True, "batch_size": 20}])
def test_it_trains_on_an_emulated_gpu(quick, tmp_path, flags):
    settings = replace(quick, epochs=1, **flags)
    training.train(replace(settings, name="cpu", device="cpu"))
    with emulated_gpu():
        training.train(replace(settings, name="gpu", device="gpu"))
    assert json.loads((tmp_path / "runs" / "gpu" / "config.json").read_text())["device"] == "gpu"
    cpu, gpu = (weights(tmp_path / "runs" / name) for name in ("cpu", "gpu"))
    for name, tensor in cpu.items():
        np.testing.assert_allclose(tensor, gpu[name], atol=1e-4)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains(preset, quick, tmp_path):
    small = {"epochs": 1, "hidden1": 10, "hidden2": 6, "members": min(2, PRESETS[preset].members)}
    training.train(replace(PRESETS[preset], dataset=quick.dataset, name="preset", **small))
    listener = load_listener(str(tmp_path / "runs" / "preset"))
    probabilities = listen(listener, load_songs(quick.dataset).features)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("flags", [{}, {"normal_scores": True, "optimizer": "adamw", "batch_size": 20, "dropout": 0.2}])
def test_the_same_seed_gives_the_same_bits_and_a_resumed_run_too(quick, tmp_path, flags, monkeypatch):
    settings = replace(quick, **flags)
    training.train(replace(settings, name="straight"))
    validate, calls = training.Run.validate, []

    def cut(run, **figures):
        validate(run, **figures)
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training.Run, "validate", cut)
    with pytest.raises(KeyboardInterrupt):
        training.train(replace(settings, name="cut"))
    monkeypatch.setattr(training.Run, "validate", validate)
    training.train(replace(settings, name="cut", resume=True))
    straight, resumed = (weights(tmp_path / "runs" / name) for name in ("straight", "cut"))
    for name, tensor in straight.items():
        np.testing.assert_array_equal(tensor, resumed[name])


def test_further_songs_are_trained_on_and_told_of(quick, tmp_path, archive):
    table = make_table(tmp_path / "mine.csv", 10)
    training.train(replace(quick, epochs=1, name="plain"))
    training.train(replace(quick, epochs=1, name="more", more=table))
    assert history(tmp_path / "runs" / "more")[0]["step"] == history(tmp_path / "runs" / "plain")[0]["step"] + 10
    notice = load_checkpoint(tmp_path / "runs" / "more" / "best.safetensors")[1]["notice"]
    assert notice == f"{NOTICE}; trained with 10 further songs of mine.csv"
    files = load_checkpoint(tmp_path / "runs" / "more" / "best.safetensors")[1]["data"]["files"]
    assert files[table.name] == sha256_of_content(table), "so that --resume notices another table"
    assert with_more(load_songs(str(archive)), None).info["notice"] == NOTICE


def test_a_loss_that_is_no_number_ends_the_run_in_one_line(quick):
    with pytest.raises(UserError, match="try a --lr below 1e\\+30"):
        training.train(replace(quick, lr=1e30))


# -- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden1": 0}, "--hidden1 must be at least 1"),
        ({"hidden2": -1}, "--hidden2 must be at least 0"),
        ({"members": 1_000_000}, "--members must be at most 100"),
        ({"folds": 1}, "--folds needs at least 2 parts"),
        ({"inner": True}, "--inner belongs to --folds"),
        ({"schedule": "plateau", "validation": 0.0}, "--schedule plateau waits for the validation loss"),
        ({"patience": 3, "validation": 0.0}, "--patience 3 waits for validation figures"),
        ({"schedule": "plateau", "folds": 5}, "with --folds nothing is held out"),
        ({"patience": 3, "folds": 5}, "with --folds nothing is held out"),
        ({"batch_norm": True, "batch_size": 1}, "--batch-norm needs 2 samples at a time"),
        ({"batch_norm": True, "batch_size": 16, "accumulate": 16}, "--batch-norm needs 2 samples at a time"),
        ({"fused": True}, "--fused is plain gradient descent: leave out --optimizer"),
        ({"fused": True, "optimizer": "sgd"}, "leave out --momentum"),
        ({"naive": True, "optimizer": "sgd", "momentum": 0.0, "dropout": 0.5}, "leave out --dropout"),
        ({"naive": True, "optimizer": "sgd", "momentum": 0.0, "batch_size": 2}, "--naive takes one song at a time"),
        ({"fused": True, "naive": True}, "--fused and --naive are different ways"),
        ({"input_dropout": 1.0}, "--input-dropout must be"),
        ({"validation": 1.0}, "--validation must be"),
    ],
)
def test_wrong_settings(change, message):
    with pytest.raises(UserError, match=message):
        Settings(**change)


def test_kernels_without_a_gpu_and_without_a_compiler(quick, monkeypatch):
    monkeypatch.setattr(whole_epochs, "why_no_gpu", lambda: "no GPU here")
    with pytest.raises(UserError, match="--fused: no GPU here; --device cpu runs the kernel on the CPU"):
        training.train(replace(quick, fused=True))
    monkeypatch.setattr(whole_epochs, "compiler", lambda: None)
    with pytest.raises(UserError, match="--naive --device cpu needs a C"):
        training.train(replace(quick, naive=True, device="cpu"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "nowhere"], "nowhere"),
        (["--preset", "worst"], "worst"),
        (["--hidden1", "many"], "many"),
        (["--fused", "--dropout", "0.5"], "--dropout"),
        (["--folds", "10", "--dataset", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(arguments, message, tmp_path):
    assert message in complaint_of(SCRIPT, *arguments, folder=tmp_path)
