"""From the strokes of a line of writing to 28 x 28 pictures of its symbols.

Characters and signs were learned from two data sets of different looks: EMNIST's characters are soft and leave a
margin, the signs of BHMSDS are hard-edged and fill the picture. What a stroke on the pad will turn out to be is not
known before it is read, so each symbol is drawn in both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.data.ink import BOX, SIDE, Picture, centred, emnist_style, scaled
from core.demo.examples import DIGITS
from core.demo.raster import draw
from core.demo.strokes import Stroke

PEN = 2.65  # pixels: with it, traced characters of EMNIST get the mean ink of the originals
SIGN_PEN = 2.5  # pixels: the mean stroke of BHMSDS
TOGETHER = 0.35  # of the narrower one: strokes that overlap more than this belong to one symbol
LOW = 0.7  # of the height of the line, from which on a dot separates decimals
SPACE = 14  # units between the symbols of an example

ONE = [np.array([[54.0, 12], [50, 50], [47, 88]])]  # without a flag, as in EMNIST

# Points of operators on a pad of 100 x 100; "x" is not among them, because it is a letter too.
OPERATORS: dict[str, list[Stroke]] = {
    "+": [np.array([[30.0, 52], [72, 50]]), np.array([[51.0, 30], [50, 73]])],
    "-": [np.array([[30.0, 52], [72, 51]])],
    "/": [np.array([[68.0, 14], [34, 88]])],
    "*": [np.array([[49.0, 49], [52, 50], [52, 53], [49, 53], [49, 49]])],
}


@dataclass(frozen=True)
class Symbol:
    """One symbol: as a character and as a sign, each uint8 (28, 28), and where its middle is, from 0 (top) to 1."""

    as_character: Picture
    as_sign: Picture
    strokes: list[Stroke]
    middle: float

    @property
    def is_low(self) -> bool:
        """Whether it stands at the foot of the line, as a decimal point does."""
        return self.middle > LOW

    @property
    def lean(self) -> float:
        """How far it leans to the right: from its lowest to its highest point, width over height."""
        points = np.concatenate(self.strokes)
        x, y = points[points[:, 1].argmin()] - points[points[:, 1].argmax()]
        return float(x / max(-y, 1e-9))


def part(strokes: Sequence[Stroke], pen: float) -> list[Symbol]:
    """The symbols of a line of writing, each stroke (P, 2), from left to right. `pen` is the width of the shown line.

    Strokes belong together where one lies above the other for more than TOGETHER of the narrower one's width, such as
    the two of a plus.
    """
    groups = [_Group([stroke], pen) for stroke in sorted(strokes, key=lambda stroke: float(stroke[:, 0].min()))]
    merged = True
    while merged:  # a merged group is wider, and may now reach a third one
        merged = False
        for place in range(len(groups) - 1, 0, -1):
            before = [other for other in groups[:place] if other.overlap(groups[place]) > TOGETHER]
            if before:
                before[-1].absorb(groups.pop(place))
                merged = True
    groups.sort(key=lambda group: group.low[0] + group.high[0])
    if not groups:
        return []
    top, bottom = min(group.low[1] for group in groups), max(group.high[1] for group in groups)
    height = max(bottom - top, 1e-9)
    middles = [float((group.low[1] + group.high[1]) / 2 - top) / height for group in groups]
    return [
        Symbol(as_character(group.strokes, pen), as_sign(group.strokes, pen), group.strokes, middle)
        for group, middle in zip(groups, middles, strict=True)
    ]


class _Group:
    """Strokes of one symbol, and the box around them and their ink."""

    def __init__(self, strokes: list[Stroke], pen: float) -> None:
        points = np.concatenate(strokes)
        self.strokes = strokes
        self.low, self.high = points.min(axis=0) - pen / 2, points.max(axis=0) + pen / 2

    def overlap(self, other: _Group) -> float:
        """How much of the narrower group's width the two share; below 0 where they are apart."""
        shared = min(self.high[0], other.high[0]) - max(self.low[0], other.low[0])
        return float(shared / min(self.high[0] - self.low[0], other.high[0] - other.low[0]))

    def absorb(self, other: _Group) -> None:
        self.strokes = [*self.strokes, *other.strokes]
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)


def as_character(strokes: Sequence[Stroke], pen: float) -> Picture:
    """Strokes (P, 2) as EMNIST shows a character: uint8 (28, 28)."""
    return emnist_style(_draw(strokes, pen, PEN, BOX))


def as_sign(strokes: Sequence[Stroke], pen: float) -> Picture:
    """Strokes (P, 2) as BHMSDS shows a sign, with hard edges and no margin: uint8 (28, 28)."""
    soft = centred(scaled(_draw(strokes, pen, SIGN_PEN, SIDE), SIDE))
    return np.asarray(np.where(soft > 127, 255, 0), np.uint8)


def _draw(strokes: Sequence[Stroke], pen: float, usual: float, box: int) -> Picture:
    """Draw with the `usual` pen of pictures whose ink fills `box` pixels, or with that of the drawing if it is wider.

    So a dot, which is nothing but pen, becomes a blob, as it is in BHMSDS.
    """
    extent = float(np.ptp(np.concatenate(list(strokes)), axis=0).max())
    return draw(strokes, max(usual, pen * box / (extent + pen)), box=box)


def example(text: str) -> list[Stroke]:
    """An expression such as 12+7, drawn by hand, to click and to test with."""
    strokes: list[Stroke] = []
    right = 0.0
    for character in text:
        drawn = OPERATORS.get(character) or (ONE if character == "1" else DIGITS[int(character)])
        left = min(stroke[:, 0].min() for stroke in drawn)
        moved = [stroke + np.array([right - left, 0]) for stroke in drawn]
        right = max(stroke[:, 0].max() for stroke in moved) + SPACE
        strokes += moved
    return strokes
