"""The test script of cnn_mnist100, run as a user runs it, on a small run and small pairs."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from tiny_pairs import NOTICE, make_archive, make_run, some_pictures

from cnn_mnist100 import test_model, trained
from cnn_mnist100.model import Architecture
from cnn_mnist100.pairs import CLASSES
from cnn_mnist100.trained import load_reader, prepare
from core.errors import UserError
from core.training.checkpoint import load_checkpoint, save_checkpoint

DIGITS_APART = Architecture(filters=(4, 8), hidden=(16,), padding=1, batch_norm=True, head="digits")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The test pairs alone: whoever opens the training pairs fails."""
    return make_archive(tmp_path_factory.mktemp("archive") / "mnist100", parts=("test",))


def test_the_report_is_whole_and_puts_the_hardest_numbers_first(tmp_path, archive):
    """As a user runs it, from another folder."""
    run = make_run(tmp_path / "run")
    command = [sys.executable, test_model.__file__, "--run", str(run), "--data", str(archive)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"*** {NOTICE} ***" in done.stdout
    assert "The 10 worst of 100 classes" in done.stdout
    assert "the left digit is right in" in done.stdout
    report = json.loads((run / "report" / "report.json").read_text())
    assert (report["notice"], report["dataset"], report["images"]) == (NOTICE, "MNIST pairs", 100)
    assert report["model"] == "convolutions 3x3 of 4-8 filters, fully connected 16-100"
    for name in ("confusion_matrix.png", "reliability.png", "mistakes.png", "model_card.md", *report["examples"]):
        assert (run / "report" / name).is_file(), name
    rows = list(csv.DictReader((run / "report" / "hardest.csv").read_text().splitlines()))
    assert len(rows) == 100
    assert [float(row["recall"]) for row in rows] == sorted(float(row["recall"]) for row in rows)
    assert sum(int(row["right"]) for row in rows) == report["accuracy"]["correct"]


def test_numbers_and_their_digits():
    labels, answers = np.array([42, 42, 42, 17, 17, 99]), np.array([42, 12, 12, 17, 11, 99])
    assert test_model.digits_apart(labels, answers) == "the left digit is right in 66.67%, the right digit in 83.33%"
    lines = test_model.hardest_first(labels, answers, CLASSES).splitlines()
    places = {line.split(",")[0]: place for place, line in enumerate(lines)}
    assert "42,3,1,0.3333,12:2" in lines
    assert "17,2,1,0.5000,11:1" in lines
    assert "99,1,1,1.0000," in lines
    assert places["42"] < places["17"] < places["99"]


def test_pytorch_gives_the_same_answers(tmp_path):
    pytest.importorskip("torch")
    reader = load_reader(str(make_run(tmp_path / "run", DIGITS_APART)))
    x = prepare(reader, some_pictures(40))
    theirs, ours = (test_model.answer(reader, x, engine) for engine in ("torch", "numpy"))
    np.testing.assert_allclose(theirs, ours, atol=1e-5)


def test_the_newest_run_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "PROJECT", tmp_path / "cnn_mnist100")
    for age, name in enumerate(("new", "old")):
        weights = make_run(tmp_path / "cnn_mnist100" / "runs" / name) / "best.safetensors"
        stamp = weights.stat().st_mtime - 100 * age
        os.utime(weights, (stamp, stamp))
    assert load_reader("").weights.parent.name == "new"
    assert load_reader("old").weights.parent.name == "old"
    with pytest.raises(UserError, match=r"no run 'gone'.*new, old"):
        load_reader("gone")


@pytest.mark.parametrize(
    "lie",
    [
        {"hidden": [10**9]},
        {"filters": [4, 10**6]},
        {"filters": []},
        {"filters": 4},
        {"padding": 10**6},
        {"head": "digits"},
        {"unknown": 1},
    ],
)
def test_a_description_that_lies_takes_no_memory_and_loads_nothing(tmp_path, lie):
    run = make_run(tmp_path / "run")
    tensors, metadata = load_checkpoint(run / "best.safetensors")
    metadata["about"]["architecture"] |= lie
    save_checkpoint(run / "best.safetensors", tensors, metadata)
    with pytest.raises(UserError, match="holds no network of this project"):
        load_reader(str(run))


@pytest.mark.parametrize(
    "change", [{"about": []}, {"about": {"architecture": 1}}, {"data": 7}, {"notice": None, "data": {}}]
)
def test_a_description_that_lacks_a_part_is_refused(tmp_path, change):
    with pytest.raises(UserError, match="holds no network of this project"):
        load_reader(str(make_run(tmp_path / "run", **change)))


def test_data_with_other_classes_is_refused(tmp_path):
    other = make_archive(tmp_path / "other", parts=("test",), classes=list("0123456789"))
    with pytest.raises(UserError, match="other classes"):
        test_model.test(test_model.Settings(run=str(make_run(tmp_path / "run")), data=str(other)))
