"""Augmentation: the same drawing by another hand. Every distortion has its own flag."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core.backend import Array
from core.data.quickdraw import MIN_POINTS
from rnn_doodles.ink import Ink


@dataclass(frozen=True)
class Augment:
    """Distorts drawings at random; 0 switches a distortion off."""

    rotate: float = 0.0
    """Largest rotation, in degrees."""
    stretch: float = 0.0
    """Largest change of one side against the other, as a fraction."""
    jitter: float = 0.0
    """Deviation of the noise on each point, as a fraction of the drawing's longer side."""
    drop_strokes: float = 0.0
    """Share of the strokes left out."""
    drop_points: float = 0.0
    """Share of the points left out, so that lines are sampled otherwise."""
    flip: bool = False
    """Mirror every other drawing left to right."""

    def __call__(self, ink: Ink, rng: np.random.Generator) -> Ink:
        """The distorted drawings; `rng` decides how."""
        ink = replace(ink, xy=self._move(ink, rng))
        if self.drop_strokes:
            ink = _thin(ink, _each_stroke(ink, rng) >= self.drop_strokes)
        if self.drop_points:
            ink = _thin(ink, (rng.random(len(ink.xy)) >= self.drop_points) | ink.lifted)
        return ink

    def _move(self, ink: Ink, rng: np.random.Generator) -> Array:
        """The points (M, 2) turned, stretched, mirrored and shaken around the middle of each drawing."""
        N = len(ink.lengths)
        angle = np.deg2rad(self.rotate) * rng.uniform(-1, 1, N)
        stretch = np.exp(np.log1p(self.stretch) * rng.uniform(-1, 1, N) / 2)
        mirror = np.where(self.flip & (rng.random(N) < 0.5), -1.0, 1.0)
        cos, sin = np.cos(angle), np.sin(angle)
        maps = np.array([[cos * stretch * mirror, sin * stretch * mirror], [-sin / stretch, cos / stretch]])
        maps = maps.transpose(2, 0, 1).astype(np.float32)  # (N, 2, 2)
        low, high = ink.box()
        drawing = ink.drawing_of_point()
        xy = np.einsum("mi,mij->mj", ink.xy - ((low + high) / 2)[drawing], maps[drawing])
        if self.jitter:
            size = (high - low).max(axis=1)[drawing]
            xy += rng.standard_normal(xy.shape, np.float32) * (self.jitter * size[:, None])
        return xy


def _each_stroke(ink: Ink, rng: np.random.Generator) -> Array:
    """A random number from 0 to 1 for each point, the same for all points of a stroke, float64 (M,)."""
    ends = ink.lifted.copy()
    ends[ink.starts + ink.lengths - 1] = True
    stroke = np.cumsum(ends) - ends  # (M,)
    return rng.random(stroke[-1] + 1)[stroke]


def _thin(ink: Ink, kept: Array) -> Ink:
    """Leave points out, but none of a drawing of which too little would be left."""
    drawing = ink.drawing_of_point()
    enough = np.bincount(drawing[kept], minlength=len(ink.lengths)) >= MIN_POINTS
    return ink.keep(kept | ~enough[drawing])
