"""Readers of the publishers' binary formats. Whatever a file holds, the answer is sound arrays or one UserError."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from core.data.verify import GZIP_MAGIC
from core.errors import UserError

LARGEST = 1 << 30  # bytes that an array may take, so that a small hostile file cannot fill the memory
UNSIGNED_BYTE = 8  # the one element type of the IDX format that the image data sets use

Bytes = NDArray[np.uint8]


def read_idx(source: Path | BinaryIO, rank: int, name: str = "", largest: int = LARGEST) -> Bytes:
    """Read an IDX file of unsigned bytes, plain or gzipped, as an array of `rank` dimensions.

    source: a path, or an open binary stream (a member of an archive), for which `name` stands in messages.
    The format (two zero bytes, type, rank, the dimensions as big-endian 32-bit integers, then the elements in C order)
    is described on the MNIST page. Raises UserError for anything else: another magic number, truncated or trailing
    data, damaged gzip, an empty dimension, or more than `largest` bytes.
    """
    name = name or str(source)
    try:
        if isinstance(source, Path):
            with open(source, "rb") as handle:
                return _read_idx(handle, rank, name, largest)
        return _read_idx(source, rank, name, largest)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise UserError(f"{name}: damaged or truncated gzip data; fetch the file again") from None
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror or error})") from error


def _read_idx(stream: BinaryIO, rank: int, name: str, largest: int) -> Bytes:
    packed = stream.read(2) == GZIP_MAGIC
    stream.seek(0)
    if packed:
        with gzip.open(stream) as plain:
            return _parse_idx(plain, rank, name, largest)  # type: ignore[arg-type, unused-ignore]
    return _parse_idx(stream, rank, name, largest)


def _parse_idx(stream: BinaryIO, rank: int, name: str, largest: int) -> Bytes:
    magic = bytes((0, 0, UNSIGNED_BYTE, rank))
    header = stream.read(4 + 4 * rank)
    if header[:4] != magic[: len(header)]:
        raise UserError(f"{name}: not an IDX file of rank {rank}: it starts with {header[:4].hex()}, not {magic.hex()}")
    if len(header) < 4 + 4 * rank:
        raise UserError(f"{name}: truncated after {len(header)} bytes, within the header")
    shape = struct.unpack(f">{rank}I", header[4:])
    size = math.prod(shape)
    if size == 0:
        raise UserError(f"{name}: holds no items (dimensions {_times(shape)})")
    if size > largest:
        raise UserError(f"{name}: claims {_times(shape)} bytes, more than the {largest:,} that a data set may take")
    data = _read_exactly(stream, size)
    if len(data) < size:
        raise UserError(f"{name}: truncated: {len(data):,} of {size:,} bytes ({_times(shape)})")
    if stream.read(1):
        raise UserError(f"{name}: more data than its header tells ({_times(shape)}): not the file it claims to be")
    return data.reshape(shape)


def _read_exactly(stream: BinaryIO, size: int) -> Bytes:
    """Up to `size` bytes; fewer at the end of the stream. Memory is only touched as far as there is data."""
    data = np.empty(size, np.uint8)
    view = data.data
    filled = 0
    while filled < size and (count := stream.readinto(view[filled:])):  # type: ignore[attr-defined]
        filled += count
    return data[:filled]


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def check_labels(labels: Bytes, items: int, classes: int, name: str) -> None:
    """Raise UserError unless there is one label for each of `items`, and each is below `classes`."""
    if len(labels) != items:
        raise UserError(f"{name}: {len(labels):,} labels for {items:,} images")
    if labels.max() >= classes:
        worst = int(labels.argmax())
        raise UserError(f"{name}: item {worst + 1} has the label {labels[worst]}, but there are {classes} classes")


def read_idx_pair(images: Path, labels: Path, classes: int) -> tuple[Bytes, Bytes]:
    """Read images (N, H, W) and their labels (N,), both uint8, from two IDX files that must agree."""
    x = read_idx(images, rank=3)  # (N, H, W)
    t = read_idx(labels, rank=1)  # (N,)
    check_labels(t, len(x), classes, str(labels))
    return x, t


def idx_header(array: Bytes) -> bytes:
    """The bytes that stand before an array's own in the IDX format."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, UNSIGNED_BYTE, array.ndim, *array.shape)
