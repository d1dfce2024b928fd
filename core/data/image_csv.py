"""The common CSV form of small grey images: `label,pixel0,pixel1,...`, one image a line.

NumPy's own parser reads what is in order. It tells little of what is not, so that a file it refuses is read again field
by field: that finds the line and the column to blame, or understands what was merely unusual.
"""

from __future__ import annotations

import gzip
import io
import math
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.data.readers import LARGEST
from core.data.verify import GZIP_MAGIC
from core.errors import UserError
from core.files import replacing

WIDEST = 64  # characters that a field may take on average, so that a file without line ends cannot fill the memory
ROWS = 500  # written at once
NEWLINE = ord("\n")
LABEL_NAMES = ("label", "labels", "class", "target")  # in headers

Bytes = NDArray[np.uint8]


class _Form(NamedTuple):
    """What the file at hand has to look like."""

    path: Path
    columns: int
    classes: int


def read_image_csv(path: Path, classes: int, shape: tuple[int, int] = (28, 28)) -> tuple[Bytes, Bytes]:
    """Read `label,pixel,...` lines into images (N, H, W) and labels (N,), both uint8; a header line may come first.

    Pixels are whole numbers from 0 to 255, labels from 0 to classes - 1; the file may be gzipped. Raises UserError that
    names the file, the line and the column of the first mistake.
    """
    form = _Form(path, 1 + math.prod(shape), classes)
    try:
        table = _parse_fast(form)
        if table is None:
            table = _parse_with_care(form)  # (N, 1 + H*W)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise UserError(f"{path}: damaged or truncated gzip data") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(table) == 0:
        raise UserError(f"{path}: holds no images")
    return np.ascontiguousarray(table[:, 1:]).reshape(-1, *shape), table[:, 0].copy()


def _parse_fast(form: _Form) -> Bytes | None:
    """The table (N, columns) of a file in order, or None where anything is out of the ordinary."""
    with _data_lines(form) as lines, warnings.catch_warnings():
        warnings.simplefilter("error")  # such as the one about fractions, which would be cut off
        try:
            text = (line for _, line in lines)
            table = np.loadtxt(text, np.uint8, comments=None, delimiter=",", ndmin=2)
        except (ValueError, Warning):
            return None
    if table.shape[1] != form.columns or table[:, 0].max() >= form.classes:
        return None
    return table


def _parse_with_care(form: _Form) -> Bytes:
    """The same, field by field: blank lines, quotes and `7.0` are understood, and mistakes are located."""
    rows = []
    with _data_lines(form) as lines:
        for number, line in lines:
            if not line.strip():
                continue
            fields = line.split(",")
            if len(fields) != form.columns:
                raise _wrong_width(form, number, len(fields))
            rows.append(bytes(_value(form, number, column, field) for column, field in enumerate(fields, 1)))
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, form.columns)


@contextmanager
def _data_lines(form: _Form) -> Iterator[Iterator[tuple[int, str]]]:
    """The lines after the header, if there is one, each with its number in the file."""
    with open(form.path, "rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        plain: Any = gzip.GzipFile(fileobj=raw) if packed else raw
        with plain, io.TextIOWrapper(plain, encoding="utf-8-sig", errors="replace") as text:
            yield _numbered(form, text)


def _numbered(form: _Form, text: io.TextIOWrapper) -> Iterator[tuple[int, str]]:
    limit = WIDEST * form.columns
    number = 0
    while line := text.readline(limit):
        number += 1
        if len(line) == limit:
            raise UserError(f"{form.path}, line {number}: longer than a line of {form.columns} numbers can be")
        if number * form.columns > LARGEST:
            raise UserError(f"{form.path}: more than {LARGEST:,} numbers, too many for one data set")
        if number > 1 or not _is_header(form, line):
            yield number, line


def _is_header(form: _Form, line: str) -> bool:
    fields = [_bare(field) for field in line.split(",")]
    if fields == [""] or _is_digits(fields[0].partition(".")[0]):
        return False
    numbers = [int(field) for field in fields[1:] if _is_digits(field)]
    counts_up = numbers in (list(range(form.columns - 1)), list(range(1, form.columns)))  # as in `label,0,1,2,...`
    if numbers and not counts_up:
        raise _mistake(form, 1, 1, fields[0])
    if len(fields) != form.columns:
        raise _wrong_width(form, 1, len(fields))
    named = [column for column, field in enumerate(fields, 1) if field.lower() in LABEL_NAMES]
    if named and named[0] != 1:
        raise UserError(f"{form.path}, line 1: column {named[0]} is the label, which must come first")
    return True


def _bare(field: str) -> str:
    return field.strip(' \t\r\n"')


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _value(form: _Form, line: int, column: int, field: str) -> int:
    whole, _, fraction = _bare(field).partition(".")
    limit = 255 if column > 1 else form.classes - 1
    if not (_is_digits(whole) and not fraction.strip("0") and int(whole) <= limit):
        raise _mistake(form, line, column, field)
    return int(whole)


def _mistake(form: _Form, line: int, column: int, field: str) -> UserError:
    kind, limit = ("a pixel", 255) if column > 1 else ("the label", form.classes - 1)
    bare = field.strip()
    shown = repr(bare[:20]) + ("..." if len(bare) > 20 else "")
    return UserError(
        f"{form.path}, line {line}, column {column}: {kind} is {shown}, not a whole number from 0 to {limit}"
    )


def _wrong_width(form: _Form, line: int, columns: int) -> UserError:
    hint = " (is the label column missing?)" if columns == form.columns - 1 else ""
    return UserError(
        f"{form.path}, line {line}: {columns} column(s), expected {form.columns}: the label, "
        f"then {form.columns - 1} pixels{hint}"
    )


def write_image_csv(path: Path, images: Bytes, labels: Bytes) -> None:
    """Write images (N, H, W) and labels (N,), both uint8, as `label,pixel0,...` lines under a header, atomically.

    Raises UserError where the disk is full or the folder cannot be written; the file that was there before stays.
    """
    pixels = images.reshape(len(images), -1)  # (N, H*W)
    header = ",".join(["label", *(f"pixel{i}" for i in range(pixels.shape[1]))])
    try:
        with replacing(path) as out:
            out.write(header.encode() + b"\n")
            for start in range(0, len(pixels), ROWS):
                rows = slice(start, start + ROWS)
                out.write(_as_text(np.column_stack([labels[rows], pixels[rows]])))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def _words() -> tuple[Bytes, NDArray[np.intp]]:
    """For each byte value its digits and a comma, padded with zeros to 4 characters, and where the comma stands."""
    texts = [f"{value}," for value in range(256)]
    padded = "".join(text.ljust(4, "\0") for text in texts).encode()
    return np.frombuffer(padded, np.uint8).reshape(256, 4), np.array([len(text) - 1 for text in texts])


def _as_text(table: Bytes) -> bytes:
    words, comma = _words()
    text = words[table]  # (rows, columns, 4)
    text[np.arange(len(table)), -1, comma[table[:, -1]]] = NEWLINE
    plain: bytes = text[text != 0].tobytes()
    return plain
