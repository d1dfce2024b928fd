"""Line drawings of simple shapes in the form of Quick, Draw!: stand-ins for machines without a network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from core.backend import Array
from core.data.characters import balanced_labels

Stroke = list[list[int]]  # [[x, x, ...], [y, y, ...]]
Outline = list[Array]  # strokes as (points, 2) of x and y, about -1 to 1, y downwards


def strokes(n: int, seed: int) -> tuple[list[list[Stroke]], Array]:
    """`n` drawings of the classes STROKE_CLASSES as strokes, in random order, and their labels.

    A drawing is a list of strokes [[x, ...], [y, ...]] of whole numbers from 0 to 255, scaled to touch 0 and 255 as the
    simplified Quick, Draw! data are; the labels are int64 (n,), as evenly spread as n allows. Each drawing is turned,
    stretched and shaken differently, and its strokes start in different places. The same arguments give the same.
    """
    rng = np.random.default_rng([seed, n])
    labels = balanced_labels(n, len(STROKE_CLASSES), rng)
    outlines = list(OUTLINES.values())
    return [draw(outlines[label](rng), rng) for label in labels], labels


def draw(outline: Outline, rng: np.random.Generator) -> list[Stroke]:
    """Distort an outline as a hand would, then bring it to whole numbers from 0 to 255."""
    angle, lean = rng.normal(0, 0.12, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = np.diag(np.exp(rng.normal(0, 0.15, 2))) @ np.array([[1, lean], [0, 1]])
    shaken = [points @ (stretch @ turn).T + tremor(len(points), rng) for points in outline]
    low = np.min([points.min(axis=0) for points in shaken], axis=0)
    size = max(np.max([(points - low).max() for points in shaken]), 1e-6)
    return [np.rint((points - low) / size * 255).astype(int).T.tolist() for points in shaken]


def tremor(n: int, rng: np.random.Generator) -> Array:
    """A smooth wandering of the pen for `n` points: a random walk that comes back, (n, 2)."""
    walk = np.cumsum(rng.normal(0, 0.035, (n, 2)), axis=0)
    walk -= np.linspace(0, 1, n)[:, None] * walk[-1]
    return walk


def arc(
    centre: tuple[float, float], radius: tuple[float, float], start: float, turns: float, points: int = 16
) -> Array:
    """Part of an ellipse: from the angle `start` (in turns, 0 to the right) through `turns`, clockwise if positive."""
    angle = 2 * np.pi * (start + np.linspace(0, turns, points))
    around: Array = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius
    return around + centre


def polygon(*corners: tuple[float, float], each: int = 4) -> Array:
    """The line through `corners`, with `each` points a side."""
    t = np.linspace(0, 1, each, endpoint=False)[:, None]
    sides = [a + t * (np.array(b) - a) for a, b in zip(np.array(corners), corners[1:], strict=False)]
    return np.concatenate([*sides, [corners[-1]]])


def circle(rng: np.random.Generator) -> Outline:
    return [arc((0, 0), (1, 1), rng.random(), rng.choice([-1, 1]) * rng.uniform(0.95, 1.08), 20)]


def square(rng: np.random.Generator) -> Outline:
    return [polygon((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))]


def triangle(rng: np.random.Generator) -> Outline:
    return [polygon((0, -1), (1, 0.8), (-1, 0.8), (0, -1), each=5)]


def star(rng: np.random.Generator) -> Outline:
    angle = 2 * np.pi * (np.arange(6) * 2 / 5) - np.pi / 2
    corners = [(float(x), float(y)) for x, y in zip(np.cos(angle), np.sin(angle), strict=True)]
    return [polygon(*corners, each=3)]


def spiral(rng: np.random.Generator) -> Outline:
    turns = rng.uniform(2, 3.2)
    return [arc((0, 0), (1, 1), rng.random(), turns, 36) * np.linspace(0.05, 1, 36)[:, None]]


def zigzag(rng: np.random.Generator) -> Outline:
    peaks = int(rng.integers(5, 9))
    corners = [(2 * k / peaks - 1, 0.5 * (-1) ** k) for k in range(peaks + 1)]
    return [polygon(*corners, each=3)]


def cross(rng: np.random.Generator) -> Outline:
    return [polygon((-1, 0), (1, 0), each=6), polygon((0, -1), (0, 1), each=6)]


def house(rng: np.random.Generator) -> Outline:
    walls, roof = polygon((-0.8, 0), (-0.8, 1), (0.8, 1), (0.8, 0)), polygon((-1, 0), (0, -1), (1, 0), (-1, 0))
    door = polygon((-0.2, 1), (-0.2, 0.45), (0.2, 0.45), (0.2, 1), each=2)
    return [walls, roof, door] if rng.random() < 0.5 else [roof, walls, door]


def face(rng: np.random.Generator) -> Outline:
    eyes = [arc((x, -0.3), (0.12, 0.15), rng.random(), 1, 7) for x in (-0.35, 0.35)]
    return [*circle(rng), *eyes, arc((0, 0.1), (0.5, 0.4), 0.45, -0.4, 9)]


def fish(rng: np.random.Generator) -> Outline:
    body = arc((-0.2, 0), (0.8, 0.5), 0.02, 0.96, 20)
    tail = polygon((0.55, 0.05), (1, -0.4), (1, 0.4), (0.55, -0.05), each=3)
    return [body, tail, arc((-0.65, -0.1), (0.06, 0.06), 0, 1, 6)]


OUTLINES: dict[str, Callable[[np.random.Generator], Outline]] = {
    shape.__name__: shape for shape in (circle, square, triangle, star, spiral, zigzag, cross, house, face, fish)
}
STROKE_CLASSES = tuple(OUTLINES)
