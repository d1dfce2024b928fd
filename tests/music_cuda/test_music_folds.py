"""Cross-validation: each song is judged by a network that has not heard it."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from tiny_music import COUNTS

from core.errors import UserError
from core.training.lock import FolderLock
from music_cuda import folds, training


def test_every_song_is_judged_once_by_a_network_that_has_not_heard_it(
    quick, tmp_path, whole_archive, monkeypatch, capsys
):
    heard = []

    def watched(settings, data, rows, held_out, folder):
        heard.append(rows)
        assert held_out is None, "no epoch is chosen by the songs that are judged"
        return training.fit(settings, data, rows, held_out, folder)

    monkeypatch.setattr(folds, "fit", watched)
    found = folds.cross_validate(replace(quick, dataset=str(whole_archive), folds=5, epochs=15), tmp_path / "runs")
    songs = sum(COUNTS.values())
    assert [fold.songs for fold in found] == [52] * 5
    assert (np.bincount(np.concatenate(heard), minlength=songs) == 4).all()
    told = capsys.readouterr().out
    mean = np.mean([fold.accuracy for fold in found])
    assert mean > 0.25
    assert f"mean {mean:.2%}" in told
    assert f"of the {COUNTS['test']} test songs among them" in told
    assert "epoch" not in told
    with open(tmp_path / "runs" / "default-folds" / "folds.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["right"]) for row in rows] == [fold.right for fold in found]


def test_inner_folds_open_the_training_songs_alone(quick, tmp_path, capsys):
    found = folds.cross_validate(replace(quick, folds=4, inner=True), tmp_path / "runs")
    assert sum(fold.songs for fold in found) == COUNTS["train"]
    assert "test songs" not in capsys.readouterr().out
    assert (tmp_path / "runs" / "default-inner" / "folds.csv").exists()


def test_folds_do_not_depend_on_each_other(quick, tmp_path):
    settings = replace(quick, folds=3, inner=True)
    first = folds.cross_validate(settings, tmp_path / "one")
    assert folds.cross_validate(settings, tmp_path / "two") == first
    assert folds.cross_validate(settings, tmp_path / "two") == first, "also where results of before lie"


@pytest.mark.parametrize("used", ["default-inner", "default-inner/fold-1"])
def test_folds_that_another_process_is_training_are_left_alone(quick, tmp_path, used):
    fold = tmp_path / "runs" / "default-inner" / "fold-1"
    fold.mkdir(parents=True)
    (fold / "last.safetensors").write_text("of the other process")
    with FolderLock(tmp_path / "runs" / used), pytest.raises(UserError, match=f"{used} is in use by another run"):
        folds.cross_validate(replace(quick, folds=3, inner=True), tmp_path / "runs")
    assert (fold / "last.safetensors").read_text() == "of the other process"
