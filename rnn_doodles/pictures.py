"""Drawings as small pictures, for the report and the demo; the network never sees these."""

from __future__ import annotations

import numpy as np

from core.backend import Array
from core.data.quickdraw import Drawings
from core.demo.raster import draw

SIDE = 56  # pixels
PEN = 1.6  # pixels
FINER = 4  # a picture is drawn so much larger, then averaged


def picture(drawings: Drawings, number: int) -> Array:
    """One drawing, bright ink on black in the middle of the picture, uint8 (SIDE, SIDE)."""
    strokes = [stroke.astype(np.float64) for stroke in drawings.strokes(number)]
    ink = draw(strokes, PEN, SIDE - 4, FINER)  # (h, w)
    large = np.zeros((SIDE * FINER, SIDE * FINER), np.float32)
    top, left = (max(0, (SIDE * FINER - size) // 2) for size in ink.shape)
    ink = ink[: SIDE * FINER, : SIDE * FINER]
    large[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return large.reshape(SIDE, FINER, SIDE, FINER).mean(axis=(1, 3)).astype(np.uint8)


def pictures(drawings: Drawings) -> Array:
    """All drawings as pictures, uint8 (N, SIDE, SIDE)."""
    shown = np.zeros((len(drawings), SIDE, SIDE), np.uint8)
    ends = np.cumsum(drawings.lengths, dtype=np.int64)
    for number, (end, length) in enumerate(zip(ends, drawings.lengths, strict=True)):
        single = Drawings(drawings.points[end - length : end], drawings.lengths[number : number + 1])
        shown[number] = picture(single, 0)
    return shown
