"""Ten digits drawn by hand, to click in a demo and to test with."""

from __future__ import annotations

import numpy as np

from core.demo.strokes import Stroke

# Points on a pad of 100 x 100, y down; a smooth curve runs through them, and "/" lifts the pen. A point given twice
# makes a corner.
DRAWN = (
    "58,12 40,17 29,36 27,58 36,82 52,88 68,78 75,54 72,30 62,15 55,12",
    "38,30 48,22 56,12 56,12 55,40 54,65 53,88",
    "29,32 35,17 50,11 65,18 69,32 60,50 44,68 28,86 28,86 50,85 74,87",
    "30,22 44,12 60,13 68,26 60,40 46,47 46,47 64,52 72,66 64,82 46,89 29,81",
    "54,11 44,30 30,56 30,56 52,57 77,56 / 62,34 61,60 59,89",
    "69,14 52,13 37,14 37,14 35,28 33,44 33,44 50,41 66,49 71,65 62,82 45,88 29,81",
    "62,12 46,24 34,44 29,65 36,83 51,88 66,80 69,65 60,54 46,55 33,66",
    "27,16 48,15 73,14 73,14 62,36 52,60 45,88",
    "66,22 54,12 40,15 34,27 42,40 56,49 67,60 68,76 56,87 40,86 31,74 36,60 50,49 63,37 67,24",
    "67,26 56,14 42,15 32,28 35,43 48,49 61,42 68,27 68,27 68,45 64,66 56,88",
)
STEPS = 8  # points drawn between two given ones


def _curve(points: Stroke) -> Stroke:
    """A Catmull-Rom spline through the points (P, 2), which passes through each of them."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    t = np.arange(STEPS)[:, None] / STEPS  # (S, 1)
    pieces = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False)
    ]
    return np.concatenate([*pieces, points[-1:]])


def _digit(drawn: str) -> list[Stroke]:
    strokes = [[point.split(",") for point in stroke.split()] for stroke in drawn.split("/")]
    return [_curve(np.array(stroke, dtype=np.float64)) for stroke in strokes]


DIGITS: tuple[list[Stroke], ...] = tuple(_digit(drawn) for drawn in DRAWN)
