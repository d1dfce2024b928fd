"""The report on test songs, and networks that are read back from their runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny_music import COUNTS, NOTICE, make_archive, make_run

from core.errors import UserError
from core.losses import softmax
from music_cuda import test_model, trained
from music_cuda.model import Architecture
from music_cuda.songs import load_songs
from music_cuda.table import GENRES
from music_cuda.trained import listen, load_listener, nearest


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "PROJECT", tmp_path)
    return make_run(tmp_path / "runs" / "tiny")


def test_the_report_opens_the_test_songs_alone(tmp_path, run, capsys):
    archive = make_archive(tmp_path / "archive", parts=("test",))
    test_model.test(test_model.Settings(dataset=str(archive)))
    report = json.loads((run / "report" / "report.json").read_text())
    assert report["images"] == COUNTS["test"]
    assert report["notice"] == NOTICE
    assert report["command"] == f"python music_cuda/test_model.py --dataset {archive}"
    card = (run / "report" / "model_card.md").read_text()
    assert "94.5 %" in card
    assert "Songs of one artist" in card
    assert NOTICE in capsys.readouterr().out


def test_neighbours_are_sorted_and_a_song_is_its_own(run, archive):
    listener, data = load_listener(""), load_songs(str(archive))
    found = nearest(listener, data, data.features[17], count=6)
    assert found[0] == (data.names[17], GENRES[data.labels[17]], 0.0)
    distances = [song.distance for song in found]
    assert distances == sorted(distances)
    strange = nearest(listener, data, np.full(57, 1e30, np.float32), count=2)
    assert np.isfinite([song.distance for song in strange]).all()


def test_probabilities_of_any_finite_features_are_probabilities(run):
    listener = load_listener("")
    p = listen(listener, np.array([np.full(57, 1e30), np.full(57, -1e30), np.zeros(57)], np.float32))
    assert np.isfinite(p).all()
    assert softmax(np.zeros((1, 10)))[0, 0] == pytest.approx(0.1)


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"architecture": {"hidden": [9, 9]}},
        {"architecture": {"hidden": [8, 4], "strange": 1}},
        {"architecture": Architecture(hidden=(8, 4)).to_dict(), "normalize": {"mean": 0, "std": 1}, "classes": GENRES},
        {"architecture": Architecture(hidden=(8, 4), members=10**9).to_dict()},
    ],
)
def test_a_checkpoint_of_something_else_is_refused(tmp_path, monkeypatch, about):
    monkeypatch.setattr(trained, "PROJECT", tmp_path)
    make_run(tmp_path / "runs" / "odd", about=about)
    with pytest.raises(UserError, match=r"holds no network of this project; train one with `python .*training.py`"):
        load_listener("odd")


@pytest.mark.parametrize(
    ("dataset", "message"),
    [("songs.csv", "prepare it first, with `python .*setup_data.py --csv songs.csv`"), ("nothing", "no prepared data")],
)
def test_songs_that_are_not_prepared(dataset, message):
    with pytest.raises(UserError, match=message):
        load_songs(dataset)


def test_songs_of_another_form_are_refused(tmp_path):
    archive = make_archive(tmp_path / "odd", classes=["a", "b"])
    with pytest.raises(UserError, match="holds no songs of this project"):
        load_songs(str(archive))
