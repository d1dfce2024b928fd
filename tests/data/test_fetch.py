"""Whence a file comes and what is taken for it: it is right and whole, or there is one line that says why not."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from faulty_server import HTML, cut_after, html, stall_after, with_headers
from toy_file import BODY, CONTENT, NAME, OTHER, PATH, sha256, source, target_in, visible

from core.data import fetch
from core.data.fetch import FetchError, download, downloads_folder
from core.data.sources import SourceFile
from core.errors import UserError

pytestmark = pytest.mark.usefixtures("pauses")

ROOT = Path(__file__).resolve().parents[2]


def test_a_second_call_asks_nobody(server, tmp_path, capsys):
    file = source(server.url + PATH)
    first = download(file, tmp_path)
    assert first == (target_in(tmp_path), True, server.url + PATH)
    assert first.path.read_bytes() == BODY
    assert download(file, tmp_path) == (target_in(tmp_path), True, "")
    assert len(server.requests) == 1
    assert visible(tmp_path) == [NAME]
    assert capsys.readouterr().err == ""  # no progress bar off a terminal


def test_the_publishers_are_tried_in_order_and_a_404_only_once(server, tmp_path):
    server.files["/second" + PATH] = BODY
    found = download(source(server.url + "/first" + PATH, server.url + "/second" + PATH), tmp_path)
    assert found.address == server.url + "/second" + PATH
    assert [path for path, *_ in server.requests] == ["/first" + PATH, "/second" + PATH]


def test_a_mirror_replaces_the_publishers(server, tmp_path, monkeypatch):
    file = source("http://127.0.0.1:9/unused")
    assert download(file, tmp_path / "a", mirror=server.url + "/").address == server.url + PATH
    monkeypatch.setenv(fetch.MIRROR_VARIABLE, server.url)
    assert download(file, tmp_path / "b").address == server.url + PATH


@pytest.mark.parametrize("level", [0, 1, 9, None])
def test_a_copy_that_was_compressed_again_is_accepted(server, tmp_path, level):
    server.files[PATH] = CONTENT if level is None else gzip.compress(CONTENT, level)
    found = download(source(), tmp_path, mirror=server.url)
    assert found.verified
    assert found.path.read_bytes() == server.files[PATH]


def test_line_ends_of_a_csv_do_not_matter(server, tmp_path):
    text = b"a,b\n1,2\n" * 3
    file = SourceFile("toy", "t.csv", (), 30, sha256(b"unknown"), "", len(text), sha256(text))
    server.files["/toy/t.csv"] = text.replace(b"\n", b"\r\n")
    assert download(file, tmp_path, mirror=server.url).verified


def test_other_data_is_taken_only_when_asked_for(server, tmp_path):
    server.files[PATH] = OTHER
    with pytest.raises(FetchError, match="--allow-unverified"):
        download(source(), tmp_path, mirror=server.url)
    assert not target_in(tmp_path).exists()
    found = download(source(), tmp_path, mirror=server.url, allow_unverified=True)
    assert (found.verified, found.path.read_bytes()) == (False, OTHER)
    assert not download(source(), tmp_path, offline=True, allow_unverified=True).verified
    with pytest.raises(FetchError, match="not the publisher's data"):
        download(source(), tmp_path, offline=True)


def test_a_mirror_goes_before_other_data_that_is_there(server, tmp_path):
    target_in(tmp_path).parent.mkdir()
    target_in(tmp_path).write_bytes(OTHER)
    assert download(source(), tmp_path, mirror=server.url, allow_unverified=True).verified


def test_a_bomb_is_not_unpacked_to_the_end(server, tmp_path, monkeypatch):
    monkeypatch.setattr(SourceFile, "largest", 3 << 20)
    server.files[PATH] = gzip.compress(bytes(20 << 20))
    with pytest.raises(FetchError, match="unpacks to more than 7,340,032 bytes"):
        download(source(), tmp_path, mirror=server.url, allow_unverified=True)


def test_even_then_not_from_a_publisher(server, tmp_path):
    server.files[PATH] = OTHER
    server.files["/second"] = BODY
    found = download(source(server.url + PATH, server.url + "/second"), tmp_path, allow_unverified=True)
    assert (found.verified, found.path.read_bytes()) == (True, BODY)


def test_even_then_no_web_page_and_no_half_file(server, tmp_path):
    for answer in (html, with_headers(body=OTHER[:-9]), cut_after(0)):
        server.plans[PATH] = [answer] * 9
        with pytest.raises(FetchError):
            download(source(), tmp_path, mirror=server.url, allow_unverified=True)


def test_a_folder_is_a_mirror_too_and_is_read_where_it_lies(tmp_path):
    place = tmp_path / "mirror" / "toy" / NAME
    place.parent.mkdir(parents=True)
    place.write_bytes(BODY)
    assert download(source(), tmp_path / "d", mirror=str(tmp_path / "mirror"), offline=True) == (place, True, "")
    assert not (tmp_path / "d").exists()
    place.unlink()
    with pytest.raises(FetchError, match="no such file"):
        download(source(), tmp_path / "d", mirror=str(tmp_path / "mirror"))


@pytest.mark.parametrize("mirror", ["no such folder", "ftp://example.invalid/x", "file:///x"])
def test_a_mirror_that_is_none(tmp_path, mirror):
    with pytest.raises(UserError, match="--mirror"):
        download(source(), tmp_path, mirror=mirror)


def test_offline_asks_nobody(server, tmp_path):
    with pytest.raises(FetchError, match="--offline"):
        download(source(server.url + PATH), tmp_path, offline=True)
    target_in(tmp_path).parent.mkdir()
    target_in(tmp_path).write_bytes(BODY)
    assert download(source(server.url + PATH), tmp_path, offline=True).verified
    assert server.requests == []


def test_a_damaged_file_is_replaced_by_a_good_one_and_by_nothing_else(server, tmp_path):
    target = target_in(tmp_path)
    target.parent.mkdir()
    target.write_bytes(BODY[:100])
    server.plans[PATH] = [html]
    with pytest.raises(FetchError):
        download(source(server.url + PATH), tmp_path)
    assert target.read_bytes() == BODY[:100]
    assert download(source(server.url + PATH), tmp_path).path.read_bytes() == BODY


def test_a_good_file_needs_no_permission_to_write(tmp_path, monkeypatch):
    target_in(tmp_path).parent.mkdir()
    target_in(tmp_path).write_bytes(BODY)
    monkeypatch.setattr(fetch, "locked", None)
    assert download(source(), tmp_path).verified


def test_the_reason_is_this_downloads_own_where_another_one_failed_before(tmp_path):
    try:
        raise FetchError("another file was not there")
    except FetchError:
        with pytest.raises(FetchError, match=r"no connection, or it broke \(\w") as caught:
            download(source("http://127.0.0.1:9/b"), tmp_path)
    assert "another file" not in str(caught.value)


def test_the_error_is_one_line_that_helps(server, tmp_path):
    with pytest.raises(FetchError) as caught:
        download(source(server.url + "/a", "http://127.0.0.1:9/b"), tmp_path)
    text = str(caught.value)
    assert "\n" not in text
    reasons = ("/a: HTTP 404", ":9/b: no connection")
    for part in (f"toy/{NAME}", server.url, *reasons, "--mirror", str(target_in(tmp_path))):
        assert part in text


def test_a_password_is_not_shown(server, tmp_path):
    mirror = server.url.replace("//", "//me:secret@") + "/none"
    with pytest.raises(FetchError) as caught:
        download(source(), tmp_path, mirror=mirror)
    assert "secret" not in str(caught.value)


def test_a_file_without_checksums_is_taken_but_not_called_verified(server, tmp_path):
    file = SourceFile("toy", NAME, (server.url + PATH,))
    assert download(file, tmp_path).verified is False


def test_a_full_disk_is_one_line_and_leaves_no_file(server, tmp_path):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    target_in(tmp_path).parent.mkdir()
    target_in(tmp_path).write_bytes(b"old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"cannot use .*--data-dir"):
            download(source(server.url + PATH), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert target_in(tmp_path).read_bytes() == b"old"
    assert download(source(server.url + PATH), tmp_path).path.read_bytes() == BODY


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "toy").write_text("in the way")
    with pytest.raises(UserError, match="cannot use"):
        download(source(server.url + PATH), tmp_path)


def test_two_at_once_fetch_it_once(server, tmp_path, capsys):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(download(source(server.url + PATH), tmp_path))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(server.requests) == 1
    assert target_in(tmp_path).read_bytes() == BODY


KILLED = """
import sys
from pathlib import Path
from core.data.fetch import download
from core.data.sources import SourceFile
download(SourceFile("toy", sys.argv[1], (sys.argv[2],), 1, "0"), Path(sys.argv[3]))
"""


def test_a_killed_download_leaves_no_file_and_is_continued(server, tmp_path):
    url = server.url + PATH
    server.plans[PATH] = [stall_after(6000)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([sys.executable, "-c", KILLED, NAME, url, str(tmp_path)], env=environment)
    part = target_in(tmp_path).with_name(NAME + ".part")
    deadline = time.monotonic() + 60
    while not (part.exists() and server.requests) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    threading.Event().wait(0.1)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not target_in(tmp_path).exists()
    assert download(source(url), tmp_path).path.read_bytes() == BODY


def test_where_downloads_go(tmp_path, monkeypatch):
    assert downloads_folder(tmp_path) == tmp_path / "archive" / "downloads"
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(tmp_path / "elsewhere"))
    assert downloads_folder(tmp_path) == tmp_path / "elsewhere"
    assert downloads_folder(tmp_path, tmp_path / "named") == tmp_path / "named"


def test_the_web_page_of_these_tests_is_one():
    assert HTML.lower().startswith(b"<!doctype html")
