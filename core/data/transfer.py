"""One HTTP transfer into a `.part` file that a later attempt continues, and never into anything else.

Beside `x.part` lies `x.part.json` with the address and the version (ETag or Last-Modified) of what is being fetched.
A later attempt asks for the rest of that very version (Range with If-Range); a server that has another one by then,
or knows no ranges, sends the whole file, which replaces the part.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from tqdm import tqdm

from core.data.verify import name_impostor
from core.errors import UserError
from core.files import flush_to_disk

TIMEOUT = (10.0, 30.0)  # seconds to connect, and between two pieces of the body
SLOWEST = 1024  # bytes per second, over PATIENCE seconds, below which a server counts as stalled
PATIENCE = 60.0
LONGEST_WAIT = 30.0  # seconds that a server may ask us to wait before the next attempt
MAX_REDIRECTS = 5
TEMPORARY = {408, 425, 429, 500, 502, 503, 504}
PIECE = 1 << 16


class TransferError(Exception):
    """Why an attempt brought no file; `again` tells whether the same address is worth another one, after `wait` s."""

    def __init__(self, reason: str, again: bool, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.again = again
        self.wait = wait


def transfer(url: str, part: Path, largest: int, label: str) -> bool:
    """Bring `part` to the whole file at `url`; True if it was continued from an earlier attempt.

    Raises TransferError for whatever the network or the server did, and OSError for what the disk did.
    """
    version = _version_of(part, url)
    have = part.stat().st_size if version else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "barenets"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    try:
        with closing(open_following(url, headers)) as response:
            start = _start(response, have, version)
            if start is None:  # the part does not fit what the server has now
                discard(part)
                return transfer(url, part, largest, label)
            if response.status_code != 416:
                _receive(response, url, part, start, largest, label)
            return start > 0
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise TransferError(explain(error), again=not isinstance(error, ValueError)) from error


def discard(part: Path) -> None:
    """Forget a partial download."""
    _sidecar(part).unlink(missing_ok=True)
    part.unlink(missing_ok=True)


def _sidecar(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _version_of(part: Path, url: str) -> str:
    """The validator under which `part` was begun from `url`; empty where there is nothing to continue."""
    try:
        note = json.loads(_sidecar(part).read_text(encoding="utf-8"))
        usable = part.is_file() and note["url"] == url and isinstance(note["version"], str)
    except (OSError, ValueError, TypeError, KeyError):
        return ""
    return note["version"] if usable else ""


def open_following(url: str, headers: dict[str, str]) -> requests.Response:
    """Follow redirects by hand, because none may lead from an encrypted connection to an open one."""
    for _ in range(MAX_REDIRECTS):
        try:
            response = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT, allow_redirects=False)
            if not response.is_redirect:
                return response
            response.close()
            target = urljoin(url, response.headers["Location"])
            schemes = urlsplit(url).scheme, urlsplit(target).scheme
        except requests.RequestException:
            raise
        except ValueError:
            raise TransferError("leads to an address that makes no sense", again=False) from None
        if schemes[1] not in ("http", "https"):
            raise TransferError(f"redirects to {schemes[1]}:, which is not the web", again=False)
        if schemes == ("https", "http"):
            raise TransferError("redirects from https to http, which is refused", again=False)
        url = target
    raise TransferError(f"more than {MAX_REDIRECTS} redirects", again=False)


def _start(response: requests.Response, have: int, version: str) -> int | None:
    """The offset at which the body begins: 0 for the whole file; None if the partial file must be given up."""
    status = response.status_code
    content_range = response.headers.get("Content-Range", "")
    if status == 200:
        return 0
    if status == 206 and have:
        same = _version(response) in ("", version)
        return have if same and re.match(rf"bytes {have}-\d+/", content_range) else None
    if status == 416 and have:
        return have if content_range == f"bytes */{have}" else None
    asked = response.headers.get("Retry-After", "")
    wait = min(float(asked), LONGEST_WAIT) if asked.isascii() and asked.isdigit() else 0.0
    words = _printable(response.reason or "")
    raise TransferError(f"HTTP {status} {words}".strip(), again=status in TEMPORARY, wait=wait)


def _version(response: requests.Response) -> str:
    """What identifies the file's bytes for If-Range; a weak ETag does not (RFC 9110, section 13.1.5)."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _receive(response: requests.Response, url: str, part: Path, start: int, largest: int, label: str) -> None:
    length = response.headers.get("Content-Length", "")
    total = start + int(length) if length.isascii() and length.isdigit() else None
    if total is not None and total > largest:
        raise TransferError(f"{total:,} bytes, far more than the file has", again=False)
    if start == 0:
        discard(part)
        _sidecar(part).write_text(json.dumps({"url": url, "version": _version(response)}), encoding="utf-8")
    with open(part, "ab") as out, _progress_bar(label, start, total) as bar:
        for piece in _pieces(response):
            if out.tell() == 0 and (impostor := name_impostor(piece)):
                raise TransferError(impostor, again=False)
            if out.tell() + len(piece) > largest:
                raise TransferError(f"more than {largest:,} bytes, which the file cannot have", again=False)
            out.write(piece)
            bar.update(len(piece))
        flush_to_disk(out)
        if total is not None and out.tell() != total:
            raise TransferError(f"the connection ended after {out.tell():,} of {total:,} bytes", again=True)


def _progress_bar(label: str, start: int, total: int | None) -> Any:
    """A bar on a terminal, and nothing elsewhere."""
    quiet = not sys.stderr.isatty()
    return tqdm(desc=label, initial=start, total=total, unit="B", unit_scale=True, leave=False, disable=quiet)


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """The body as sent (never unpacked on the way), as it arrives, so that a trickle is noticed."""
    since, received = time.monotonic(), 0
    while piece := response.raw.read1(PIECE, decode_content=False):
        yield piece
        received += len(piece)
        elapsed = time.monotonic() - since
        if elapsed > PATIENCE:
            if received < SLOWEST * elapsed:
                raise TransferError(f"stalled: {received / elapsed:.0f} bytes per second", again=True)
            since, received = time.monotonic(), 0


def explain(error: Exception) -> str:
    """A few words in place of the nested messages of three libraries."""
    if isinstance(error, requests.ConnectTimeout):
        return f"no answer within {TIMEOUT[0]:g} s"
    if isinstance(error, (requests.Timeout, urllib3.exceptions.ReadTimeoutError)):
        return f"stalled: nothing came for {TIMEOUT[1]:g} s"
    if isinstance(error, requests.exceptions.SSLError):
        return "no trustworthy encrypted connection (certificate)"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy gave no connection"
    if isinstance(error, (requests.ConnectionError, urllib3.exceptions.ProtocolError)):
        return f"no connection, or it broke ({_innermost(error)})"
    return f"{type(error).__name__}: {_printable(str(error))}"


def _innermost(error: BaseException) -> str:
    """The words of the error that began it all, which is not one that was being handled when the transfer began."""
    while isinstance(inner := error.__cause__ or error.__context__, BaseException) and not isinstance(inner, UserError):
        error = inner
    reason: Any = getattr(error, "strerror", None) or error
    return _printable(str(reason))


def _printable(words: str) -> str:
    """At most 100 characters, and none that moves a terminal's cursor: the other side may have chosen them."""
    return "".join(letter if letter.isprintable() else "?" for letter in words[:100])
