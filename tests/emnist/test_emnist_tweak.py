"""The search for better settings, on small rendered characters."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from mistakes import complaint_of
from tiny_emnist import make_archive

from core.errors import UserError
from emnist import training, tweak


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Settings of trials that take a moment, whose runs go to a temporary folder."""
    archive = make_archive(tmp_path / "archive" / "emnist")
    monkeypatch.setattr(training, "PROJECT", tmp_path)
    return replace(tweak.PRESETS["classic"], data=str(archive), epochs=1, search=3)


def test_a_search_draws_every_setting_and_goes_on(settings, tmp_path, monkeypatch, capsys):
    pytest.importorskip("optuna")
    monkeypatch.setitem(tweak.SPACE, "hidden", [(8,), (16, 8)])
    tweak.tweak(settings)
    folder = tmp_path / "runs" / "classic-search"
    assert {path.name for path in folder.glob("*.png")} == {"search.png", "parallel.png", "time.png"}
    out = capsys.readouterr().out
    assert out.count("\ntrial") == 3
    assert "best: --hidden " in out
    tweak.tweak(replace(settings, search=4, auto=True))
    with (folder / "search.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert set(tweak.SPACE) <= set(rows[0])
    out = capsys.readouterr().out
    assert out.count("\ntrial") == 1
    assert "confusions among them forgiven" in out
    report = json.loads((tmp_path / "runs" / "classic" / "report" / "report.json").read_text())
    assert report["samples"] == "characters"


def test_a_sweep(settings, tmp_path, capsys):
    tweak.tweak(replace(settings, search=tweak.TRIALS, sweep=("hidden=8,16x8", "activation=relu,tanh")))
    assert (tmp_path / "runs" / "classic-sweep" / "sweep.png").exists()
    assert "16x8" in capsys.readouterr().out


def test_presets_start_with_few_epochs_and_keep_the_rest():
    cnn = tweak.PRESETS["cnn"]
    assert (cnn.epochs, cnn.search, cnn.filters) == (tweak.EPOCHS, tweak.TRIALS, (32, 64, 128))


@pytest.mark.parametrize("change", [{"search": -1}, {"search": 0, "auto": True}, {"batch_size": 0}])
def test_wrong_settings(change):
    with pytest.raises(UserError, match="--"):
        replace(tweak.PRESETS["classic"], **change)


def test_the_command_line(tmp_path):
    shown = subprocess.run([sys.executable, tweak.__file__, "--help"], capture_output=True, text=True).stdout
    assert "--lr-find" not in shown
    assert "--search" in shown
    assert complaint_of(tweak.__file__, "--data", tmp_path, folder=tmp_path).startswith("no prepared data")
