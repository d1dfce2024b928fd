"""Quick, Draw! drawings: one JSON object a line, turned into three bytes a point.

A line is {"word": ..., "recognized": true, "drawing": [[[x, ...], [y, ...]], ...]} with whole numbers from 0 to 255, as
in the simplified drawings of github.com/googlecreativelab/quickdraw-dataset.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from core.backend import Array

MIN_POINTS, MAX_POINTS = 6, 250  # shorter drawings are left out, longer ones cut
AT_ONCE = 1 << 14  # drawings that are copied together
LONGEST_LINE = 1 << 20  # bytes; real ones have some hundreds, and what is longer is read, and refused, in pieces


@dataclass(frozen=True)
class Drawings:
    """N drawings, one after the other.

    points: uint8 (M, 3), x, y, and 1 where the pen is lifted behind the point, else 0. lengths: uint16 (N,), the points
    of each drawing.
    """

    points: Array
    lengths: Array

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, chosen: slice | Array) -> Drawings:
        """Some of the drawings, by a slice or by indices, as a copy."""
        lengths = self.lengths[chosen].astype(np.int64)  # (n,)
        starts = (np.cumsum(self.lengths, dtype=np.int64) - self.lengths)[chosen]  # (n,)
        points = np.empty((lengths.sum(), 3), np.uint8)
        filled = 0
        for first in range(0, len(lengths), AT_ONCE):  # the places of all points take far more memory than the points
            part = slice(first, first + AT_ONCE)
            count = lengths[part].sum()
            within = np.arange(count) - np.repeat(np.cumsum(lengths[part]) - lengths[part], lengths[part])
            np.take(self.points, np.repeat(starts[part], lengths[part]) + within, axis=0, out=points[filled:][:count])
            filled += count
        return Drawings(points, self.lengths[chosen])

    def beginnings(self, share: float) -> Drawings:
        """The first `share` of each drawing's points, and at least two of them."""
        lengths = self.lengths.astype(np.int64)  # (N,)
        kept = np.clip(np.ceil(share * lengths).astype(np.int64), np.minimum(2, lengths), lengths)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)  # (M,)
        return Drawings(self.points[within < np.repeat(kept, lengths)], kept.astype(self.lengths.dtype))

    def strokes(self, number: int) -> list[Array]:
        """One drawing as strokes, each uint8 (P, 2) of x and y."""
        points = self[number : number + 1].points
        return [stroke for stroke in np.split(points[:, :2], np.flatnonzero(points[:, 2]) + 1) if len(stroke)]


def join(parts: Sequence[Drawings]) -> Drawings:
    """The drawings of all parts in a row."""
    points, lengths = [part.points for part in parts], [part.lengths for part in parts]
    return Drawings(np.concatenate(points), np.concatenate(lengths))


class DrawingReader:
    """Collects drawings from lines until it has `most`, and counts the lines and what it leaves out of them.

    `malformed` lines are no drawings, `unrecognized` ones were not recognised by the game (where the line says so), and
    `short` drawings have fewer than MIN_POINTS points; those with more than MAX_POINTS are cut there.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.lines = self.malformed = self.unrecognized = self.short = 0
        self._x, self._y, self._lift = bytearray(), bytearray(), bytearray()
        self._lengths = array("H")

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def full(self) -> bool:
        """Whether it has as many drawings as were wanted."""
        return len(self) >= self.most

    def read(self, lines: BinaryIO) -> None:
        """Take drawings from a file until there are enough or it ends; no more of it is read."""
        while not self.full and (line := lines.readline(LONGEST_LINE)):
            self.add(line)

    def add(self, line: bytes) -> None:
        """Take the drawing of a line, or count why not."""
        self.lines += 1
        try:
            recognized, x, y, lift = _parse(line)
        except (ValueError, TypeError, LookupError, RecursionError):
            self.malformed += 1
            return
        if not recognized:
            self.unrecognized += 1
        elif len(x) < MIN_POINTS:
            self.short += 1
        else:
            self._x += x[:MAX_POINTS]
            self._y += y[:MAX_POINTS]
            self._lift += lift[:MAX_POINTS]
            self._lengths.append(min(len(x), MAX_POINTS))

    def drawings(self) -> Drawings:
        """All drawings taken so far."""
        columns = [np.frombuffer(column, np.uint8) for column in (self._x, self._y, self._lift)]
        return Drawings(np.stack(columns, axis=1), np.array(self._lengths, dtype=np.uint16))


def _parse(line: bytes) -> tuple[bool, bytes, bytes, bytes]:
    """Whether the drawing was recognised, and of all its points x, y, and whether the pen is lifted behind them.

    Raises one of several errors for anything else than a drawing.
    """
    record = json.loads(line)
    x, y, lift = bytearray(), bytearray(), bytearray()
    for stroke in record["drawing"]:
        across, down = stroke[0], stroke[1]
        if not (isinstance(across, list) and isinstance(down, list) and len(across) == len(down)):
            raise ValueError("a stroke is a list of x and a list of y")
        if across:
            x += bytes(across)  # raises for whatever is no whole number from 0 to 255
            y += bytes(down)
            lift += bytes(len(across) - 1) + b"\1"
    return record.get("recognized", True) is True, bytes(x), bytes(y), bytes(lift)
