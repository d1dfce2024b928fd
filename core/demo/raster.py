"""From strokes or a photograph to the 28 x 28 pixels of MNIST: what a network trained on MNIST must be shown.

MNIST's own recipe (LeCun et al. 1998, section III.A): the digit is scaled, keeping its proportions, to a box of
20 x 20 pixels with antialiasing, and then placed so that its centre of mass lies at the centre of the image. In the
files that place is pixel (14, 14), reached by whole pixels: the centres of mass of all 60,000 training images lie
within half a pixel of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from core.demo.strokes import Stroke

SIDE, BOX, CENTRE = 28, 20, 14
PEN = 2.4  # pixels: with it, digits of MNIST traced to strokes get the mean ink and stroke width of the originals
OVERSAMPLING = 8  # strokes are drawn this much larger than they end up

Picture = NDArray[np.uint8]


def rasterise(strokes: Sequence[Stroke], pen: float = PEN) -> Picture:
    """Draw strokes, each (P, 2), with a round pen as MNIST would show them: uint8 (28, 28), bright ink on black.

    `pen` is the width in pixels of the result, whatever the size of the drawing, so a small digit does not come out
    fat and a large one does not come out thin. No strokes give a black image.
    """
    return mnist_style(draw(strokes, pen)) if strokes else np.zeros((SIDE, SIDE), np.uint8)


def draw(strokes: Sequence[Stroke], pen: float = PEN, box: float = BOX, oversampling: int = OVERSAMPLING) -> Picture:
    """Draw strokes large, so that with their pen they just fill a square of `box` pixels times `oversampling`.

    Returns uint8 (H, W) of 0 and 255, cropped to the ink.
    """
    points = np.concatenate(list(strokes))  # (P, 2)
    low, extent = points.min(axis=0), float(np.ptp(points, axis=0).max())
    scale = (box - pen) / extent if extent > 0 else 0.0  # a single dot stays a dot
    radius = pen / 2 * oversampling
    width, height = (np.ptp(points, axis=0) * scale * oversampling + 2 * radius).astype(int) + 2
    image = Image.new("L", (int(width), int(height)))
    pencil = ImageDraw.Draw(image)
    for stroke in strokes:
        path = (stroke - low) * scale * oversampling + radius  # (P, 2)
        pencil.line([tuple(point) for point in path], fill=255, width=round(2 * radius))
        for x, y in path:  # round ends and joints
            pencil.ellipse((x - radius, y - radius, x + radius - 1, y + radius - 1), fill=255)  # both ends included
    return np.asarray(image)


def mnist_style(ink: Picture) -> Picture:
    """Scale a picture of bright ink on black, uint8 (H, W), to MNIST's 20 x 20 box and centre it: uint8 (28, 28).

    A picture without ink gives a black image.
    """
    if ink.ndim != 2 or ink.dtype != np.uint8:
        raise ValueError(f"mnist_style expected uint8 (H, W), got {ink.dtype} {ink.shape}")
    result = np.zeros((SIDE, SIDE), np.uint8)
    if not ink.any():
        return result
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    cropped = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    scale = BOX / max(cropped.size)
    size = max(1, round(cropped.width * scale)), max(1, round(cropped.height * scale))
    # Of Pillow's antialiasing filters the cubic one comes closest to MNIST's share of black, grey and white pixels.
    small = np.asarray(cropped.resize(size, Image.Resampling.BICUBIC))  # (h, w)
    height, width = small.shape
    mass = small.sum(dtype=np.float64)
    top = CENTRE - small.sum(axis=1) @ np.arange(height) / mass
    left = CENTRE - small.sum(axis=0) @ np.arange(width) / mass
    y, x = (int(np.clip(round(start), 0, SIDE - length)) for start, length in ((top, height), (left, width)))
    result[y : y + height, x : x + width] = small
    return result
