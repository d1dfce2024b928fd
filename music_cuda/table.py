"""The table of songs: a CSV file with a line for each song, its name, 57 numbers about its sound, and its genre."""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.backend import Array
from core.data.sources import GTZAN
from core.data.verify import GZIP_MAGIC
from core.errors import UserError
from core.files import replacing

GENRES = GTZAN.classes
MFCCS = 20
SUMMARISED = (
    "chroma_stft", "rms", "spectral_centroid", "spectral_bandwidth", "rolloff", "zero_crossing_rate", "harmony",
    "perceptr",
)  # fmt: skip
FEATURES: tuple[str, ...] = (
    *(f"{name}_{kind}" for name in SUMMARISED for kind in ("mean", "var")),
    "tempo",
    *(f"mfcc{number}_{kind}" for number in range(1, MFCCS + 1) for kind in ("mean", "var")),
)
COLUMNS = ("filename", "length", *FEATURES, "label")
LARGEST = 1 << 26  # bytes of a table; GTZAN's has 1.1 MB
LARGEST_NUMBER = float(np.finfo(np.float32).max)  # the network computes in float32
LONGEST = 1 << 14  # characters of a line
MALFORMED_SHARE = 0.01  # beyond that it is probably not the table that it is taken for
SHOWN = 3  # complaints in an error


class Songs(NamedTuple):
    """Songs as arrays."""

    names: tuple[str, ...]
    features: Array
    """float64 (N, 57), in the order of FEATURES."""
    labels: Array
    """int64 (N,), places in GENRES."""

    def __getitem__(self, rows: Array) -> Songs:  # type: ignore[override]
        """The songs at `rows`, in that order."""
        return Songs(tuple(self.names[row] for row in rows), self.features[rows], self.labels[rows])


class Table(NamedTuple):
    """What a file holds."""

    songs: Songs
    malformed: list[str]
    """A sentence, with its number, for each line that was skipped."""


def read_table(path: Path) -> Table:
    """Read a CSV file, plain or gzipped, whose first line names the columns, in any order.

    `length` and columns that are unknown are left out. A line that has another number of columns, a number that is none
    or not finite, or an unknown genre is skipped. Raises UserError for a file that cannot be read, a missing column, no
    songs, or more than 1 % malformed lines.
    """
    lines = _text_of(path).split("\n")
    header = [name.strip() for name in _cells(lines[0]) or []]
    missing = [name for name in ("filename", *FEATURES, "label") if name not in header]
    if missing:
        raise UserError(f"{path}, line 1: no column {missing[0]!r}; expected filename, {FEATURES[0]}, ..., label")
    places = {name: header.index(name) for name in header}
    names, rows, labels, malformed = [], [], [], []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        try:
            name, features, label = _parse(line, places, len(header))
        except ValueError as error:
            malformed.append(f"line {number}: {error}")
            continue
        names.append(name)
        rows.append(features)
        labels.append(label)
    if len(malformed) > MALFORMED_SHARE * (len(rows) + len(malformed)):
        more = f"; and {len(malformed) - SHOWN} more" if len(malformed) > SHOWN else ""
        raise UserError(
            f"{path}: {len(malformed)} of {len(rows) + len(malformed)} songs are malformed, more than 1 %: "
            f"{'; '.join(malformed[:SHOWN])}{more}"
        )
    if not rows:
        raise UserError(f"{path} holds no songs, only a header")
    return Table(Songs(tuple(names), np.array(rows), np.array(labels, np.int64)), malformed)


def _text_of(path: Path) -> str:
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            with gzip.open(raw) if packed else raw as handle:
                data = handle.read(LARGEST + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise UserError(f"{path}: damaged or truncated gzip data") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if len(data) > LARGEST:
        raise UserError(f"{path} is larger than any table of songs ({LARGEST:,} bytes)")
    return data.decode("utf-8-sig", errors="replace").replace("\r\n", "\n")


def _cells(line: str) -> list[str] | None:
    """The cells of one line; None if it is not CSV."""
    if len(line) > LONGEST:
        return None
    try:
        return next(csv.reader([line], strict=True), None)
    except csv.Error:
        return None


def _parse(line: str, places: dict[str, int], columns: int) -> tuple[str, list[float], int]:
    """A song's name, its 57 features and its genre; ValueError with a reason."""
    cells = _cells(line)
    if cells is None:
        raise ValueError("not CSV")
    if len(cells) != columns:
        raise ValueError(f"{len(cells)} columns instead of {columns}")
    features = [_number(cells[places[name]], name) for name in FEATURES]
    label = cells[places["label"]].strip()
    if label not in GENRES:
        raise ValueError(f"genre {label[:20]!r} is none of {', '.join(GENRES)}")
    return cells[places["filename"]].strip(), features, GENRES.index(label)


def _number(cell: str, name: str) -> float:
    try:
        value = float(cell) if "_" not in cell else math.nan  # Python's float() takes 1_000
    except ValueError:
        value = math.nan
    if not abs(value) < LARGEST_NUMBER:
        raise ValueError(f"{name} is {cell.strip()[:20]!r}, not a number that can be used")
    return value


def duplicates(songs: Songs) -> list[tuple[int, int]]:
    """Each row whose features an earlier row has exactly, with that row: [(later, earlier), ...] in order."""
    first: dict[bytes, int] = {}
    found = []
    for row, features in enumerate(songs.features):
        earlier = first.setdefault((features + 0.0).tobytes(), row)  # + 0.0 makes -0.0 and 0.0 the same bytes
        if earlier != row:
            found.append((row, earlier))
    return found


def append_song(path: Path, name: str, features: Sequence[float] | Array, genre: str, length: int = 0) -> None:
    """Add a song to the table at `path`, which is made if it is not there; a song with the same features is replaced.

    length: samples at 22,050 Hz. The file is replaced as a whole under a lock, and is never seen half written. Raises
    UserError for a table with other columns or that cannot be written, ValueError for features or a genre that
    `read_table` would refuse.
    """
    values = [float(value) for value in features]
    usable = all(abs(value) < LARGEST_NUMBER for value in values)
    if len(values) != len(FEATURES) or genre not in GENRES or not usable:
        raise ValueError(
            f"append_song expected {len(FEATURES)} finite features and a genre, got {len(values)}, {genre}"
        )
    song = {"filename": safe_name(name), "length": length, "label": genre} | dict(zip(FEATURES, values, strict=True))
    try:
        with replacing(path) as handle:
            text = _text_of(path) if path.exists() else ",".join(COLUMNS) + "\n"
            kept = _without(text, values, path)
            handle.write("\n".join([*kept, _as_line(song, _cells(kept[0]) or []), ""]).encode())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; what was there is untouched") from error


def _without(text: str, values: list[float], path: Path) -> list[str]:
    """The lines of a table but for songs with these features, and empty ones."""
    lines = [line for line in text.split("\n") if line.strip()]
    header = [name.strip() for name in _cells(lines[0]) or []] if lines else []
    if not {"filename", *FEATURES, "label"} <= set(header):
        raise UserError(f"{path} is not a table of songs: its first line must name the columns {', '.join(COLUMNS)}")
    places = {name: header.index(name) for name in header}
    kept = lines[:1]
    for line in lines[1:]:
        try:
            same = _parse(line, places, len(header))[1] == values
        except ValueError:  # a malformed line stays: it is the reader who tells of it
            same = False
        if not same:
            kept.append(line)
    return kept


def _as_line(song: dict[str, object], header: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([song.get(name.strip(), "") for name in header])
    return text.getvalue()


def safe_name(name: str) -> str:
    """A file's name without its folder, and with nothing that a spreadsheet would take for a formula."""
    base = re.split(r"[/\\]", name)[-1].lstrip("-=+@ '")
    return re.sub(r"[^\w .()\[\]&'-]", "_", base)[:100] or "song"
