"""The 345 words of Quick, Draw!, and the drawings of a word: from a folder, or over the network as far as wanted."""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import quote

from core.data.fetch import FetchError, download, named_mirror
from core.data.sources import QUICKDRAW, SourceFile
from core.data.transfer import TransferError
from core.data.web_file import WebFile
from core.errors import UserError

ANIMALS = QUICKDRAW.classes
TABLE = Path(__file__).with_name("words.txt")  # word, bytes and md5 of its file of simplified drawings
PUBLISHER = "https://storage.googleapis.com/quickdraw_dataset/full/simplified/"
BUFFER = 1 << 16


class WordFile(NamedTuple):
    """A word's drawings as lines, and whether they are proven to be the publisher's."""

    lines: BinaryIO
    verified: bool


@cache
def sources() -> dict[str, SourceFile]:
    """Where the drawings of each word come from."""
    found = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        word, size, md5 = line.split("\t")
        urls = (f"{PUBLISHER}{quote(word)}.ndjson",)
        found[word] = SourceFile(QUICKDRAW.name, f"{word}.ndjson", urls, int(size), md5=md5)
    return found


def check_words(words: Sequence[str]) -> None:
    """UserError unless these are two or more different words of Quick, Draw!"""
    for word in words:
        if word not in sources():
            near = " or ".join(difflib.get_close_matches(word, sources()))
            hint = f"did you mean {near}?" if near else f"all words: {TABLE.parent.name}/{TABLE.name}"
            raise UserError(f"--words: nobody was asked to draw {word!r}; {hint}")
    if len(words) < 2 or len(set(words)) < len(words):
        raise UserError("--words takes at least two different words")


@contextmanager
def open_word(
    word: str, downloads: Path, mirror: str | None = None, offline: bool = False, allow_unverified: bool = False
) -> Iterator[WordFile]:
    """Open the file of `word`; from the web only as much is fetched as is read, if the server can send parts.

    downloads, mirror, offline, allow_unverified: as for `core.data.fetch.download`. A part cannot be compared with the
    publisher's checksum, but the file must have the publisher's size. Raises FetchError where no source gives it.
    """
    file, mirror = sources()[word], named_mirror(mirror)
    at_web = not offline and (mirror is None or "://" in mirror)
    web = None
    if at_web and not (downloads / file.dataset / file.name).exists():
        web = _in_parts(f"{mirror.rstrip('/')}/{file.dataset}/{quote(file.name)}" if mirror else file.urls[0])
    if web is None:
        fetched = download(file, downloads, mirror, offline, allow_unverified)
        with open(fetched.path, "rb") as lines:
            yield WordFile(lines, fetched.verified)
        return
    with closing(web):
        verified = web.size == file.size
        if not (verified or allow_unverified):
            raise FetchError(
                f"{web.url} has {web.size:,} bytes, the publisher's file {file.size:,}; "
                "--allow-unverified takes other data, marked as such"
            )
        try:
            yield WordFile(io.BufferedReader(web, BUFFER), verified)
        except TransferError as failure:
            raise FetchError(f"{web.url}: {failure}; run the same command again") from failure


def _in_parts(address: str) -> WebFile | None:
    """The file at `address`; None where it cannot be had in parts: a download of the whole may mend or explain that."""
    try:
        return WebFile(address)
    except TransferError:
        return None
