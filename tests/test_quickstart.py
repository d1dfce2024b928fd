"""The order of the quickstart's steps, and what it does when MNIST cannot be had."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from scripts import environment, quickstart
from scripts.environment import Environment, SetupError

PYTHON = Path("python")


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Stands in for the project's scripts: records their flags, fails where told, and leaves a report."""
    codes: dict[str, int] = {}
    calls: list[list[str]] = []

    def run(command):
        script, *flags = command[1].name, *map(str, command[2:])
        calls.append([script, *flags])
        if script == "test_model.py":
            folder = tmp_path / "runs" / flags[flags.index("--run") + 1] / "report"
            folder.mkdir(parents=True)
            notice = "SYNTHETIC data" if "--data" in flags else ""
            accuracy = {"value": 0.984, "low": 0.981, "high": 0.986}
            (folder / "report.json").write_text(json.dumps({"accuracy": accuracy, "notice": notice}))
        return codes.get(" ".join([script, *flags[:1]]), 0)

    monkeypatch.setattr(quickstart, "PROJECT", tmp_path)
    monkeypatch.setattr(quickstart, "STAND_IN", tmp_path / "archive" / "synthetic")
    monkeypatch.setattr(environment, "prepare", lambda here: Environment(tmp_path, PYTHON))
    monkeypatch.setattr(environment, "run", run)
    run.codes, run.calls = codes, calls
    return run


def start(monkeypatch, *flags: str) -> int:
    monkeypatch.setattr(sys, "argv", ["quickstart.py", *flags])
    return quickstart.main()


def test_the_steps_follow_each_other(parts, monkeypatch, capsys):
    assert start(monkeypatch) == 0
    assert parts.calls == [
        ["setup_data.py"],
        ["training.py", "--name", "quickstart"],
        ["test_model.py", "--run", "quickstart"],
    ]
    said = capsys.readouterr().out
    for words in ("98.40 %", "best.safetensors", "curves.png", "confusion_matrix.png", "seconds"):
        assert words in said
    assert "SYNTHETIC" not in said


@pytest.mark.parametrize("flags", [[], ["--synthetic"]])
def test_the_stand_in_is_labelled_and_lies_beside_the_real_data(flags, parts, monkeypatch, capsys, tmp_path):
    parts.codes["setup_data.py"] = 2
    assert start(monkeypatch, *flags) == 0
    stand_in = str(tmp_path / "archive" / "synthetic")
    assert parts.calls[-3:] == [
        ["setup_data.py", "--synthetic", "--archive", stand_in],
        ["training.py", "--name", "quickstart-synthetic", "--data", stand_in],
        ["test_model.py", "--run", "quickstart-synthetic", "--data", stand_in],
    ]
    said = capsys.readouterr().out
    assert "*** SYNTHETIC data ***" in said
    assert ("MNIST cannot be had" in said) == (not flags)


def test_a_mirror_that_fails_is_an_error_not_a_reason_for_a_stand_in(parts, monkeypatch):
    parts.codes["setup_data.py --mirror"] = 2
    with pytest.raises(SystemExit) as stop:
        start(monkeypatch, "--mirror", "nowhere")
    assert stop.value.code == 2
    assert parts.calls == [["setup_data.py", "--mirror", "nowhere"]]


@pytest.mark.parametrize("failing", ["setup_data.py", "training.py --name", "test_model.py --run"])
def test_another_failure_ends_it_with_the_same_exit_code(failing, parts, monkeypatch):
    parts.codes[failing] = 3
    with pytest.raises(SystemExit) as stop:
        start(monkeypatch)
    assert stop.value.code == 3
    assert parts.calls[-1][0] == failing.split()[0]


def test_an_accuracy_can_be_asked_for(parts, monkeypatch):
    assert start(monkeypatch, "--at-least", "98") == 0
    (quickstart.PROJECT / "runs" / "quickstart" / "report" / "report.json").unlink()
    (quickstart.PROJECT / "runs" / "quickstart" / "report").rmdir()
    with pytest.raises(SetupError, match=r"98\.40 %, below the 99 % asked for"):
        start(monkeypatch, "--at-least", "99")
