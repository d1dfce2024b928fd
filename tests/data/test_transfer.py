"""Downloads from a server that misbehaves: what broke is tried again or continued, and what lasts is given up."""

from __future__ import annotations

import io

import pytest
import requests
from faulty_server import chunked, cut_after, html, ignoring_ranges, saying, stall_after, status, trickle, with_headers
from toy_file import BODY, NAME, OTHER, PATH, leave_part, source, target_in, visible

from core.data import fetch, transfer
from core.data.fetch import FetchError, download

pytestmark = pytest.mark.usefixtures("pauses")


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


def test_what_a_server_says_cannot_move_the_cursor(server, tmp_path):
    server.plans[PATH] = [saying("\x1b]0;owned\x07\x1b[2J" + "gone " * 100)]
    with pytest.raises(FetchError, match=r"HTTP 404 \?\]0;owned\?\?\[2Jgone") as caught:
        download(source(server.url + PATH), tmp_path)
    assert str(caught.value).count("gone") < 20


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
