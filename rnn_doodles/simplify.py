"""From strokes as a hand draws them to drawings as Quick, Draw! stores them.

The recipe of github.com/googlecreativelab/quickdraw-dataset: move the drawing to the corner, scale it to 0 ... 255,
resample every stroke with a spacing of one pixel, and simplify it by Ramer, Douglas and Peucker with epsilon 2.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from core.backend import Array
from core.data.quickdraw import MAX_POINTS, MIN_POINTS, DrawingReader, Drawings
from core.demo.strokes import DEPTH, Stroke, load_json, parse_strokes
from core.errors import UserError

SIDE = 255
EPSILON = 2.0
LARGEST = 1e6  # coordinate of a pasted drawing
MOST_SAMPLES = 20_000  # in all: a scribble that is longer is sampled less finely


def simplify(strokes: Sequence[Stroke]) -> Drawings:
    """The drawing that these strokes, each (P, 2) of x and y with y downwards, would have become in the data.

    One drawing of at most MAX_POINTS points; raises ValueError when there is no point at all.
    """
    points = np.concatenate([np.empty((0, 2)), *strokes])
    if not len(points):
        raise ValueError("simplify expected at least one point")
    low, extent = points.min(axis=0), float(np.ptp(points, axis=0).max())
    scale = SIDE / extent if extent > 0 else 1.0  # a dot stays a dot
    scaled = [(np.asarray(stroke, np.float64) - low) * scale for stroke in strokes if len(stroke)]
    spacing = max(1.0, sum(_length(stroke) for stroke in scaled) / MOST_SAMPLES)
    kept = [np.rint(ramer_douglas_peucker(resample(stroke, spacing), EPSILON)) for stroke in scaled]
    rows = [np.column_stack([stroke, np.arange(len(stroke)) == len(stroke) - 1]) for stroke in kept]
    table = np.concatenate(rows)[:MAX_POINTS].astype(np.uint8)  # (M, 3)
    return Drawings(table, np.array([len(table)], np.uint16))


def _length(stroke: Array) -> float:
    return float(np.hypot(*np.diff(stroke, axis=0).T).sum())


def resample(stroke: Array, spacing: float = 1.0) -> Array:
    """Points (Q, 2) along a stroke (P, 2), `spacing` apart, and its last point."""
    distance = np.append(0, np.cumsum(np.hypot(*np.diff(stroke, axis=0).T)))  # (P,)
    if distance[-1] == 0:
        return stroke[:1]
    places = np.append(np.arange(0, distance[-1], spacing), distance[-1])
    return np.column_stack([np.interp(places, distance, column) for column in stroke.T])


def ramer_douglas_peucker(stroke: Array, epsilon: float) -> Array:
    """The fewest points of a stroke (P, 2) that the method keeps so that none is further than `epsilon` from the line.

    Ramer 1972; Douglas and Peucker 1973: keep both ends; if the point furthest from the chord is further than
    `epsilon`, keep it too and go on with the two halves. A list in place of recursion, so that nothing overflows.
    """
    kept = np.zeros(len(stroke), bool)
    kept[[0, -1]] = True
    spans = [(0, len(stroke) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        distance = _from_chord(stroke[first + 1 : last], stroke[first], stroke[last])
        furthest = int(distance.argmax())
        if distance[furthest] > epsilon:
            middle = first + 1 + furthest
            kept[middle] = True
            spans += [(first, middle), (middle, last)]
    return stroke[kept]


def _from_chord(points: Array, start: Array, end: Array) -> Array:
    """How far points (P, 2) are from the line through `start` and `end`, or from the point where these coincide."""
    along, away = end - start, points - start
    length = np.hypot(*along)
    if length == 0:
        return np.hypot(*away.T)
    return np.abs(away[:, 0] * along[1] - away[:, 1] * along[0]) / length


def parse_pasted(text: str) -> Drawings:
    """The drawing that somebody pasted as JSON, one of at least one point.

    A line of a Quick, Draw! file or its "drawing" alone, whose strokes are pairs of a list of x and a list of y, is
    taken as it is; strokes as lists of points [x, y], of any size, are simplified. Raises UserError, in a line for the
    visitor, for everything else.
    """
    if not text.strip():
        raise UserError("there is nothing in the box: paste a drawing first")
    is_line = text.lstrip().startswith("{")
    value = load_json(text, DEPTH + is_line)
    drawing = value.get("drawing") if isinstance(value, dict) else value
    reader = _read(drawing)
    if len(reader):
        return reader.drawings()
    if is_line:
        raise UserError(_what_is_wrong(drawing, reader))
    strokes = parse_strokes(text, LARGEST, LARGEST)
    if not strokes:
        raise UserError("there is no point in this drawing")
    return simplify(strokes)


def _read(drawing: object) -> DrawingReader:
    reader = DrawingReader(1)
    reader.add(json.dumps({"drawing": drawing}).encode())
    return reader


def _what_is_wrong(drawing: object, reader: DrawingReader) -> str:
    """Why the reader did not take the drawing of a line of Quick, Draw!."""
    if reader.short:
        return f"this drawing has fewer than {MIN_POINTS} points"
    if not isinstance(drawing, list):
        return 'a line of Quick, Draw! has a "drawing", which is a list of strokes'
    wrong = next(number for number, stroke in enumerate(drawing, start=1) if _read([stroke]).malformed)
    return f"stroke {wrong}: a stroke is two equally long lists, of x and of y, of whole numbers from 0 to {SIDE}"
