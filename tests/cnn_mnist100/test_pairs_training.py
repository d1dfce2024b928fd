"""The training scripts of cnn_mnist100, ours and PyTorch's, on small pairs of rendered digits."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mistakes import complaint_of
from tiny_pairs import NOTICE, make_archive, make_arrays

from cnn_mnist100 import training, tuning
from cnn_mnist100.model import Architecture, build
from cnn_mnist100.pairs import digit_ids
from cnn_mnist100.settings import PRESETS, Settings
from core.errors import UserError
from core.training.checkpoint import load_checkpoint
from core.training.outputs import Outputs

SCRIPT = Path(training.__file__)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The training pairs alone: whoever opens the test pairs fails."""
    return make_archive(tmp_path_factory.mktemp("archive") / "mnist100", parts=("train",))


@pytest.fixture
def quick(archive, tmp_path, monkeypatch):
    """Settings for a training of a second, whose runs go to a temporary folder."""
    monkeypatch.setattr(training, "PROJECT", tmp_path)
    monkeypatch.setattr(Outputs, "draw", lambda *_: None)  # the curves of each training would take most of the time
    return Settings(data=str(archive), epochs=2, batch_size=40, filters=(4, 8), hidden=(16,), lr=3e-3, threads=2)


def weights(run: Path) -> dict[str, np.ndarray]:
    return load_checkpoint(run / "best.safetensors")[0]


def test_it_learns_and_leaves_everything_in_the_run_folder(quick, tmp_path, capsys):
    digits_apart = replace(quick, epochs=6, head="digits", padding=1, batch_norm=True, dropout=0.0, lr=0.01)
    training.train(replace(digits_apart, shift=1, brightness=0.0, contrast=0.0))
    folder = tmp_path / "runs" / "default"
    assert {"config.json", "history.csv", "best.safetensors", "last.safetensors"} <= {p.name for p in folder.iterdir()}
    assert len((folder / "history.csv").read_text().splitlines()) == 1 + 6
    assert NOTICE in (folder / "config.json").read_text()
    tensors, metadata = load_checkpoint(folder / "best.safetensors")
    assert metadata["notice"] == NOTICE
    network = build(Architecture.from_dict(metadata["about"]["architecture"]))
    assert set(tensors) == set(network.state_dict())
    assert metadata["metrics"]["validation_accuracy"] > 0.1, "a guess is right in 1 %"


def test_the_same_seed_gives_the_same_bits(quick, tmp_path):
    for name in ("first", "second"):
        training.train(replace(quick, name=name, epochs=1, rotate=5.0, elastic=20.0))
    first, second = (weights(tmp_path / "runs" / name) for name in ("first", "second"))
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor, second[name])


def test_held_out_pairs_share_no_digit_with_the_others():
    arrays = make_arrays()
    rows, held_out = training.choose_rows(arrays["train_folds"], 2)
    assert len(rows) + len(held_out) == 400
    assert len(held_out) == pytest.approx(40, abs=8)
    ids = digit_ids(arrays["train_images"])
    assert not set(ids[rows].ravel()) & set(ids[held_out].ravel())


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains(preset, quick, tmp_path):
    settings = replace(PRESETS[preset], data=quick.data, epochs=1, batch_size=200, name="preset", hidden=(8,))
    training.train(replace(settings, filters=tuple(number // 8 for number in settings.filters)))
    assert (tmp_path / "runs" / "preset" / "best.safetensors").exists()


def test_pairs_that_share_digits_are_mentioned(quick, tmp_path, capsys):
    shared = make_archive(tmp_path / "shared", digits_shared=True)
    training.train(replace(quick, data=str(shared), epochs=1))
    assert "share digits" in capsys.readouterr().out


def test_too_few_pairs(quick):
    with pytest.raises(UserError, match="2 pairs are too few to hold some of them out"):
        training.choose_rows(np.array([5, 6]), 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"filters": (0,)}, "--filters must be at least 1"),
        ({"filters": ()}, "--filters needs"),
        ({"hidden": (0,)}, "--hidden must be at least 1"),
        ({"kernel": 0}, "--kernel must be at least 1"),
        ({"kernel": 15, "filters": (4, 4)}, "leave nothing of a picture"),
        ({"filters": (4,) * 5, "pools": 5}, "leave nothing of a picture"),
        ({"head": "digits", "kernel": 4}, "--head digits needs an even width"),
        ({"validation": 0}, "--validation must be at least 1"),
        ({"validation": 20}, "--validation 20 of 20 twentieths"),
        ({"dropout": 1.0}, "--dropout must be"),
        ({"shift": -1}, "--shift must be at least 0"),
        ({"shift": 57}, "--shift must be at most 56"),
        ({"contrast": 1.0}, "--contrast must be"),
    ],
)
def test_wrong_settings(change, message):
    with pytest.raises(UserError, match=message):
        Settings(**change)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "bets"], "bets"),
        (["--data", "nowhere"], "nowhere"),
        (["--filters", "many"], "many"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(arguments, message, tmp_path):
    assert message in complaint_of(SCRIPT, *arguments, folder=tmp_path)


def test_filters_and_hidden_sizes_come_from_the_command_line():
    from core.cli import parse

    settings = parse(Settings, ["--preset", "best", "--filters", "8", "12", "--hidden", "20", "30"], presets=PRESETS)
    architecture = settings.architecture()
    assert (architecture.filters, architecture.hidden, architecture.head) == ((8, 12), (20, 30), "digits")


# -- tuning -----------------------------------------------------------------------------------------------------------


def test_the_range_test_suggests_a_learning_rate_and_plots(quick, tmp_path, capsys):
    training.start(replace(quick, lr_find=True, elastic=20.0, head="digits", padding=1, batch_norm=True))
    folder = tmp_path / "runs" / "default-lr-find"
    assert (folder / "lr_find.png").stat().st_size > 1000
    rows = (folder / "lr_find.csv").read_text().splitlines()
    assert len(rows) > 20, "more batches than an epoch has"
    suggested = float(capsys.readouterr().out.split("learning rate of ")[1].split(";")[0])
    assert 1e-6 < suggested < 1
    assert not (tmp_path / "runs" / "default").exists()


def test_a_sweep_trains_with_every_value(quick, tmp_path):
    training.start(replace(quick, epochs=1, sweep=("lr=1e-4,1e-2",)))
    folder = tmp_path / "runs" / "default-sweep"
    assert len((folder / "sweep.csv").read_text().splitlines()) == 1 + 2
    assert (folder / "sweep.png").exists()
    assert (folder / "lr-0.01" / "best.safetensors").exists()


def test_auto_searches_trains_on_the_best_and_tests(quick, tmp_path, capsys, monkeypatch):
    pytest.importorskip("optuna")
    tested = []
    monkeypatch.setattr(tuning.test_model, "test", tested.append)
    training.start(replace(quick, epochs=1, search=2, auto=True))
    runs = tmp_path / "runs"
    assert (runs / "default-search" / "study.journal").exists()
    best = re.search(r"best: --lr (\S+) --weight-decay (\S+)", capsys.readouterr().out)
    used = json.loads((runs / "default" / "config.json").read_text())["settings"]
    assert [f"{used[name]:.4g}" for name in ("lr", "weight_decay")] == list(best.groups())
    assert tested == [tuning.test_model.Settings(run=str(runs / "default"), data=quick.data)]


def test_auto_alone_searches_too():
    assert Settings(auto=True).search > 0


# -- PyTorch ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def torch_script(quick, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from cnn_mnist100 import training_torch

    monkeypatch.setattr(training_torch, "PROJECT", tmp_path)
    return training_torch


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_pytorch_trains_as_we_do(torch_script, quick, tmp_path, optimizer):
    """Without dropout, whose draws differ, both must arrive at the same weights."""
    settings = replace(
        quick,
        threads=1,
        epochs=1,
        dropout=0.0,
        optimizer=optimizer,
        weight_decay=1e-2,
        ema_decay=0.9,
        clip_norm=1.0,
        label_smoothing=0.1,
    )
    training.train(settings)
    torch_script.train(settings)
    ours, theirs = weights(tmp_path / "runs" / "default"), weights(tmp_path / "runs" / "torch-default")
    for name, tensor in ours.items():
        scale = np.abs(tensor).max()
        np.testing.assert_allclose(theirs[name], tensor, atol=2e-3 * scale, err_msg=name)


def test_the_same_with_batch_norm_and_two_heads(torch_script, quick, tmp_path):
    settings = replace(quick, threads=1, epochs=1, dropout=0.0, padding=1, batch_norm=True, head="digits")
    training.train(settings)
    torch_script.train(settings)
    ours, theirs = weights(tmp_path / "runs" / "default"), weights(tmp_path / "runs" / "torch-default")
    assert ours.keys() == theirs.keys()
    for name in ("norm1.running_mean", "norm2.running_var", "hidden1_norm.running_var", "output.weight"):
        np.testing.assert_allclose(theirs[name], ours[name], rtol=0.02, atol=2e-3, err_msg=name)


def test_weights_go_to_pytorch_and_back(torch_script):
    architecture = Architecture(filters=(4, 8), hidden=(16,), batch_norm=True)
    first, second = build(architecture, seed=1), build(architecture, seed=2)
    theirs = torch_script.torch_network(architecture)
    torch_script.load_into_torch(theirs, first.state_dict())
    torch_script.load_from_torch(second, theirs)
    state = first.state_dict()
    for name, array in second.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    other = torch_script.torch_network(replace(architecture, filters=(4, 9)))
    with pytest.raises(ValueError, match="expected"):
        torch_script.load_into_torch(other, state)
    with pytest.raises(ValueError, match="differ in"):
        torch_script.load_into_torch(torch_script.torch_network(replace(architecture, batch_norm=False)), state)


@pytest.mark.parametrize("flag", [{"resume": True}, {"lr_find": True}, {"auto": True}, {"device": "gpu"}])
def test_flags_that_pytorch_does_not_have(torch_script, quick, flag):
    with pytest.raises(UserError, match=r"training\.py only|runs on the CPU"):
        torch_script.train(replace(quick, **flag))
