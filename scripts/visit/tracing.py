"""Strokes from pictures: what a hand would have drawn, to compare our rasteriser with real images."""

from __future__ import annotations

import numpy as np
from PIL import Image

ENLARGE = 4
NEIGHBOURS = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]  # clockwise from above


def thin(ink: np.ndarray) -> np.ndarray:
    """The skeleton of a bool (H, W): Zhang and Suen, "A fast parallel algorithm for thinning", CACM 27 (1984)."""
    ink = np.pad(ink, 1)
    while True:
        before = ink.sum()
        for first in (True, False):
            p = [np.roll(ink, (-dy, -dx), (0, 1)) for dy, dx in NEIGHBOURS]
            count = sum(q.astype(int) for q in p)
            turns = sum((~p[i] & p[(i + 1) % 8]).astype(int) for i in range(8))
            up, right, down, left = p[0], p[2], p[4], p[6]
            if first:
                free = ~(up & right & down) & ~(right & down & left)
            else:
                free = ~(up & right & left) & ~(up & down & left)
            ink = ink & ~((count >= 2) & (count <= 6) & (turns == 1) & free)
        if ink.sum() == before:
            return ink[1:-1, 1:-1]


def trace(image: np.ndarray) -> list[np.ndarray]:
    """Strokes, each float64 (P, 2) of x and y in pixels of the image, along the ink of a uint8 (28, 28)."""
    side = image.shape[0] * ENLARGE
    large = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
    left = {(int(y), int(x)) for y, x in np.argwhere(thin(large > 127))}
    strokes = []
    while left:
        ends = [point for point in left if len(_next(point, left)) <= 1]
        path = [min(ends or left)]
        left.remove(path[0])
        while following := _next(path[-1], left):
            path.append(following[0])
            left.remove(path[-1])
        strokes.append((np.array(path)[:, ::-1] + 0.5) / ENLARGE)
    long_enough = [stroke for stroke in strokes if len(stroke) > ENLARGE]  # specks are left over at crossings
    return [smooth(stroke) for stroke in long_enough or strokes]


def _next(point: tuple[int, int], left: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """The neighbours of a point that are left, those that share an edge first."""
    around = [(point[0] + dy, point[1] + dx) for dy, dx in sorted(NEIGHBOURS, key=lambda d: abs(d[0]) + abs(d[1]))]
    return [neighbour for neighbour in around if neighbour in left]


def smooth(stroke: np.ndarray, reach: int = 2) -> np.ndarray:
    """A moving average along the stroke, whose ends stay where they are."""
    padded = np.pad(stroke, ((reach, reach), (0, 0)), mode="edge")
    return np.mean([padded[i : i + len(stroke)] for i in range(2 * reach + 1)], axis=0)
