"""Downloads against a server that misbehaves: the file is right and whole, or there is one line that says why not."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from faulty_server import (
    HTML,
    FaultyServer,
    chunked,
    cut_after,
    faulty_server,
    html,
    ignoring_ranges,
    stall_after,
    status,
    trickle,
    with_headers,
)

from core.data import fetch, transfer
from core.data.fetch import FetchError, download, downloads_folder
from core.data.sources import SourceFile
from core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CONTENT = bytes(range(256)) * 40
BODY = gzip.compress(CONTENT, compresslevel=0, mtime=0)  # level 0: long enough to be cut in the middle
OTHER = gzip.compress(CONTENT[::-1], mtime=0)
NAME = "toy-ubyte.gz"
PATH = f"/toy/{NAME}"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with faulty_server() as running:
        running.files[PATH] = BODY
        yield running


@pytest.fixture(autouse=True)
def pauses(monkeypatch) -> list[float]:
    """No test waits; the pauses that a user would have had are in the list. No mirror comes from outside."""
    taken: list[float] = []
    monkeypatch.setattr(fetch.time, "sleep", taken.append)
    monkeypatch.delenv(fetch.MIRROR_VARIABLE, raising=False)
    monkeypatch.delenv(fetch.DATA_VARIABLE, raising=False)
    return taken


def source(*urls: str) -> SourceFile:
    return SourceFile("toy", NAME, urls, len(BODY), sha256(BODY), "", len(CONTENT), sha256(CONTENT))


def target_in(folder: Path) -> Path:
    return folder / "toy" / NAME


def leave_part(folder: Path, url: str, data: bytes, version: str = '"one"') -> Path:
    """What an interrupted download leaves behind."""
    part = folder / "toy" / f"{NAME}.part"
    part.parent.mkdir(exist_ok=True)
    part.write_bytes(data)
    part.with_name(part.name + ".json").write_text(json.dumps({"url": url, "version": version}))
    return part


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "toy").iterdir() if not path.name.startswith("."))


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


@pytest.mark.parametrize("code", [408, 429, 500, 503])
def test_passing_trouble_is_tried_again_after_a_pause(server, tmp_path, pauses, code):
    server.plans[PATH] = [status(code)]
    assert download(source(server.url + PATH), tmp_path).path.read_bytes() == BODY
    assert pauses == [0.0, fetch.BACKOFF]


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
def test_lasting_trouble_is_not_tried_again(server, tmp_path, code):
    server.plans[PATH] = [status(code)] * 9
    with pytest.raises(FetchError, match=f"HTTP {code}"):
        download(source(server.url + PATH), tmp_path)
    assert len(server.requests) == 1


def test_patience_has_an_end(server, tmp_path, pauses):
    server.plans[PATH] = [status(500)] * 99
    with pytest.raises(FetchError, match="HTTP 500"):
        download(source(server.url + PATH), tmp_path)
    assert len(server.requests) == fetch.ROUNDS
    assert pauses == [0.0, fetch.BACKOFF, 2 * fetch.BACKOFF]


@pytest.mark.parametrize(("asked", "pause"), [("7", 7.0), ("86400", transfer.LONGEST_WAIT), ("Sat, 21 Nov", 1.0)])
def test_a_server_may_ask_for_some_patience_but_not_for_any(server, tmp_path, pauses, asked, pause):
    server.plans[PATH] = [status(503, Retry_After=asked)]
    download(source(server.url + PATH), tmp_path)
    assert pauses == [0.0, pause]


def test_a_broken_transfer_is_continued_where_it_broke(server, tmp_path, pauses):
    server.plans[PATH] = [cut_after(4000), cut_after(3000)]
    assert download(source(server.url + PATH), tmp_path).path.read_bytes() == BODY
    assert [asked for _, *asked in server.requests] == [["", ""], ["bytes=4000-", '"one"'], ["bytes=7000-", '"one"']]
    assert pauses == [0.0], "what makes progress goes on at once"


def test_a_later_call_continues_what_an_earlier_one_left(server, tmp_path):
    url = server.url + PATH
    leave_part(tmp_path, url, BODY[:5000])
    download(source(url), tmp_path)
    assert server.requests == [(PATH, "bytes=5000-", '"one"')]
    assert target_in(tmp_path).read_bytes() == BODY
    assert visible(tmp_path) == [NAME]


def test_a_part_that_lacked_only_its_name_gets_it(server, tmp_path):
    url = server.url + PATH
    leave_part(tmp_path, url, BODY)
    assert download(source(url), tmp_path).path.read_bytes() == BODY
    assert server.requests == [(PATH, f"bytes={len(BODY)}-", '"one"')]


@pytest.mark.parametrize(
    ("part", "first_answer"),
    [
        (BODY[:5000], ignoring_ranges),
        (BODY[:5000], with_headers(206, BODY[5000:], ETag='"two"', Content_Range=f"bytes 5000-{len(BODY) - 1}/9")),
        (BODY[:5000], with_headers(206, BODY[:100], ETag='"one"', Content_Range=f"bytes 0-99/{len(BODY)}")),
        (BODY[:5000], with_headers(206, BODY[5000:], ETag='"one"')),
        (BODY + b"more", with_headers(416, b"", Content_Range=f"bytes */{len(BODY)}")),
        (b"\0" * 5000, None),  # bytes that a power cut lost, under the right version
    ],
    ids=["ranges ignored", "other version", "other range", "no range named", "too long", "damaged part"],
)
def test_a_part_that_does_not_fit_is_replaced(server, tmp_path, pauses, part, first_answer):
    url = server.url + PATH
    leave_part(tmp_path, url, part)
    if first_answer:
        server.plans[PATH] = [first_answer]
    assert download(source(url), tmp_path).path.read_bytes() == BODY
    assert len(server.requests) == (1 if first_answer is ignoring_ranges else 2)
    assert pauses == ([0.0] if first_answer else [0.0, fetch.BACKOFF]), "only wrong bytes look like trouble"


def test_a_file_that_changed_between_two_parts_is_fetched_anew(server, tmp_path):
    url = server.url + PATH
    leave_part(tmp_path, url, OTHER[:30], version='"zero"')
    assert download(source(url), tmp_path).path.read_bytes() == BODY
    assert server.requests == [(PATH, "bytes=30-", '"zero"')]


@pytest.mark.parametrize("note", ["", "[]", "{", '{"url": 1}', '{"url": "elsewhere", "version": "one"}'])
def test_a_part_of_unknown_origin_is_not_continued(server, tmp_path, note):
    url = server.url + PATH
    part = leave_part(tmp_path, url, BODY[:5000])
    part.with_name(part.name + ".json").write_text(note)
    assert download(source(url), tmp_path).path.read_bytes() == BODY
    assert server.requests == [(PATH, "", "")]


def test_a_body_without_an_announced_length_is_fine(server, tmp_path):
    server.plans[PATH] = [chunked]
    assert download(source(server.url + PATH), tmp_path).path.read_bytes() == BODY


def test_a_gzip_file_declared_as_an_encoding_is_not_unpacked(server, tmp_path):
    server.plans[PATH] = [with_headers(Content_Encoding="gzip")]
    assert download(source(server.url + PATH), tmp_path).path.read_bytes() == BODY
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (html, "web page"),
        (with_headers(body=b"\xef\xbb\xbf\n  <HTML>moved"), "web page"),
        (with_headers(body=b"version https://git-lfs.github.com/spec/v1\noid"), "LFS pointer"),
        (with_headers(body=OTHER), "not the publisher's data"),
        (with_headers(body=b"plain text"), "not the publisher's data"),
        (with_headers(body=BODY[:-50]), "damaged or truncated gzip"),
        (with_headers(body=b""), "empty"),
        (with_headers(body=b"x", Content_Length=1 << 40), "far more than the file has"),
    ],
)
def test_what_is_not_the_file_never_takes_its_name(server, tmp_path, answer, reason):
    server.plans[PATH] = [answer] * 9
    with pytest.raises(FetchError, match=reason):
        download(source(server.url + PATH), tmp_path)
    assert len(server.requests) == 1
    assert not target_in(tmp_path).exists()


def test_a_body_without_end_is_cut_off(server, tmp_path):
    server.files[PATH] = b"x" * 100_000
    server.plans[PATH] = [chunked]
    with pytest.raises(transfer.TransferError, match="more than 5,000 bytes"):
        transfer.transfer(server.url + PATH, tmp_path / "x.part", 5000, "x")
    assert (tmp_path / "x.part").stat().st_size <= 5000


def test_a_stalled_transfer_is_given_up_and_continued(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT", (5, 0.2))
    server.plans[PATH] = [stall_after(4000)]
    assert download(source(server.url + PATH), tmp_path).path.read_bytes() == BODY
    assert server.requests[1] == (PATH, "bytes=4000-", '"one"')


def test_a_server_that_stalls_for_ever_is_named(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT", (5, 0.1))
    server.plans[PATH] = [stall_after(0)] * 9
    with pytest.raises(FetchError, match=r"stalled: nothing came for 0\.1 s"):
        download(source(server.url + PATH), tmp_path)


def test_a_trickle_counts_as_stalled(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "PATIENCE", 0.1)
    server.files[PATH] = BODY[:50]
    server.plans[PATH] = [trickle]
    with pytest.raises(transfer.TransferError, match="bytes per second"):
        transfer.transfer(server.url + PATH, tmp_path / "x.part", 10**6, "x")


def test_a_redirect_is_followed(server, tmp_path):
    server.files["/old"] = b"x"
    server.plans["/old"] = [with_headers(302, b"", Location=PATH)]
    assert download(source(server.url + "/old"), tmp_path).path.read_bytes() == BODY


@pytest.mark.parametrize(
    ("location", "reason"), [("/old", "redirects"), ("file:///etc/hosts", "file:"), ("http://[oops", "no sense")]
)
def test_a_redirect_that_leads_nowhere_is_refused(server, tmp_path, location, reason):
    server.files["/old"] = b"x"
    server.plans["/old"] = [with_headers(302, b"", Location=location)] * 99
    with pytest.raises(FetchError, match=reason):
        download(source(server.url + "/old"), tmp_path)
    assert len(server.requests) <= transfer.MAX_REDIRECTS


def test_a_redirect_never_leaves_encryption(server, tmp_path, monkeypatch):
    def answer(url: str, **_: object) -> requests.Response:
        assert url.startswith("https:"), "the open connection must not even be tried"
        response = requests.Response()
        response.status_code, response.raw = 302, io.BytesIO()
        response.headers["Location"] = server.url + PATH
        return response

    monkeypatch.setattr(requests, "get", answer)
    with pytest.raises(FetchError, match="from https to http"):
        download(source("https://example.invalid" + PATH), tmp_path)


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
