"""The common CSV form of small grey images: `label,pixel0,pixel1,...`, one image a line.

NumPy's and the standard library's parsers visit each of the 47 million numbers of such a file one by one. Here a block
of lines is parsed at once: the separators give where each number ends, and its value is that of up to three digits. A
block that holds anything but plain numbers is read again field by field, which also finds the line to blame.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.data.readers import LARGEST
from core.data.verify import GZIP_MAGIC
from core.errors import UserError
from core.files import replacing

BLOCK = 1 << 20  # bytes parsed at once: the temporary arrays stay in the processor's cache
ROWS = 500  # written at once
COMMA, NEWLINE, ZERO = ord(","), ord("\n"), ord("0")

Bytes = NDArray[np.uint8]


class _Form(NamedTuple):
    """What the file at hand has to look like."""

    name: str
    columns: int
    classes: int


def read_image_csv(path: Path, classes: int, shape: tuple[int, int] = (28, 28)) -> tuple[Bytes, Bytes]:
    """Read `label,pixel,...` lines into images (N, H, W) and labels (N,), both uint8; a header line may come first.

    Pixels are whole numbers from 0 to 255, labels from 0 to classes - 1; the file may be gzipped. Raises UserError that
    names the file, the line and the column of the first mistake.
    """
    form = _Form(str(path), 1 + math.prod(shape), classes)
    blocks, line, rows = [], 1, 0
    try:
        with open(path, "rb") as raw:
            for text in _blocks_of_lines(raw, form):
                if line == 1:
                    text, line = _without_header(text.removeprefix(b"\xef\xbb\xbf"), form)
                table = _parse_fast(text, form)
                blocks.append(_parse_with_care(text, form, line) if table is None else table)
                line += text.count(b"\n")
                rows += len(blocks[-1])
                if rows * form.columns > LARGEST:
                    raise UserError(f"{form.name}: more than {LARGEST:,} numbers, too many for one data set")
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise UserError(f"{form.name}: damaged or truncated gzip data") from None
    except OSError as error:
        raise UserError(f"{form.name}: cannot be read ({error.strerror or error})") from error
    if not rows:
        raise UserError(f"{form.name}: holds no images")
    images = np.concatenate([block[:, 1:] for block in blocks]).reshape(-1, *shape)  # (N, H, W)
    return images, np.concatenate([block[:, 0] for block in blocks])


def _blocks_of_lines(raw: BinaryIO, form: _Form) -> Iterator[bytes]:
    """Pieces of about BLOCK bytes that end where a line ends, with plain line feeds."""
    packed = raw.read(2) == GZIP_MAGIC
    raw.seek(0)
    rest = b""
    with gzip.open(raw) if packed else raw as stream:
        while block := stream.read(BLOCK):
            cut = block.rfind(b"\n") + 1
            if cut:
                yield (rest + block[:cut]).replace(b"\r\n", b"\n")
                rest = b""
            rest += block[cut:]
            if len(rest) > 2 * BLOCK:
                raise UserError(f"{form.name}: no line ends within {len(rest):,} bytes: not such a CSV file")
    if rest:
        yield rest.replace(b"\r\n", b"\n") + b"\n"


def _without_header(text: bytes, form: _Form) -> tuple[bytes, int]:
    """The text from its first data line on, and that line's number."""
    end = text.index(b"\n")
    fields = [_bare(field) for field in text[:end].split(b",")]
    if fields == [b""] or fields[0].partition(b".")[0].isdigit():
        return text, 1
    numbers = [int(field) for field in fields[1:] if field.isdigit() and len(field) < 10]
    counts_up = numbers in (list(range(form.columns - 1)), list(range(1, form.columns)))  # as in `label,0,1,2,...`
    if numbers and not counts_up:
        raise _mistake(form, 1, 1, fields[0])
    if len(fields) != form.columns:
        raise _wrong_width(form, 1, len(fields))
    return text[end + 1 :], 2


def _parse_fast(text: bytes, form: _Form) -> Bytes | None:
    """The table (rows, columns) of a block of plain numbers, or None where anything is out of the ordinary."""
    data = np.frombuffer(text, np.uint8)
    digits = data - ZERO  # wraps round for what is no digit
    ends = np.flatnonzero(digits > 9)
    if len(ends) == 0 or len(ends) % form.columns:
        return None
    separators = data[ends].reshape(-1, form.columns)
    if not ((separators[:, :-1] == COMMA).all() and (separators[:, -1] == NEWLINE).all()):
        return None
    lengths = np.diff(ends, prepend=-1)  # of each number and the separator after it
    if lengths.min() < 2 or lengths.max() > 4:
        return None
    values = digits[ends - 1].astype(np.uint16)
    tens = np.flatnonzero(lengths > 2)
    values[tens] += digits[ends[tens] - 2] * np.uint16(10)
    hundreds = np.flatnonzero(lengths > 3)
    values[hundreds] += digits[ends[hundreds] - 3] * np.uint16(100)
    table = values.reshape(-1, form.columns)
    if values.max() > 255 or table[:, 0].max() >= form.classes:
        return None
    return table.astype(np.uint8)


def _parse_with_care(text: bytes, form: _Form, first_line: int) -> Bytes:
    """The same, field by field: blanks, quotes, blank lines and `7.0` are understood, and mistakes are located."""
    rows = []
    for number, line in enumerate(text.split(b"\n")[:-1], first_line):
        if not line.strip():
            continue
        fields = line.split(b",")
        if len(fields) != form.columns:
            raise _wrong_width(form, number, len(fields))
        rows.append([_value(form, number, column, field) for column, field in enumerate(fields, 1)])
    return np.array(rows, np.uint8).reshape(-1, form.columns)


def _bare(field: bytes) -> bytes:
    return field.strip(b' \t\r"')


def _value(form: _Form, line: int, column: int, field: bytes) -> int:
    whole, _, fraction = _bare(field).partition(b".")
    limit = 255 if column > 1 else form.classes - 1
    if not (whole.isdigit() and len(whole) < 10 and not fraction.strip(b"0") and int(whole) <= limit):
        raise _mistake(form, line, column, field)
    return int(whole)


def _mistake(form: _Form, line: int, column: int, field: bytes) -> UserError:
    kind, limit = ("a pixel", 255) if column > 1 else ("the label", form.classes - 1)
    shown = repr(field[:20].decode("utf-8", "replace")) + ("..." if len(field) > 20 else "")
    return UserError(
        f"{form.name}, line {line}, column {column}: {kind} is {shown}, not a whole number from 0 to {limit}"
    )


def _wrong_width(form: _Form, line: int, columns: int) -> UserError:
    hint = " (is the label column missing?)" if columns == form.columns - 1 else ""
    return UserError(
        f"{form.name}, line {line}: {columns} column(s), expected {form.columns}: the label, "
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
