"""setup_data.py of music_cuda: tables, mirrors, the stand-in, duplicates, the split, notices, and what it refuses."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
from mistakes import complaint_of
from tiny_music import make_table, song_line

from core.data import fetch
from core.data.prepared import load_prepared
from core.data.sources import GTZAN
from core.errors import UserError
from music_cuda import setup_data
from music_cuda.setup_data import Settings, run


@pytest.fixture(autouse=True)
def no_mirror_from_outside(monkeypatch):
    monkeypatch.delenv(fetch.MIRROR_VARIABLE, raising=False)
    monkeypatch.delenv(fetch.DATA_VARIABLE, raising=False)


def prepare(tmp_path, **changes):
    run(Settings(archive=tmp_path / "out", data_dir=tmp_path / "downloads", **changes))
    found = load_prepared(tmp_path / "out")
    return found.arrays, found.info


def test_a_table_of_your_own(tmp_path, capsys):
    extra = (song_line(7, "pop"), song_line(500, tempo="?"), "")
    arrays, info = prepare(tmp_path, csv=make_table(tmp_path / "mine.csv", 150, extra=extra))
    assert arrays["train_features"].dtype == np.float32
    assert (len(arrays["train_labels"]), len(arrays["test_labels"])) == (120, 30)
    assert info["duplicates"] == ["pop.00007.wav = pop.00007.wav"]
    assert info["malformed"] == ["line 153: tempo is '?', not a number that can be used"]
    assert info["origin"] == "csv"
    assert "OTHER data: a table of 150 songs" in info["notice"]
    assert info["command"] == "python music_cuda/setup_data.py --csv mine.csv"
    told = capsys.readouterr().out
    assert "skipped line 153: tempo" in told
    assert "removed 1 songs that are there twice: pop.00007.wav = pop.00007.wav" in told
    assert "NOTICE: OTHER data" in told


def test_training_and_test_songs_are_apart_and_in_the_proportions_of_the_genres(tmp_path):
    arrays, info = prepare(tmp_path, csv=make_table(tmp_path / "mine.csv", 100))
    numbers = {part: np.rint(arrays[f"{part}_features"][:, 0]).astype(int) for part in ("train", "test")}
    np.testing.assert_array_equal(np.sort(np.concatenate(list(numbers.values()))), np.arange(100))
    assert set(np.bincount(arrays["test_labels"])) == {2}
    for part, found in numbers.items():
        assert [int(name.split(".")[1]) for name in info["songs"][part]] == found.tolist()


def test_nothing_is_normalised(tmp_path):
    arrays, _ = prepare(tmp_path, csv=make_table(tmp_path / "mine.csv", 30))
    assert arrays["train_features"].max() > 20


def test_a_repeated_song_of_another_genre_is_told(tmp_path, capsys):
    prepare(tmp_path, csv=make_table(tmp_path / "mine.csv", 100, extra=(song_line(7, "metal"),)))
    assert "metal.00007.wav = pop.00007.wav, of another genre" in capsys.readouterr().out


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A small table that passes for the publisher's, in a mirror; the same with the older names is known, too."""
    path = tmp_path / "mirror" / "gtzan" / "features_30_sec.csv"
    path.parent.mkdir(parents=True)
    data = make_table(path, 100).read_bytes()
    files = {}
    for role, content in (("features", data), ("features_au", data.replace(b".wav", b".au"))):
        digest = hashlib.sha256(content).hexdigest()
        sums = {"sha256": digest, "content_sha256": digest, "size": len(content), "content_size": len(content)}
        files[role] = dataclasses.replace(GTZAN.files[role], urls=(), **sums)
    monkeypatch.setattr(setup_data, "GTZAN", dataclasses.replace(GTZAN, files=files))
    return path, data


@pytest.mark.parametrize("names", [b".wav", b".au"])
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_the_published_table_comes_from_a_mirror_with_either_names(tmp_path, published, names, ends):
    path, data = published
    path.write_bytes(data.replace(b".wav", names).replace(b"\n", ends))
    _, info = prepare(tmp_path, mirror=str(path.parent.parent))
    assert info["complete"]
    assert info["notice"] == ""
    assert info["origin"] == "mirror"
    assert info["songs"]["train"][0].endswith(names.decode())


def test_the_published_table_is_known_as_such_also_as_a_file(tmp_path, published):
    path, data = published
    path.write_bytes(data)
    _, info = prepare(tmp_path, csv=path)
    assert info["complete"]


def test_another_table_in_the_mirror_needs_a_flag_and_says_so(tmp_path, published):
    path, data = published
    path.write_bytes(data + song_line(300).encode())
    with pytest.raises(UserError, match="--allow-unverified"):
        prepare(tmp_path, mirror=str(path.parent.parent))
    assert not (tmp_path / "out").exists()
    _, info = prepare(tmp_path, mirror=str(path.parent.parent), allow_unverified=True)
    assert "OTHER data" in info["notice"]


def test_a_second_call_does_nothing(tmp_path, capsys):
    table = make_table(tmp_path / "mine.csv", 50)
    prepare(tmp_path, csv=table)
    before = (tmp_path / "out" / "info.json").stat().st_mtime_ns
    prepare(tmp_path, csv=table)
    assert (tmp_path / "out" / "info.json").stat().st_mtime_ns == before
    make_table(table, 60)
    _, info = prepare(tmp_path, csv=table)
    assert sum(info["counts"].values()) == 60


def test_the_stand_in(tmp_path, capsys):
    arrays, info = prepare(tmp_path, synthetic=True)
    assert capsys.readouterr().out.startswith("SYNTHETIC data in place of GTZAN")
    assert len(arrays["train_labels"]) == 800
    assert len({Path(name).stem for name in info["songs"]["train"]}) == 800, "the demo shows the names without .wav"
    assert info["notice"].startswith("SYNTHETIC data")
    assert info["licence"] == "none needed: made by this program"


def test_a_subset_says_so(tmp_path):
    arrays, info = prepare(tmp_path, synthetic=True, subset=40)
    assert (len(arrays["train_labels"]), len(arrays["test_labels"])) == (40, 40)
    assert len(info["songs"]["train"]) == 40


def test_the_sources_are_https_and_pinned():
    assert all(url.startswith("https://raw.githubusercontent.com/") for url in GTZAN.files["features"].urls)
    assert all(file.content_sha256 for file in GTZAN.files.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--csv", "none.csv"], "cannot read none.csv"),
        (["--csv", "a.csv", "--synthetic"], "--synthetic and --csv are different sources"),
        (["--subset", "0"], "--subset must be at least 1"),
        (["--mirror", "nowhere"], "--mirror nowhere"),
        (["--offline", "--data-dir", "empty"], "--synthetic makes stand-in data without any network"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(tmp_path, arguments, message):
    assert message in complaint_of(setup_data.__file__, "--archive", "out", *arguments, folder=tmp_path)
