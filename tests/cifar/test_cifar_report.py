"""The test script of cifar, run as a user runs it, and what a run folder must hold."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from mistakes import complaint_of
from tiny_cifar import CLASSES, NOTICE, TINY, make_archive, make_arrays, make_run

from cifar import test_model, trained
from cifar.trained import load_classifier, prepare
from core.errors import UserError
from core.training.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The images to measure on alone: whoever opens the training images fails."""
    return make_archive(tmp_path_factory.mktemp("archive") / "cifar10", parts=("held_out", "test"))


def test_there_is_a_report_on_each_part(tmp_path, archive):
    """As a user runs it, from another folder."""
    run = make_run(tmp_path / "run")
    command = [sys.executable, test_model.__file__, "--run", str(run), "--data", str(archive), "--views", "6"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"*** {NOTICE} ***") == 2
    assert "on 40 test images of synthetic data, not CIFAR-10, training images set aside" in done.stdout
    for folder in ("report", "report-held-out"):
        report = json.loads((run / folder / "report.json").read_text())
        assert (report["notice"], report["images"]) == (NOTICE, 40)
        assert report["model"] == "fast network of 8-8-16 filters"
        assert report["limits"][0].startswith("It was trained on 200 images; the last epoch was taken")
        assert "six views" in report["limits"][1]
        for name in ("confusion_matrix.png", "reliability.png", "mistakes.png", "model_card.md", *report["examples"]):
            assert (run / folder / name).is_file(), name
    first, second = (
        json.loads((run / f / "report.json").read_text())["confusion"] for f in ("report", "report-held-out")
    )
    assert first != second, "other images"


@pytest.mark.parametrize("model", TINY)
def test_every_network_is_read_back(model, tmp_path):
    run = make_run(tmp_path / "run", TINY[model])
    classifier = load_classifier(str(run))
    assert classifier.architecture == TINY[model]
    assert classifier.network.forward(prepare(classifier, make_arrays()["test_images"][:3])).shape == (3, 10)


def test_data_without_images_set_aside_gives_one_report(tmp_path, archive, capsys):
    other = make_archive(tmp_path / "other", parts=("test",))
    run = make_run(tmp_path / "run")
    test_model.test(test_model.Settings(run=str(run), data=str(other)))
    assert not (run / "report-held-out").exists()
    assert "set aside" not in capsys.readouterr().out


def test_data_with_other_classes_are_refused(tmp_path):
    other = make_archive(tmp_path / "other", parts=("test",), classes=list(CLASSES[::-1]))
    with pytest.raises(UserError, match="other classes"):
        test_model.test(test_model.Settings(run=str(make_run(tmp_path / "run")), data=str(other)))


@pytest.mark.parametrize(
    "change",
    [
        {"widths": [8, 8, 10**9]},
        {"classes": 5},
        {"activation": "none"},
        {"model": "vgg"},
        {"hidden": [4] * 200},
        {"x": 1},
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, change):
    about = {
        "architecture": TINY["fast"].to_dict() | change,
        "normalize": {"mean": [0.5] * 3, "std": [0.25] * 3},
        "classes": list(CLASSES),
    }
    run = make_run(tmp_path / "run", about=about)
    with pytest.raises(UserError, match="holds no network of this project"):
        load_classifier(str(run))


def test_damaged_weights_end_in_one_line(tmp_path):
    run = make_run(tmp_path / "run")
    path = run / "best.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UserError, match=r"best\.safetensors"):
        load_classifier(str(run))


def test_weights_that_are_not_finite_are_refused(tmp_path):
    path = make_run(tmp_path / "run") / "best.safetensors"
    tensors, metadata = load_checkpoint(path)
    tensors["head.output.weight"][0, 0] = np.nan
    save_checkpoint(path, tensors, metadata)
    with pytest.raises(UserError, match="not finite"):
        load_classifier(str(path.parent))


def test_without_a_run_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "PROJECT", tmp_path / "cifar")
    with pytest.raises(UserError, match=r"python cifar/training\.py"):
        load_classifier("")


def test_an_unknown_run_ends_with_code_2(tmp_path):
    line = complaint_of(test_model.__file__, "--run", "nowhere", folder=tmp_path)
    assert line.startswith("there is no run 'nowhere'")
