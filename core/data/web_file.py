"""A file on a web server, read in parts: what `zipfile` needs to fetch a few members of a large archive."""

from __future__ import annotations

import io
import re
from contextlib import closing
from typing import Any

import requests
import urllib3

from core.data.transfer import TransferError, explain, open_following

REOPENED = 20  # times that a broken connection is taken up again before giving up
SKIP = 1 << 16  # bytes that are read and thrown away rather than asked for anew


class WebFile(io.RawIOBase):
    """The file at `url`, seekable and read-only; reading on from where the last read ended uses one connection.

    Raw: a read may give less than was asked for, so that most readers need an io.BufferedReader around it.
    Every answer must be a part (HTTP 206) of a file of the same size and version as the first one. Raises TransferError
    where the server does not know ranges or cannot be reached, so that the caller can fetch the whole file instead.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self._version = ""
        self._size = 0
        self._place = self._arrived = 0  # where the reader is, and where the connection is
        self._response: requests.Response | None = None
        self._connect(0)

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self._size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence])
        return self._place

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self._size - self._place)
        if wanted <= 0:
            return 0
        for attempt in range(REOPENED + 1):
            try:
                piece = self._read_on(wanted)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                self._hang_up()
                if attempt == REOPENED:
                    raise TransferError(explain(error), again=False) from error
                continue
            if piece:
                break
            self._hang_up()  # the server closed the connection early
        else:
            raise TransferError(f"the connection broke {REOPENED} times", again=False)
        view[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)

    def close(self) -> None:
        self._hang_up()
        super().close()

    def _read_on(self, size: int) -> bytes:
        """Up to `size` bytes from the reader's place on."""
        ahead = self._place - self._arrived
        if self._response is None or not 0 <= ahead <= SKIP:
            self._connect(self._place)
            ahead = 0
        assert self._response is not None
        if ahead:
            self._arrived += len(self._response.raw.read(ahead))
            if self._arrived < self._place:
                return b""
        piece = bytes(self._response.raw.read(size))
        self._arrived += len(piece)
        return piece

    def _connect(self, start: int) -> None:
        """Ask for everything from `start` on."""
        self._hang_up()
        headers = {"Range": f"bytes={start}-", "Accept-Encoding": "identity", "User-Agent": "barenets"}
        try:
            response = open_following(self.url, headers)
        except requests.RequestException as error:
            raise TransferError(explain(error), again=False) from error
        found = re.fullmatch(rf"bytes {start}-\d+/(\d+)", response.headers.get("Content-Range", ""))
        version = response.headers.get("ETag") or response.headers.get("Last-Modified", "")
        if response.status_code != 206 or not found:
            with closing(response):
                raise TransferError(f"the server sends no parts (HTTP {response.status_code})", again=False)
        if self._size and (int(found[1]), version) != (self._size, self._version):
            with closing(response):
                raise TransferError("the file changed while it was read", again=False)
        self._size, self._version = int(found[1]), version
        self._response, self._arrived = response, start

    def _hang_up(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
