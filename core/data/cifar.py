"""CIFAR-10's two archives, read member by member: the binary one, and the Python one without running its pickles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.data.archives import archive_files
from core.data.plain_pickle import read_plain_pickle
from core.errors import UserError

SIDE, CHANNELS = 32, 3
PIXELS = CHANNELS * SIDE * SIDE  # all reds, then all greens, then all blues
RECORD = 1 + PIXELS  # bytes of the binary form: the label comes first
BATCH = 10_000  # records in each file
TRAIN_FILES = tuple(f"data_batch_{n}" for n in range(1, 6))
TEST_FILE = "test_batch"
LARGEST = 40_000_000  # bytes of a member; the largest is a pickle of 31 MB

Bytes = NDArray[np.uint8]


class Batch(NamedTuple):
    """The content of a file: images (n, 32, 32, 3) and labels (n,), both uint8."""

    images: Bytes
    labels: Bytes


def read_cifar(path: Path, classes: int, *, binary: bool, partial: bool = False) -> dict[str, Batch]:
    """The batches of a CIFAR-10 archive by name: data_batch_1 to data_batch_5, and test_batch.

    partial: accept files with fewer than 10,000 records, which are refused otherwise. Raises UserError for that, for a
    missing or repeated file, a wrong size, a label beyond `classes`, and for everything that is no such archive.
    """
    suffix = ".bin" if binary else ""
    read: Callable[[bytes, str], Batch] = _read_records if binary else _read_pickle
    wanted = {name + suffix: name for name in (*TRAIN_FILES, TEST_FILE)}
    found: dict[str, Batch] = {}
    for member in archive_files(path, lambda inside: _file_name(inside) in wanted, LARGEST):
        name = wanted[_file_name(member.path)]
        where = f"{path}: {member.path}"
        if name in found:
            raise UserError(f"{where} is there twice")
        found[name] = read(member.data, where)
        _check(found[name], classes, where, partial)
    missing = [name for name in wanted.values() if name not in found]
    if missing:
        raise UserError(f"{path}: holds no {missing[0]}{suffix}; is it the CIFAR-10 archive?")
    return {name: found[name] for name in wanted.values()}


def _file_name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _read_records(data: bytes, where: str) -> Batch:
    """Records of 3,073 bytes, without anything around them."""
    if not data or len(data) % RECORD:
        raise UserError(f"{where} has {len(data):,} bytes, which is no number of records of {RECORD:,}: damaged")
    records = np.frombuffer(data, np.uint8).reshape(-1, RECORD)  # (n, 3073)
    return Batch(_channels_last(records[:, 1:]), records[:, 0].copy())


def _read_pickle(data: bytes, where: str) -> Batch:
    """A dictionary with "data", uint8 (n, 3072), and "labels", a list of n numbers."""
    content = read_plain_pickle(data, where)
    if not isinstance(content, dict) or not {"data", "labels"} <= set(content):
        raise UserError(f'{where}: expected a dictionary with "data" and "labels"')
    pixels, labels = content["data"], content["labels"]
    right = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 2
    if not right or pixels.shape[1] != PIXELS or not len(pixels):
        raise UserError(f"{where}: expected images uint8 (n, {PIXELS})")
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise UserError(f"{where}: expected a list of labels")
    if len(labels) != len(pixels):
        raise UserError(f"{where}: {len(labels):,} labels for {len(pixels):,} images")
    return Batch(_channels_last(pixels), np.array(labels, np.uint8))


def _channels_last(pixels: Bytes) -> Bytes:
    """(n, 3072) as (n, 32, 32, 3)."""
    images = pixels.reshape(-1, CHANNELS, SIDE, SIDE)
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def _check(batch: Batch, classes: int, where: str, partial: bool) -> None:
    count = len(batch.labels)
    if batch.labels.max() >= classes:
        raise UserError(f"{where}: a label of {batch.labels.max()}, but there are {classes} classes")
    if count > BATCH or (count < BATCH and not partial):
        raise UserError(f"{where} holds {count:,} images, not {BATCH:,} (--allow-unverified takes a partial copy)")
