"""Drawings on their way into the network: points on paper, distorted in training, then encoded as movements of the pen.

Training, test and demo all pass through `encode`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.backend import Array
from core.data.quickdraw import Drawings
from core.layers import Sequences

FEATURES = 3  # dx, dy, pen lifted
UNIT = 0.1  # of the longer side of a drawing: with it movements have a deviation of about 1


@dataclass(frozen=True)
class Ink:
    """N drawings, one after the other: `xy` float32 (M, 2) with y downwards, `lifted` bool (M,) where the pen is lifted
    behind a point, `lengths` int64 (N,).
    """

    xy: Array
    lifted: Array
    lengths: Array

    @classmethod
    def of(cls, drawings: Drawings) -> Ink:
        """The ink of drawings as they are stored."""
        points = drawings.points
        return cls(points[:, :2].astype(np.float32), points[:, 2] > 0, drawings.lengths.astype(np.int64))

    @property
    def starts(self) -> Array:
        """Where each drawing begins, int64 (N,)."""
        return np.cumsum(self.lengths) - self.lengths

    def drawing_of_point(self) -> Array:
        """The number of the drawing that each point belongs to, int64 (M,)."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def box(self) -> tuple[Array, Array]:
        """The lowest and the highest x and y of each drawing, (N, 2) and (N, 2)."""
        return np.minimum.reduceat(self.xy, self.starts), np.maximum.reduceat(self.xy, self.starts)

    def keep(self, kept: Array) -> Ink:
        """Without the points where `kept`, bool (M,), is False; the pen is lifted where it was before."""
        # A lift behind a point that goes moves to the last point that stays before it.
        lifts_so_far = np.cumsum(self.lifted) - self.lifted  # (M,) lifts before each point
        places = np.flatnonzero(kept)
        drawing = self.drawing_of_point()
        following = np.append(lifts_so_far[places[1:]], np.iinfo(np.int64).max)
        return Ink(
            self.xy[kept], lifts_so_far[places] < following, np.bincount(drawing[kept], minlength=len(self.lengths))
        )


def encode(ink: Ink) -> Sequences:
    """What the network sees, float32 (N, T, 3): movement of the pen along x and y, and 1 where it is lifted behind it.

    Movements are measured in tenths of the longer side of the drawing's box; the first comes from the box's centre.
    """
    low, high = ink.box()
    size = np.maximum((high - low).max(axis=1), 1e-6) * UNIT  # (N,)
    starts = ink.starts
    features = np.empty((len(ink.xy), FEATURES), np.float32)
    features[1:, :2] = ink.xy[1:] - ink.xy[:-1]
    features[starts, :2] = ink.xy[starts] - (low + high) / 2
    features[:, :2] /= np.repeat(size, ink.lengths)[:, None]
    features[:, 2] = ink.lifted
    features[starts + ink.lengths - 1, 2] = 1  # also where the drawing was cut, or is not finished yet
    return Sequences.pack(features, ink.lengths)
