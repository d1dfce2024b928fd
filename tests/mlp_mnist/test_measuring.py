"""The test script of mlp_mnist, run as a user runs it, on a small run and small data."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_run import NOTICE, make_archive, make_run

from core.cli import main, parse
from core.errors import UserError
from core.training.checkpoint import load_checkpoint, save_checkpoint
from mlp_mnist import test_model, trained
from mlp_mnist.model import Architecture, build
from mlp_mnist.trained import load_classifier, prepare, probabilities


def fails_in_one_line(capsys: pytest.CaptureFixture[str], *flags: object) -> bool:
    with pytest.raises(SystemExit) as stop:
        main(test_model.test, test_model.Settings, [str(flag) for flag in flags])
    complaint = capsys.readouterr().err
    return stop.value.code == 2 and complaint.startswith("error: ") and len(complaint.splitlines()) == 1


def test_the_report_is_whole_and_carries_the_notice(tmp_path):
    """As a user runs it, from another folder."""
    run, archive = make_run(tmp_path / "run"), make_archive(tmp_path / "data")
    command = [sys.executable, test_model.__file__, "--run", str(run), "--data", str(archive)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"*** {NOTICE} ***" in done.stdout, "the same notice is said once"
    report = json.loads((run / "report" / "report.json").read_text())
    assert report["notice"] == NOTICE
    assert report["dataset"] == "MNIST"
    assert report["model"] == "multilayer perceptron 784-16-8-10, relu"
    assert report["images"] == 60
    assert f"--run {run}" in report["command"]
    for name in ("confusion_matrix.png", "reliability.png", "mistakes.png", "model_card.md", *report["examples"]):
        assert (run / "report" / name).is_file(), name


def test_training_and_test_data_may_each_have_a_notice(tmp_path):
    run, archive = make_run(tmp_path / "run", notice="PARTIAL data"), make_archive(tmp_path / "data")
    test_model.test(test_model.Settings(run=str(run), data=str(archive)))
    assert json.loads((run / "report" / "report.json").read_text())["notice"] == f"PARTIAL data; {NOTICE}"


def test_sigmoid_scores_become_probabilities(tmp_path):
    run = make_run(tmp_path / "run", architecture=Architecture(hidden=(8,), activation="sigmoid", sigmoid_output=True))
    classifier = load_classifier(str(run), "mnist")
    scores = classifier.network.forward(prepare(classifier, np.zeros((2, 28, 28), np.uint8)))
    shares = probabilities(classifier, scores)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(shares, scores / scores.sum(axis=1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("bias", [-16, -20, -200])
def test_a_network_of_sigmoids_that_sees_nothing_finds_all_classes_alike(tmp_path, bias):
    """Their scores, which are all but 0 or 0, once became probabilities that were no numbers."""
    architecture = Architecture(hidden=(8,), activation="sigmoid", sigmoid_output=True)
    network = build(architecture)
    output = network.layers["3"]
    output.weight.data.fill(0)
    output.bias.data.fill(bias)
    run = make_run(tmp_path / "run", architecture=architecture, weights=network)
    test_model.test(test_model.Settings(run=str(run), data=str(make_archive(tmp_path / "data"))))
    classifier = load_classifier(str(run), "mnist")
    scores = np.zeros((2, 10), np.float32)
    scores[1, 7] = np.float32(2**-25)  # the least score that is not 0
    shares = probabilities(classifier, scores)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares[0], 0.1, rtol=1e-6)
    assert shares[1].argmax() == 7


def test_the_newest_run_on_the_data_set_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "PROJECT", tmp_path / "mlp_mnist")
    runs = tmp_path / "mlp_mnist" / "runs"
    for age, (name, dataset) in enumerate([("new", "mnist"), ("clothes", "fashion_mnist"), ("old", "mnist")]):
        folder = make_run(runs / name, dataset)
        stamp = (folder / "best.safetensors").stat().st_mtime - 100 * age
        os.utime(folder / "best.safetensors", (stamp, stamp))
    (runs / "clothes" / "config.json").rename(runs / "clothes" / "kept.json")
    assert load_classifier("", "mnist").weights.parent.name == "new"
    assert load_classifier("old", "mnist").weights.parent.name == "old"
    assert load_classifier("clothes", "mnist").dataset == "fashion_mnist"
    with pytest.raises(UserError, match=r"training.py --dataset fashion_mnist"):
        load_classifier("", "fashion_mnist")


def test_a_run_that_is_not_there_names_those_that_are(tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "PROJECT", tmp_path)
    make_run(tmp_path / "runs" / "mine")
    with pytest.raises(UserError, match=r"no run 'yours'.*mine"):
        load_classifier("yours", "mnist")


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign", "text", "empty"])
def test_a_bad_checkpoint_is_one_line_and_exit_code_2(tmp_path, capsys, damage):
    run, archive = make_run(tmp_path / "run"), make_archive(tmp_path / "data")
    weights = run / "best.safetensors"
    if damage == "missing":
        weights.unlink()
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "foreign":
        save_checkpoint(weights, {"a": np.zeros(3, np.float32)}, {"kind": "weights", "about": {"name": "other"}})
    else:
        weights.write_text("<html>not found</html>" if damage == "text" else "")
    assert fails_in_one_line(capsys, "--run", run, "--data", archive)
    assert not (run / "report").exists()


def test_missing_data_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert fails_in_one_line(capsys, "--run", make_run(tmp_path / "run"), "--data", tmp_path / "nothing")


@pytest.mark.parametrize(
    "lie",
    [
        {"hidden": [10**9, 8]},
        {"hidden": []},
        {"hidden": "16"},
        {"classes": 11},
        {"activation": "magic"},
        {"unknown": 1},
    ],
)
def test_a_description_that_lies_takes_no_memory_and_loads_nothing(tmp_path, lie):
    run = make_run(tmp_path / "run")
    tensors, metadata = load_checkpoint(run / "best.safetensors")
    metadata["about"]["architecture"] |= lie
    save_checkpoint(run / "best.safetensors", tensors, metadata)
    with pytest.raises(UserError, match=r"holds no network of this project.*`python mlp_mnist/training.py`"):
        load_classifier(str(run), "mnist")


@pytest.mark.parametrize("part", ["about", "data", "notice"])
def test_a_description_that_lacks_a_part_is_refused(tmp_path, part):
    with pytest.raises(UserError, match=r"holds no network of this project.*`python mlp_mnist/training.py`"):
        load_classifier(
            str(make_run(tmp_path / "run", **{part: 7 if part != "notice" else None} | {"about": []})), "mnist"
        )


def test_names_for_other_classes_than_the_network_has_are_refused(tmp_path):
    run = make_run(tmp_path / "run")
    tensors, metadata = load_checkpoint(run / "best.safetensors")
    metadata["about"]["classes"].pop()
    save_checkpoint(run / "best.safetensors", tensors, metadata)
    with pytest.raises(UserError, match="holds no network of this project"):
        load_classifier(str(run), "mnist")


def test_data_with_other_classes_is_refused(tmp_path):
    run, archive = make_run(tmp_path / "run"), make_archive(tmp_path / "data", "fashion_mnist")
    with pytest.raises(UserError, match="other classes"):
        test_model.test(test_model.Settings(run=str(run), data=str(archive)))


def report_of(run: Path, folder: str = "report") -> dict[str, Any]:
    return json.loads((run / folder / "report.json").read_text())


def test_so_many_images_are_measured_and_the_report_says_so(tmp_path):
    run, archive = make_run(tmp_path / "run"), make_archive(tmp_path / "data")
    settings = test_model.Settings(run=str(run), data=str(archive), samples=20)
    test_model.test(settings)
    report = report_of(run, "report-20")
    assert report["images"] == 20
    assert [row["support"] for row in report["classes"]] == [2] * 10, "the 60 digits have six of each class"
    card = (run / "report-20" / "model_card.md").read_text()
    assert "of 20 test images right" in card
    assert "It was measured on only 20 of the 60 test images" in card
    assert f"`{report['command']}`" in card
    assert parse(test_model.Settings, shlex.split(report["command"])[2:]) == settings


def test_samples_that_were_asked_for_are_in_the_command(tmp_path, monkeypatch):
    run, archive = make_run(tmp_path / "run"), make_archive(tmp_path / "data")
    settings = test_model.Settings(run=str(run), data=str(archive), samples=-1)
    monkeypatch.setattr(sys, "stdin", io.StringIO())  # no terminal
    test_model.test(settings)
    assert report_of(run, "report-50")["images"] == 50
    assert report_of(run, "report-50")["command"].endswith("--samples 50")


@pytest.mark.parametrize("all_of_them", [0, 60])
def test_a_report_on_some_images_does_not_replace_that_on_all(tmp_path, all_of_them):
    run, archive = make_run(tmp_path / "run"), make_archive(tmp_path / "data")
    for samples in (all_of_them, 20):
        test_model.test(test_model.Settings(run=str(run), data=str(archive), samples=samples))
    assert report_of(run)["images"] == 60


@pytest.mark.parametrize("samples", [-2, 61])
def test_samples_that_there_are_not(tmp_path, capsys, samples):
    run, archive = make_run(tmp_path / "run"), make_archive(tmp_path / "data")
    assert fails_in_one_line(capsys, "--run", run, "--data", archive, "--samples", samples)
