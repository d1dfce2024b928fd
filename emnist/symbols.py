"""The handwritten symbols of BHMSDS: read from its archive, and placed like EMNIST's characters.

Their size stays: in BHMSDS a symbol fills the picture, in EMNIST a character leaves two pixels free on each side.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.backend import Array
from core.data.archives import Member, archive_files
from core.data.fetch import FetchError, downloads_folder
from core.data.ink import centred, read_grey_png
from core.data.setup import SetupSettings, fetch_file
from core.data.sources import BHMSDS
from core.data.splits import split_indices
from core.errors import UserError

ZIP = BHMSDS.files["archive"]
TAR = replace(ZIP, name="bhmsds-master.tar.gz", urls=tuple(url.replace("/zip/", "/tar.gz/") for url in ZIP.urls))
# What Git calls the folder symbols/ of the pinned commit: the checksum of all its 27,000 files and their names.
TREE = "2599a3518c9456f569d38daecc72eff98cec0cde"
FILE = re.compile(r"(?:.*/)?symbols/(([a-z0-9]+)-\d+\.png)")
LARGEST = 1 << 16  # bytes of a picture
TEST_SHARE, SEED = 0.1, 0


@dataclass(frozen=True)
class Symbols:
    """Pictures uint8 (N, 28, 28), the index of each one's symbol (N,), the tree's checksum, and what must be said."""

    images: Array
    labels: Array
    tree: str
    notice: str


def get_symbols(chosen: Sequence[str], settings: SetupSettings, project: Path) -> Symbols:
    """The chosen symbols, white on black, in the middle of the picture; each different picture once.

    Raises UserError when they cannot be had, or are not the pinned ones and --allow-unverified is missing.
    """
    path = fetch_archive(settings, downloads_folder(project, settings.data_dir))
    members = sorted(archive_files(path, lambda name: bool(FILE.fullmatch(name)), LARGEST))
    tree = git_tree(members)
    if tree != TREE and not settings.allow_unverified:
        raise UserError(
            f"{path}: {len(members):,} pictures that are not those of BHMSDS; "
            "--allow-unverified takes them, marked as such"
        )
    notice = "" if tree == TREE else f"a PARTIAL copy of BHMSDS ({len(members):,} of 27,000 pictures)"
    return Symbols(*read_pictures(members, chosen, path), tree, notice)


def fetch_archive(settings: SetupSettings, downloads: Path) -> Path:
    """The archive as zip or, where there is none, as tar.gz."""
    complaints = []
    for file in (ZIP, TAR):
        try:
            return fetch_file(file, downloads, settings).path
        except FetchError as error:
            complaints.append(str(error))
    raise FetchError(complaints[0])


def git_tree(members: Sequence[Member]) -> str:
    """The SHA-1 by which Git knows a folder of these files; see gitformat-pack and `git hash-object`."""
    entries = []
    for member in members:
        name = member.path.rsplit("/", 1)[-1].encode()
        blob = _sha1(b"blob %d\0" % len(member.data) + member.data)
        entries.append((name, b"%s %s\0" % (b"100755" if member.executable else b"100644", name) + blob.digest()))
    body = b"".join(entry for _, entry in sorted(entries))
    return _sha1(b"tree %d\0" % len(body) + body).hexdigest()


def _sha1(data: bytes) -> hashlib._Hash:
    return hashlib.sha1(data, usedforsecurity=False)


def read_pictures(members: Sequence[Member], chosen: Sequence[str], path: Path) -> tuple[Array, Array]:
    """The pictures of the chosen symbols, in the order of `chosen`, and their labels."""
    images, labels = [], []
    for label, symbol in enumerate(chosen):
        mine = [member for member in members if _symbol_of(member) == symbol]
        different = {member.data: member for member in reversed(mine)}  # a copy in training and test would be a leak
        if not different:
            raise UserError(f"{path}: holds no picture of {symbol}")
        for member in sorted(different.values()):
            grey = read_grey_png(member.data, f"{path}: {member.path}", (28, 28))
            images.append(centred(np.uint8(255) - grey))
            labels.append(label)
    return np.stack(images), np.array(labels, np.int64)


def _symbol_of(member: Member) -> str:
    found = FILE.fullmatch(member.path)
    return found[2] if found else ""


def part_symbols(labels: Array) -> dict[str, Array]:
    """The indices to train on and to test with: of each symbol every tenth at random, always the same ones."""
    train, test = split_indices(labels, TEST_SHARE, SEED)
    return {"train": train, "test": test}
