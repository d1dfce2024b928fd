"""The members of one split, fetched by parts from the publisher's server or, where it sends none, with the whole."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_emnist import make_bhmsds, make_emnist

from core.data import fetch
from core.data.prepared import load_prepared
from core.data.sources import EMNIST
from emnist import characters, setup_data, symbols
from emnist.classes import OFFICIAL
from emnist.setup_data import Settings


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server in the publishers' place, with archives that count as theirs."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "data")
    import faulty_server as faulty

    monkeypatch.setattr(setup_data, "draw_contact_sheet", lambda *_: None)  # it takes a second
    monkeypatch.delenv("BARENETS_MIRROR", raising=False)
    monkeypatch.setattr(fetch, "BACKOFF", 0.0)
    monkeypatch.setitem(OFFICIAL, "balanced", (84, 28))
    with faulty.faulty_server() as server:
        whole = make_emnist(tmp_path / "gzip.zip").read_bytes()
        server.files = {"/gzip.zip": whole, "/s.zip": make_bhmsds(tmp_path / "s.zip").read_bytes()}
        server.ignoring_ranges = faulty.ignoring_ranges
        archive = replace(
            EMNIST.files["archive"],
            urls=(f"{server.url}/gzip.zip",),
            size=len(whole),
            sha256=hashlib.sha256(whole).hexdigest(),
        )
        monkeypatch.setattr(characters, "ARCHIVE", archive)
        monkeypatch.setattr(symbols, "ZIP", replace(symbols.ZIP, urls=(f"{server.url}/s.zip",)))
        monkeypatch.setattr(symbols, "TREE", symbols.git_tree(list(_members(tmp_path / "s.zip"))))
        yield server


def _members(path):
    return symbols.archive_files(path, lambda name: "symbols/" in name, symbols.LARGEST)


@pytest.fixture
def settings(tmp_path):
    return Settings(archive=tmp_path / "archive" / "emnist", data_dir=tmp_path / "downloads")


def test_only_the_split_is_fetched_and_kept(server, settings, capsys, tmp_path):
    setup_data.run(settings)
    info = load_prepared(settings.archive).info
    assert info["complete"]
    assert (info["notice"], info["origin"]) == ("", "publisher")
    assert "downloaded the split balanced" in capsys.readouterr().out
    asked = [path for path, asked_range, _ in server.requests if asked_range]
    assert set(asked) == {"/gzip.zip"}
    assert not (tmp_path / "downloads" / "emnist" / "gzip.zip").exists()
    server.requests.clear()
    setup_data.run(replace(settings, force=True, offline=True))
    assert server.requests == []


def test_without_parts_the_whole_archive_is_fetched(server, settings, capsys):
    server.plans["/gzip.zip"] = [server.ignoring_ranges]
    setup_data.run(settings)
    assert load_prepared(settings.archive).info["complete"]
    out = capsys.readouterr().out
    assert "trying the whole archive" in out
    assert "downloaded" in out


def test_an_archive_of_another_size_is_not_read_by_parts(server, settings, monkeypatch, capsys):
    wrong = replace(characters.ARCHIVE, size=characters.ARCHIVE.size + 1)
    monkeypatch.setattr(characters, "ARCHIVE", wrong)
    with pytest.raises(fetch.FetchError, match="not the publisher's data"):
        setup_data.run(settings)
    assert "trying the whole archive" in capsys.readouterr().out
    assert not settings.archive.exists()


def test_no_connection_is_one_line_with_every_way_out(server, settings):
    server.files.clear()
    with pytest.raises(fetch.FetchError, match=r"HTTP 404.*--mirror.*--synthetic"):
        setup_data.run(settings)
