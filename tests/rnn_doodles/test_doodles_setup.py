"""setup_data.py of rnn_doodles: parts of files from folders and servers, splits, notices, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from core.data import fetch
from core.data.prepared import load_prepared
from core.data.quickdraw import Drawings
from core.errors import UserError
from rnn_doodles import setup_data, words
from rnn_doodles.setup_data import Settings, run
from rnn_doodles.words import ANIMALS, check_words, open_word, sources

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data"))
from faulty_server import faulty_server, html, ignoring_ranges

WORDS = ("cat", "alarm clock", "The Eiffel Tower")


def lines_of(word: str, count: int) -> bytes:
    """A word's file: every third drawing was not recognised; drawing i begins at x = i."""
    rows = [
        {
            "word": word,
            "recognized": i % 3 > 0,
            "drawing": [[[i % 256, 9, 3], [len(word), 8, 4]], [[1, 2, 255], [0, 0, 9]]],
        }
        for i in range(count)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture(autouse=True)
def no_mirror_from_outside(monkeypatch):
    monkeypatch.delenv(fetch.MIRROR_VARIABLE, raising=False)
    monkeypatch.delenv(fetch.DATA_VARIABLE, raising=False)


@pytest.fixture
def mirror(tmp_path):
    """A folder with files of 90 drawings for each of WORDS."""
    folder = tmp_path / "mirror" / "quickdraw"
    folder.mkdir(parents=True)
    for word in WORDS:
        (folder / f"{word}.ndjson").write_bytes(lines_of(word, 90))
    return folder.parent


def settings(tmp_path, **changes):
    common = {"archive": tmp_path / "out", "data_dir": tmp_path / "downloads", "words": WORDS, "allow_unverified": True}
    return Settings(**(common | changes))


def prepared(tmp_path):
    found = load_prepared(tmp_path / "out")
    return found.arrays, found.info


def test_all_words_have_a_source():
    assert len(sources()) == 345
    assert set(ANIMALS) <= set(sources())
    for word, animal in ((word, setup_data.QUICKDRAW.files[word]) for word in ANIMALS):
        assert (sources()[word].size, sources()[word].md5, sources()[word].urls) == (
            animal.size,
            animal.md5,
            animal.urls,
        )
    assert sources()["The Eiffel Tower"].urls[0].endswith("/The%20Eiffel%20Tower.ndjson")


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (("cat", "octopuss"), "did you mean octopus"),
        (("cat", "Zwölf"), "rnn_doodles/words.txt"),
        (("cat",), "two different words"),
        (("cat", "cat"), "two different words"),
        ((), "two different words"),
        (("cat", "../../etc/passwd"), "nobody was asked to draw"),
    ],
)
def test_wrong_words_are_refused(chosen, message):
    with pytest.raises(UserError, match=message):
        check_words(chosen)


def test_a_mirror_becomes_arrays_split_by_class(tmp_path, mirror, capsys):
    run(settings(tmp_path, mirror=str(mirror)))
    arrays, info = prepared(tmp_path)
    assert set(arrays) == {f"{part}_{name}" for part in ("train", "test") for name in ("points", "lengths", "labels")}
    assert info["counts"] == {"train": 153, "test": 27}
    assert np.bincount(arrays["train_labels"]).tolist() == [51] * 3
    assert np.bincount(arrays["test_labels"]).tolist() == [9] * 3
    assert info["classes"] == list(WORDS)
    assert (info["origin"], info["complete"]) == ("mirror", False)
    assert info["notice"].startswith("UNVERIFIED data")
    out = capsys.readouterr().out
    assert "cat" in out
    assert "60 drawings (left out: 30 not recognised)" in out
    whole = [
        Drawings(arrays[f"{part}_points"], arrays[f"{part}_lengths"]).strokes(0)[0].tolist()
        for part in ("train", "test")
    ]
    assert all(stroke[1:] == [[9, 8], [3, 4]] for stroke in whole)
    starts = {part: arrays[f"{part}_points"][::6, 0][arrays[f"{part}_labels"] == 0] for part in ("train", "test")}
    assert sorted(np.concatenate(list(starts.values()))) == [i for i in range(90) if i % 3], "no drawing is in both"


def test_a_second_call_does_nothing_and_another_request_prepares_again(tmp_path, mirror, capsys):
    for changes in ({}, {}, {"per_class": 20}):
        run(settings(tmp_path, mirror=str(mirror), **changes))
    out = capsys.readouterr().out
    assert out.count("nothing to do") == 1
    arrays, info = prepared(tmp_path)
    assert len(arrays["train_labels"]) + len(arrays["test_labels"]) == 60
    assert "PART of Quick, Draw!: 20 drawings of each of 3 words" in info["notice"]
    assert "--allow-unverified --words cat 'alarm clock' 'The Eiffel Tower' --per-class 20" in info["command"]


def test_a_subset_has_so_many_of_each_part(tmp_path, mirror):
    run(settings(tmp_path, mirror=str(mirror), subset=20))
    arrays, _ = prepared(tmp_path)
    assert (len(arrays["train_labels"]), len(arrays["test_labels"])) == (20, 20)
    assert len(set(arrays["train_labels"])) == 3


def test_unknown_files_need_the_flag(tmp_path, mirror):
    with pytest.raises(UserError, match="--allow-unverified takes other data"):
        run(settings(tmp_path, mirror=str(mirror), allow_unverified=False))
    assert not (tmp_path / "out").exists()


def test_the_wrong_file_is_named(tmp_path, mirror):
    (mirror / "quickdraw" / "cat.ndjson").write_bytes(b"not a drawing\n" * 30)
    with pytest.raises(UserError, match="cat: only 0 drawings among 30 lines"):
        run(settings(tmp_path, mirror=str(mirror)))


def genuine(monkeypatch, word, content):
    """Let `content` be what the publisher has for `word`."""
    table = dict(sources())
    table[word] = table[word].__class__("quickdraw", f"{word}.ndjson", table[word].urls, len(content), md5="0" * 32)
    monkeypatch.setattr(words, "sources", lambda: table)


def test_only_the_beginning_of_a_file_is_fetched(tmp_path, monkeypatch):
    content = lines_of("alarm clock", 40_000)
    genuine(monkeypatch, "alarm clock", content)
    with faulty_server() as server:
        path = f"/quickdraw/{quote('alarm clock')}.ndjson"
        server.files[path] = content
        with open_word("alarm clock", tmp_path, server.url) as file:
            assert file.verified
            first = [file.lines.readline() for _ in range(100)]
        assert b"".join(first) == b"".join(content.splitlines(keepends=True)[:100])
        assert [request[0] for request in server.requests] == [path]
        assert server.requests[0][1].startswith("bytes=0-")
    assert not list(tmp_path.rglob("*.ndjson")), "nothing is kept that might be taken for the whole"


def test_a_file_of_another_size_needs_the_flag(tmp_path, monkeypatch):
    content = lines_of("cat", 50)
    genuine(monkeypatch, "cat", content + b"more")
    with faulty_server() as server:
        server.files["/quickdraw/cat.ndjson"] = content
        with pytest.raises(UserError, match="--allow-unverified"), open_word("cat", tmp_path, server.url):
            pass
        with open_word("cat", tmp_path, server.url, allow_unverified=True) as file:
            assert not file.verified
            assert len(file.lines.readlines()) == 50


def test_a_server_without_ranges_gives_the_whole_file(tmp_path):
    with faulty_server() as server:
        server.files["/quickdraw/cat.ndjson"] = lines_of("cat", 50)
        server.plans["/quickdraw/cat.ndjson"] = [ignoring_ranges] * 9
        with open_word("cat", tmp_path, server.url, allow_unverified=True) as file:
            assert len(file.lines.readlines()) == 50
        assert (tmp_path / "quickdraw" / "cat.ndjson").exists()


def test_a_web_page_is_not_a_drawing(tmp_path):
    with faulty_server() as server:
        server.files["/quickdraw/cat.ndjson"] = b"x"
        server.plans["/quickdraw/cat.ndjson"] = [html] * 9
        with pytest.raises(UserError, match="web page"), open_word("cat", tmp_path, server.url, allow_unverified=True):
            pass


def test_offline_uses_what_is_there(tmp_path):
    with pytest.raises(UserError, match="while --offline"), open_word("cat", tmp_path, offline=True):
        pass
    (tmp_path / "quickdraw").mkdir()
    (tmp_path / "quickdraw" / "cat.ndjson").write_bytes(lines_of("cat", 7))
    with open_word("cat", tmp_path, offline=True, allow_unverified=True) as file:
        assert len(file.lines.readlines()) == 7


def test_the_stand_in_says_so(tmp_path, capsys):
    run(Settings(archive=tmp_path / "out", synthetic=True, per_class=12))
    arrays, info = prepared(tmp_path)
    assert info["notice"].startswith("SYNTHETIC data")
    assert len(info["classes"]) == 10
    assert len(arrays["train_labels"]) + len(arrays["test_labels"]) == 120
    out = capsys.readouterr().out
    assert out.startswith("SYNTHETIC data in place of Quick, Draw! is prepared")
    assert "NOTICE: SYNTHETIC" in out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"per_class": 3}, "--per-class must be at least 10"),
        ({"seed": -1}, "--seed"),
        ({"subset": 0}, "--subset"),
        ({"synthetic": True, "mirror": "x"}, "--synthetic and --mirror"),
        ({"words": ("cat", "dgo")}, "'dgo'"),
    ],
)
def test_wrong_settings(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        run(settings(tmp_path, **changes))
