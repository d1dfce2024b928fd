"""From a drawing or a photograph of a two-digit number to the 28 x 56 pixels that the network was trained on.

Each digit of the training data was scaled and centred by itself, as MNIST does. So the two digits are told apart first,
and each is then prepared like a single one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnn_mnist100.pairs import HEIGHT, WIDTH
from core.demo.examples import DIGITS
from core.demo.raster import Picture, rasterise
from core.demo.strokes import Stroke
from core.demo.upload import Grey, digit_of_photo, ink_of

OVERLAP = 0.25  # of the narrower part: groups of strokes that overlap more than this are one digit
JOINED = 1.2  # times as wide as high, from which on one group of strokes is two joined digits
NEXT_DIGIT = 62  # units from one example digit to the next


def number_from_strokes(strokes: Sequence[Stroke]) -> Picture:
    """Draw a two-digit number as MNIST would show its digits side by side: uint8 (28, 56).

    A drawing that is no more than one digit yet gives a black picture.
    """
    parts = part_strokes(strokes)
    return np.zeros((HEIGHT, WIDTH), np.uint8) if parts is None else np.hstack([rasterise(part) for part in parts])


def part_strokes(strokes: Sequence[Stroke]) -> tuple[list[Stroke], list[Stroke]] | None:
    """The strokes (P, 2) of the left and of the right digit; None if there are none, or they look like a single digit.

    They are parted where the gap between the strokes to the left and those to the right is widest. Digits that were
    written in one go are cut in the middle, where the pen crosses least.
    """
    by_place = sorted(strokes, key=lambda stroke: float(stroke[:, 0].min() + stroke[:, 0].max()))
    cuts = [(by_place[:k], by_place[k:]) for k in range(1, len(by_place))]
    if cuts:
        left, right = max(cuts, key=lambda cut: _gap(*cut))
        if _gap(left, right) > -OVERLAP * min(_size(left)[0], _size(right)[0]):
            return left, right
    width, height = _size(strokes) if strokes else (0.0, 0.0)
    return _cut_in_the_middle(strokes) if width > JOINED * height else None


def _gap(left: Sequence[Stroke], right: Sequence[Stroke]) -> float:
    """How far the right strokes begin beyond the end of the left ones; below 0 where they overlap."""
    return float(min(stroke[:, 0].min() for stroke in right) - max(stroke[:, 0].max() for stroke in left))


def _size(strokes: Sequence[Stroke]) -> tuple[float, float]:
    width, height = np.ptp(np.concatenate(list(strokes)), axis=0)
    return float(width), float(height)


def _cut_in_the_middle(strokes: Sequence[Stroke]) -> tuple[list[Stroke], list[Stroke]]:
    """Cut strokes at that x of the middle third which they cross least often, the most central one if several do."""
    points = np.concatenate(list(strokes))
    low, width = points[:, 0].min(), np.ptp(points[:, 0])
    candidates = low + width * (0.5 + np.array([0.0, *np.ravel([[s, -s] for s in np.linspace(0.01, 0.16, 16)])]))
    crossings = [sum(np.count_nonzero(np.diff(stroke[:, 0] > x)) for stroke in strokes) for x in candidates]
    x = candidates[int(np.argmin(crossings))]
    left: list[Stroke] = []
    right: list[Stroke] = []
    for stroke in strokes:
        for piece in np.split(stroke, np.flatnonzero(np.diff(stroke[:, 0] > x)) + 1):
            (right if piece[0, 0] > x else left).append(piece)
    return left, right


def number_from_photo(grey: Grey) -> Picture:
    """A photographed two-digit number as MNIST would show its digits side by side: uint8 (28, 56).

    It is cut where its middle half has the least ink. A picture without ink comes back black.
    """
    ink = ink_of(grey).sum(axis=0, dtype=np.int64)  # (W,) of each column
    columns = np.flatnonzero(ink)
    if not len(columns):
        return np.zeros((HEIGHT, WIDTH), np.uint8)
    first, last = columns[[0, -1]]
    quarter = (last - first) // 4
    middle = ink[first + quarter : last - quarter + 1]
    emptiest = np.flatnonzero(middle == middle.min())
    cut = int(first + quarter + emptiest[len(emptiest) // 2])
    return np.hstack([digit_of_photo(part) for part in (grey[:, : max(cut, 1)], grey[:, cut:])])


def example(number: int) -> list[Stroke]:
    """A number drawn by hand, to click and to test with."""
    tens, units = divmod(number, 10)
    return [*DIGITS[tens], *(stroke + np.array([NEXT_DIGIT, 0]) for stroke in DIGITS[units])]
