"""Reading parts of a file on a web server, also one that breaks connections or knows no parts."""

from __future__ import annotations

import io
import os
import zipfile

import pytest
from faulty_server import cut_after, faulty_server, ignoring_ranges, status

from core.data import web_file
from core.data.transfer import TransferError
from core.data.web_file import WebFile

BODY = os.urandom(300_000)


@pytest.fixture
def server():
    with faulty_server() as server:
        server.files["/x.zip"] = BODY
        yield server


def test_it_reads_like_a_file(server):
    with WebFile(f"{server.url}/x.zip") as web:
        assert web.size == len(BODY)
        assert web.read(10) == BODY[:10]
        assert web.seek(-20, io.SEEK_END) == len(BODY) - 20
        assert web.read() == BODY[-20:]
        assert web.read(1) == b""
        web.seek(1000)
        web.seek(500, io.SEEK_CUR)
        assert web.tell() == 1500
        assert io.BufferedReader(web).read(100_000) == BODY[1500:101_500]
    assert web.closed


def test_reading_on_uses_one_connection(server):
    with WebFile(f"{server.url}/x.zip") as web:
        for start in range(0, 200_000, 10_000):
            web.seek(start)
            assert web.read(5000) == BODY[start : start + 5000]
    assert len(server.requests) == 1


def test_a_member_of_a_large_archive_costs_little_more_than_itself(server):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("large", bytes(BODY) * 10)
        archive.writestr("wanted", b"here")
        archive.writestr("large too", bytes(BODY) * 10)
    server.files["/x.zip"] = packed.getvalue()
    with WebFile(f"{server.url}/x.zip") as web, zipfile.ZipFile(io.BufferedReader(web)) as archive:
        assert archive.read("wanted") == b"here"
    assert 3 <= len(server.requests) <= 6, "the end, the directory, the member"


def test_a_broken_connection_is_taken_up_again(server):
    server.plans["/x.zip"] = [cut_after(0), cut_after(50_000), cut_after(0), cut_after(100_000)]
    server.plans["/x.zip"][0] = cut_from_the_start(1000)
    with WebFile(f"{server.url}/x.zip") as web:
        assert io.BufferedReader(web).read() == BODY
    assert len(server.requests) == 5


def cut_from_the_start(count):
    """A part that begins at 0 and breaks."""

    def behave(handler, body):
        whole = f"bytes 0-{len(body) - 1}/{len(body)}"
        handler.send_response(206)
        for name, value in {"Content-Length": len(body), "ETag": handler.server.etag, "Content-Range": whole}.items():
            handler.send_header(name, str(value))
        handler.end_headers()
        handler.wfile.write(body[:count])

    return behave


@pytest.mark.parametrize("behaviour", [ignoring_ranges, status(404), status(403)])
def test_a_server_without_parts_is_refused_at_once(server, behaviour):
    server.plans["/x.zip"] = [behaviour]
    with pytest.raises(TransferError, match="no parts"):
        WebFile(f"{server.url}/x.zip")


def test_a_file_that_changes_meanwhile_is_refused(server):
    with WebFile(f"{server.url}/x.zip") as web:
        web.read(10)
        server.etag = '"two"'
        web.seek(200_000)
        with pytest.raises(TransferError, match="changed"):
            web.read(10)


def test_a_server_that_keeps_breaking_is_given_up(server, monkeypatch):
    monkeypatch.setattr(web_file, "REOPENED", 3)
    web = WebFile(f"{server.url}/x.zip")
    server.plans["/x.zip"] = [cut_after(0)] * 10
    web.seek(200_000)
    with pytest.raises(TransferError, match="broke"):
        web.read(10)
    with pytest.raises(TransferError, match="no connection"):
        WebFile("http://127.0.0.1:9/x.zip")
