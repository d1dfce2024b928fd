"""A web server on this machine that does, request by request, the wrong things that servers do."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Behaviour = Callable[["Handler", bytes], None]
HTML = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>"


class Handler(BaseHTTPRequestHandler):
    server: FaultyServer

    def do_GET(self) -> None:
        headers = {name: self.headers.get(name, "") for name in ("Range", "If-Range")}
        self.server.requests.append((self.path, headers["Range"], headers["If-Range"]))
        plan = self.server.plans.get(self.path)
        behaviour = plan.pop(0) if plan else good
        body = self.server.files.get(self.path)
        if body is None:
            behaviour = status(404)
        with suppress(BrokenPipeError, ConnectionResetError):  # the client may have seen enough
            behaviour(self, body or b"")
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, code: int, body: bytes, **headers: object) -> None:
        self.send_response(code)
        for name, value in {"Content_Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)


class FaultyServer(ThreadingHTTPServer):
    """`files`: path -> body. `plans`: path -> what to do at each request in turn; then, and else, it behaves well."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.plans: dict[str, list[Behaviour]] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.etag = '"one"'
        self.release = threading.Event()  # set: those that stall go on

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def faulty_server() -> Iterator[FaultyServer]:
    with FaultyServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.release.set()
        server.shutdown()
        thread.join()


def good(handler: Handler, body: bytes) -> None:
    """As RFC 9110 has it: the rest where Range asks for it and If-Range still names this version, else the whole."""
    etag = handler.server.etag
    match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    if not match or handler.headers.get("If-Range", etag) != etag:
        handler.reply(200, body, ETag=etag)
    elif int(match[1]) >= len(body):
        handler.reply(416, b"", Content_Range=f"bytes */{len(body)}")
    else:
        start = int(match[1])
        handler.reply(206, body[start:], ETag=etag, Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}")


def status(code: int, **headers: object) -> Behaviour:
    return lambda handler, body: handler.reply(code, HTML, **headers)


def saying(reason: str) -> Behaviour:
    """An answer 404 with words of the server's own."""

    def behave(handler: Handler, body: bytes) -> None:
        handler.send_response(404, reason)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return behave


def html(handler: Handler, body: bytes) -> None:
    handler.reply(200, HTML, Content_Type="text/html")


def cut_after(count: int) -> Behaviour:
    """Promise the whole body (from where it was asked for), send `count` bytes and hang up."""

    def behave(handler: Handler, body: bytes) -> None:
        match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = int(match[1]) if match else 0
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body) - start))
        handler.send_header("ETag", handler.server.etag)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        handler.end_headers()
        handler.wfile.write(body[start : start + count])

    return behave


def stall_after(count: int) -> Behaviour:
    """Send `count` bytes and then nothing, without hanging up, until the server is told to go on."""

    def behave(handler: Handler, body: bytes) -> None:
        cut_after(count)(handler, body)
        handler.wfile.flush()
        handler.server.release.wait(30)

    return behave


def trickle(handler: Handler, body: bytes) -> None:
    """A byte now and then: never silent for long, never done."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    for index in range(len(body)):
        handler.wfile.write(body[index : index + 1])
        if handler.server.release.wait(0.02):
            break


def chunked(handler: Handler, body: bytes) -> None:
    """A body without an announced length."""
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for start in range(0, len(body), 1000):
        piece = body[start : start + 1000]
        handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")


def ignoring_ranges(handler: Handler, body: bytes) -> None:
    handler.reply(200, body)


def with_headers(code: int = 200, body: bytes | None = None, **headers: object) -> Behaviour:
    return lambda handler, whole: handler.reply(code, whole if body is None else body, **headers)
