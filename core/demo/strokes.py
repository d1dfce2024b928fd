"""What the drawing pad sends, checked as the arbitrary input it is: anybody can post anything to a web server.

A drawing is a JSON list of strokes in the order they were drawn, each a list of points [x, y] in the units of the pad,
with y pointing down: [[[10, 12], [11, 15]], [[40, 9]]].
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError

MAX_CHARACTERS = 64 * 1024
MAX_STROKES = 64
MAX_POINTS = 2000
DEPTH = 3  # drawing, stroke, point

Stroke = NDArray[np.float64]  # (P, 2): x and y of each point, P > 0


def parse_strokes(value: object, width: float, height: float) -> list[Stroke]:
    """Turn the pad's value into strokes, each float64 (P, 2), with every point moved into [0, width] x [0, height].

    None and "" are the empty drawing; strokes without points are left out. Raises UserError, in one line that a
    visitor can read, for everything that is not a drawing of at most MAX_STROKES strokes and MAX_POINTS points.
    """
    if value is None or value == "":
        return []
    if not isinstance(value, str):
        raise UserError(f"a drawing arrives as text, not as {type(value).__name__}")
    drawing = load_json(value)
    if not isinstance(drawing, list):
        raise UserError("a drawing is a list of strokes")
    if len(drawing) > MAX_STROKES:
        raise UserError(f"a drawing has at most {MAX_STROKES} strokes, this one has {len(drawing)}: please start again")
    for number, stroke in enumerate(drawing, start=1):
        if not isinstance(stroke, list):
            raise UserError(f"stroke {number}: a stroke is a list of points")
    points = sum(len(stroke) for stroke in drawing)
    if points > MAX_POINTS:
        raise UserError(f"a drawing has at most {MAX_POINTS} points, this one has {points}: please start again")
    corner = np.array([width, height], dtype=np.float64)
    # Rounded to less than any pad can tell apart: by an extent of 1e-310, nothing could be scaled.
    return [
        np.clip(_points(stroke, number), 0, corner).round(6) for number, stroke in enumerate(drawing, start=1) if stroke
    ]


def load_json(text: str, depth: int = DEPTH) -> object:
    """Parse JSON that is neither long nor deep nor holds a number that JSON does not know.

    Raises UserError, in a line that a visitor can read and with the place of the mistake, for all else.
    """
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"a drawing has at most {MAX_CHARACTERS} characters, this one has {len(text)}")
    if _depth(text) > depth:
        raise UserError("a drawing is a list of strokes, which are lists of points: this one is nested deeper")
    try:
        return json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"this drawing is not valid JSON: {error.msg} at {where}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"this drawing is not valid JSON: {error}") from None


def _depth(text: str) -> int:
    """How deep the brackets nest: the parser would follow thousands of them until the stack is full."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    opened = (codes == ord("[")) | (codes == ord("{"))
    closed = (codes == ord("]")) | (codes == ord("}"))
    return int(np.cumsum(opened.astype(np.int64) - closed).max(initial=0))


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number in JSON")


def _points(stroke: list[object], number: int) -> list[tuple[float, float]]:
    points = []
    for place, item in enumerate(stroke, start=1):
        try:
            points.append(_point(item))
        except UserError as error:
            raise UserError(f"stroke {number}, point {place}: {error}") from None
    return points


def _point(item: object) -> tuple[float, float]:
    if not isinstance(item, list) or len(item) != 2:
        raise UserError("a point is a pair of numbers [x, y]")
    x, y = item
    return _coordinate(x), _coordinate(y)


def _coordinate(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError("a coordinate is a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise UserError("a coordinate is a finite number")
    return number


def as_json(strokes: Sequence[Stroke], digits: int = 1) -> str:
    """Write strokes, each (P, 2), as the pad's value: the inverse of `parse_strokes` up to rounding."""
    drawing = [[[round(float(x), digits), round(float(y), digits)] for x, y in stroke] for stroke in strokes]
    return json.dumps(drawing, separators=(",", ":"))
