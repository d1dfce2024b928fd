"""The characters of EMNIST: only those members of its archive that a split needs, with the pictures upright."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.data.archives import read_zip_member, understood
from core.data.fetch import downloads_folder, named_mirror
from core.data.image_files import PARTS
from core.data.prepared import Arrays
from core.data.readers import check_labels, read_idx
from core.data.setup import SetupSettings, fetch_file, megabytes
from core.data.sources import EMNIST
from core.data.transfer import TransferError
from core.data.web_file import WebFile
from core.errors import UserError
from core.files import replacing
from emnist.classes import OFFICIAL

ARCHIVE = EMNIST.files["archive"]
LARGEST = 1 << 29  # bytes of a member: the largest, the training images of byclass, has about 170 MB
BUFFER = 1 << 18


@dataclass(frozen=True)
class Characters:
    """The arrays of a split, its class names, the checksums of the files, and what must be said of them."""

    arrays: Arrays
    classes: tuple[str, ...]
    files: dict[str, str]
    notice: str


def get_characters(split: str, settings: SetupSettings, project: Path) -> Characters:
    """train_images (N, 28, 28), train_labels (N,), test_images and test_labels of a split, uint8, labels from 0.

    Raises UserError when they cannot be had, or are not proven to be the publisher's and --allow-unverified is missing.
    """
    members, verified = fetch_members(split, settings, downloads_folder(project, settings.data_dir))
    mapping, *data = member_names(split)
    first, classes = parse_mapping(members[mapping], mapping)
    arrays = read_arrays(members, data, first, classes)
    counts = tuple(len(arrays[f"{part}_labels"]) for part in PARTS)
    notice = "" if verified else f"not proven to be the publisher's EMNIST {split}"
    if counts != OFFICIAL[split]:
        have, all_ = (f"{train:,} + {test:,}" for train, test in (counts, OFFICIAL[split]))
        notice = f"a PARTIAL copy of EMNIST {split} ({have} of {all_} images)"
    files = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    return Characters(arrays, classes, files, notice)


def member_names(split: str) -> list[str]:
    """The mapping of a split, then its training images and labels, and its test images and labels."""
    kinds = [f"{part}-{kind}-ubyte.gz" for part in PARTS for kind in ("images-idx3", "labels-idx1")]
    return [f"gzip/emnist-{split}-{kind}" for kind in ("mapping.txt", *kinds)]


def fetch_members(split: str, settings: SetupSettings, downloads: Path) -> tuple[dict[str, bytes], bool]:
    """The members of a split by name, and whether they are proven to come from the publisher's archive.

    From the publisher only these members are fetched, if its server sends parts of files; they are kept in the folder
    of downloads. Proven means: the archive has the publisher's size and, unless read in parts, SHA-256.
    """
    kept = {name: downloads / "emnist" / name for name in member_names(split)}
    whole = downloads / "emnist" / ARCHIVE.name
    if not named_mirror(settings.mirror) and not whole.exists():
        if not settings.offline and not all(path.exists() for path in kept.values()):
            try_members(split, kept)
        if all(path.exists() for path in kept.values()):
            return {name: path.read_bytes() for name, path in kept.items()}, True
    found = fetch_file(ARCHIVE, downloads, settings)
    with opened(found.path) as archive:
        return read_members(archive, split), found.verified


def try_members(split: str, kept: dict[str, Path]) -> None:
    """Fetch the members of a split from the publisher by parts, or say in a line why that is not possible."""
    try:
        with WebFile(ARCHIVE.urls[0]) as web:
            if web.size != ARCHIVE.size:
                raise TransferError(f"the archive has {web.size:,} bytes, expected {ARCHIVE.size:,}", again=False)
            with opened(web) as archive:
                members = read_members(archive, split)
    except (TransferError, UserError) as error:
        print(f"cannot fetch the split by itself ({error}): trying the whole archive ({megabytes(ARCHIVE.size)})")
        return
    for name, content in members.items():
        kept[name].parent.mkdir(parents=True, exist_ok=True)
        with replacing(kept[name]) as file:
            file.write(content)
    print(f"downloaded the split {split} ({megabytes(sum(map(len, members.values())))} of {megabytes(ARCHIVE.size)})")


@contextmanager
def opened(source: Path | WebFile) -> Iterator[zipfile.ZipFile]:
    """The archive at a path or on the web; UserError for one that is damaged."""
    name = source.url if isinstance(source, WebFile) else str(source)
    with (
        understood(name),
        io.BufferedReader(source, BUFFER) if isinstance(source, WebFile) else open(source, "rb") as stream,
        zipfile.ZipFile(stream) as archive,
    ):
        yield archive


def read_members(archive: zipfile.ZipFile, split: str) -> dict[str, bytes]:
    """The members of a split by name; UserError, which tells the splits that there are, if one is missing."""
    try:
        return {name: read_zip_member(archive, archive.getinfo(name), LARGEST) for name in member_names(split)}
    except KeyError:
        names = archive.namelist()
        held = [other for other in OFFICIAL if all(name in names for name in member_names(other))]
        raise UserError(
            f"this archive has no whole split {split!r}; it has: {', '.join(held) or 'none'} (see --split)"
        ) from None


def parse_mapping(content: bytes, name: str) -> tuple[int, tuple[str, ...]]:
    """The first label, and the character of each, from lines such as "36 97" or, both cases, "1 65 97"."""
    try:
        lines = [[int(number) for number in line.split()] for line in content.decode("ascii").splitlines() if line]
        labels, classes = [line[0] for line in lines], tuple(chr(line[1]) for line in lines)
    except (ValueError, IndexError, OverflowError):
        raise UserError(f"{name}: not a mapping from labels to characters") from None
    contiguous = labels and labels == list(range(labels[0], labels[0] + len(labels)))
    if not contiguous or len(set(classes)) < len(classes) or not all(c.isascii() and c.isalnum() for c in classes):
        raise UserError(f"{name}: its labels or characters are not those of EMNIST")
    return labels[0], classes


def read_arrays(members: dict[str, bytes], names: list[str], first: int, classes: tuple[str, ...]) -> Arrays:
    """The images, turned upright, and the labels, counted from 0."""
    arrays: Arrays = {}
    for part, images_name, labels_name in zip(PARTS, names[::2], names[1::2], strict=True):
        images = read_idx(io.BytesIO(members[images_name]), 3, images_name)  # (N, 28, 28), rows and columns swapped
        labels = read_idx(io.BytesIO(members[labels_name]), 1, labels_name)  # (N,)
        check_labels(labels, len(images), first + len(classes), labels_name)
        if labels.min() < first or images.shape[1:] != (28, 28):
            raise UserError(f"{labels_name}: labels below {first}, or pictures that are not 28 x 28")
        arrays[f"{part}_images"] = np.ascontiguousarray(images.swapaxes(1, 2))
        arrays[f"{part}_labels"] = labels - np.uint8(first)
    return arrays
