"""Is this file the publisher's data? Checked by its checksum, or by that of what it holds once uncompressed."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from core.data.sources import SourceFile

CHUNK = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"

# What servers, proxies and repositories send, with a cheerful 200, in place of a file.
_WEB_PAGE = (b"<!doctype html", b"<html", b"<head", b"<script", b"<?xml")
_LFS_POINTER = b"version https://git-lfs.github.com/spec"


class Verdict(NamedTuple):
    """`right`: the publisher's data. `other`: readable, but not that data. `damaged`: of no use to anyone."""

    kind: Literal["right", "other", "damaged"]
    reason: str = ""


def judge(path: Path, file: SourceFile) -> Verdict:
    """Compare the file at `path` with what the table of sources says of `file`. A file without checksums is `right`."""
    size = path.stat().st_size
    if size == 0:
        return Verdict("damaged", "the file is empty")
    with open(path, "rb") as handle:
        impostor = name_impostor(handle.read(512))
    if impostor:
        return Verdict("damaged", impostor)
    if not file.has_checksum:
        return Verdict("right")
    if size == file.size and _digest(path, "sha256" if file.sha256 else "md5") == (file.sha256 or file.md5):
        return Verdict("right")
    return _judge_content(path, file, size)


def _judge_content(path: Path, file: SourceFile, size: int) -> Verdict:
    digest = hashlib.sha256()
    length = 0
    try:
        for chunk in _content(path, text=file.name.endswith(".csv")):  # the path ends in .part as yet
            digest.update(chunk)
            length += len(chunk)
            if length > 2 * file.largest:  # a bomb, or something else altogether
                return Verdict("damaged", f"it unpacks to more than {length:,} bytes")
    except (OSError, EOFError, zlib.error):
        return Verdict("damaged", f"damaged or truncated gzip data ({size:,} bytes)")
    if file.content_sha256 and digest.hexdigest() == file.content_sha256:
        return Verdict("right")
    if file.content_size:
        size, expected = length, f"{file.content_size:,} of content"
    else:
        expected = f"{file.size:,}"
    return Verdict("other", f"not the publisher's data ({size:,} bytes, expected {expected})")


def name_impostor(head: bytes) -> str:
    """Say what the first bytes of a file betray: a web page, or a Git LFS pointer. Empty: nothing of the kind."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(_WEB_PAGE):
        return "a web page instead of the file (a log-in page, a proxy, or an address that has moved)"
    if start.startswith(_LFS_POINTER):
        return "a Git LFS pointer instead of the file"
    return ""


def sha256_of_content(path: Path) -> str:
    """The sha256 of the uncompressed content, which does not change when a file is compressed again."""
    digest = hashlib.sha256()
    for chunk in _content(path, text=path.suffix == ".csv"):
        digest.update(chunk)
    return digest.hexdigest()


def _content(path: Path, text: bool) -> Iterator[bytes]:
    """The uncompressed bytes; text without carriage returns, which tools add and remove as they please."""
    with open(path, "rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        with gzip.open(raw) if packed else raw as content:
            while chunk := content.read(CHUNK):
                yield chunk.replace(b"\r", b"") if text else chunk


def _digest(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as handle:
        while chunk := handle.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
