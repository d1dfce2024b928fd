"""Uploaded photographs, opened with care and turned into what the data sets look like."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from core.demo.raster import BOX, OVERSAMPLING, PEN, SIDE, mnist_style
from core.errors import UserError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 50_000_000  # a telephone's photograph; a small file can hold far more
TOO_LARGE = f"this picture has more than {MAX_PIXELS // 1_000_000} million pixels: please show a smaller one"
WORK_SIDE = 480  # pixels: photographs are shrunk to this before anything else
FAINTEST = 12  # grey levels between paper and ink, below which a picture counts as empty
GRAINY = 2  # grey levels by which half of the pixels of a grainy photograph differ from their neighbours
THINNEST = 1.8  # pixels after scaling, below which a line is thickened to the usual pen

Grey = NDArray[np.uint8]
Colour = NDArray[np.uint8]


def open_grey(path: Path | str) -> Grey:
    """Read an uploaded picture as uint8 (H, W), upright, with at most WORK_SIDE pixels a side, white where transparent.

    Raises UserError, in a line for the visitor, for what is no picture, damaged, or larger than MAX_PIXELS.
    """
    return np.asarray(_open(path, "L").convert("L"))


def open_colour(path: Path | str) -> Colour:
    """Read an uploaded picture as uint8 (H, W, 3), as `open_grey` does."""
    return np.asarray(_open(path, "RGB").convert("RGB"))


def colour_square(picture: Colour, side: int) -> Colour:
    """The middle square of a picture uint8 (H, W, 3), shrunk or enlarged to (side, side, 3)."""
    height, width = picture.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = Image.fromarray(np.ascontiguousarray(picture[top : top + edge, left : left + edge]))
    return np.asarray(square.resize((side, side), Image.Resampling.BOX if edge > side else Image.Resampling.BICUBIC))


def _open(path: Path | str, mode: str) -> Image.Image:
    """The picture as RGBA without transparency; `mode` is what it will be converted to."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is stricter
            with Image.open(path, formats=FORMATS) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise UserError(TOO_LARGE)
                if picture.mode.startswith("I"):
                    return _of_16_bits(picture).convert("RGBA")
                picture.draft(mode, (WORK_SIDE, WORK_SIDE))  # JPEG can skip most of the work
                shades = _with_shades(picture)
                shades.thumbnail((WORK_SIDE, WORK_SIDE))
                upright = ImageOps.exif_transpose(shades).convert("RGBA")
    except Image.DecompressionBombError:  # what Pillow says of far more pixels, before we can ask
        raise UserError(TOO_LARGE) from None
    except (OSError, ValueError, SyntaxError):
        raise UserError(f"this file is not a picture that can be read ({', '.join(FORMATS)})") from None
    paper = Image.new("RGBA", upright.size, "white")
    return Image.alpha_composite(paper, upright)


def _with_shades(picture: Image.Image) -> Image.Image:
    """A picture that can be shrunk by averaging: of numbered colours and of single bits Pillow keeps one in so many."""
    if picture.mode == "P":
        return picture.convert("RGBA")
    return picture.convert("L") if picture.mode == "1" else picture


def _of_16_bits(picture: Image.Image) -> Image.Image:
    """A grey picture of 16 bits a pixel, as scanners make them, in 8: Pillow's `convert` cuts off all above 255."""
    values = np.asarray(ImageOps.exif_transpose(picture))
    in_8_bits = Image.fromarray((values >> 8).clip(0, 255).astype(np.uint8))
    in_8_bits.thumbnail((WORK_SIDE, WORK_SIDE))
    return in_8_bits


def ink_of(grey: Grey) -> Grey:
    """Find the ink in a photograph of dark ink on light paper, or the reverse: uint8 (H, W), bright ink on black.

    The paper may be shaded and grainy. A picture without ink comes back black.
    """
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    dark_on_light = grey if np.median(border) > 127 else 255 - grey
    if min(grey.shape) > 4 * SIDE:  # in a small picture each pixel counts
        smooth = np.asarray(Image.fromarray(dark_on_light).filter(ImageFilter.MedianFilter(5)))
        grain = np.median(np.abs(dark_on_light.astype(np.int16) - smooth))
        dark_on_light = smooth if grain >= GRAINY else dark_on_light  # which would lose lines of 2 pixels
    depth = _paper(dark_on_light) - dark_on_light  # (H, W), grey levels
    threshold = max(_otsu(np.clip(depth, 0, 255).astype(np.uint8)), FAINTEST)
    strong = depth > threshold
    if not strong.any():
        return np.zeros_like(grey)
    near = np.asarray(Image.fromarray(strong).convert("L").filter(ImageFilter.MaxFilter(5))) > 0
    full = float(np.percentile(depth[strong], 75))
    ink = np.where(near, np.clip((depth - threshold / 2) / (full - threshold / 2), 0, 1), 0)
    return (255 * ink).astype(np.uint8)


def _paper(grey: Grey) -> NDArray[np.float64]:
    """The brightness that the paper would have without ink: a quadratic surface through the lighter pixels (H, W)."""
    height, width = grey.shape
    y, x = (v.ravel() for v in np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j])  # each (H * W,)
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)  # (H * W, 6)
    sample = slice(None, None, max(1, len(x) // 10_000))
    values, kept = grey.ravel()[sample].astype(np.float64), np.ones(len(x[sample]), bool)
    for _ in range(4):
        surface, *_ = np.linalg.lstsq(terms[sample][kept], values[kept], rcond=None)
        height_above = values - terms[sample] @ surface
        kept = height_above >= np.median(height_above)
    return np.asarray(terms @ surface).reshape(height, width)


def _otsu(values: Grey) -> int:
    """The threshold that parts the values into the two most uniform groups (Otsu 1979)."""
    counts = np.bincount(values.ravel(), minlength=256).astype(np.float64)
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * np.arange(256))
    between = (sums[-1] * below - sums * below[-1]) ** 2 / np.maximum(below * above, 1)
    return int(between.argmax())


def thick_enough(ink: Grey) -> Grey:
    """Thicken lines, uint8 (H, W), that would be thinner than THINNEST when the ink is scaled to MNIST's box."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return ink
    pixel = max(np.ptp(rows), np.ptp(columns)) / BOX  # of the result, in pixels of this picture
    solid = np.pad(ink > 127, 1)
    edges = np.count_nonzero(np.diff(solid, axis=0)) + np.count_nonzero(np.diff(solid, axis=1))
    width = 2 * np.count_nonzero(solid) / max(edges * np.pi / 4, 1)  # a slanted edge counts in both directions
    grow = 2 * round((PEN * pixel - width) / 2) + 1
    if width >= THINNEST * pixel or grow < 3:
        return ink
    return np.asarray(Image.fromarray(np.pad(ink, grow)).filter(ImageFilter.MaxFilter(grow)))


def digit_of_photo(grey: Grey) -> Grey:
    """A photographed digit as MNIST would show it: uint8 (28, 28)."""
    ink = Image.fromarray(ink_of(grey))
    box = ink.getbbox()
    if box is None:
        return mnist_style(np.asarray(ink))
    drawn = ink.crop(box)
    drawn.thumbnail((OVERSAMPLING * BOX, OVERSAMPLING * BOX))
    return mnist_style(thick_enough(np.asarray(drawn)))


def fashion_style(grey: Grey) -> Grey:
    """A photographed piece of clothing as Fashion-MNIST would show it: uint8 (28, 28), bright on black.

    Source: Xiao, Rasul, Vollgraf 2017, section 2: trim what has the colour of the corner, scale the longest edge to 28,
    sharpen, centre, negate. A picture on a dark ground is taken as negated already.
    """
    corners = np.array([grey[0, 0], grey[0, -1], grey[-1, 0], grey[-1, -1]])
    ground = int(np.median(corners))
    shown = np.abs(grey.astype(np.int16) - ground) > 0.05 * 255
    result = np.zeros((SIDE, SIDE), np.uint8)
    if not shown.any():
        return result
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    piece = Image.fromarray(grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    scale = SIDE / max(piece.size)
    size = max(1, round(piece.width * scale)), max(1, round(piece.height * scale))
    small = piece.resize(size, Image.Resampling.LANCZOS)
    if scale < 1:
        small = small.filter(ImageFilter.UnsharpMask(radius=1, percent=60, threshold=0))
    values = np.asarray(small)
    values = 255 - values if ground > 127 else values
    top, left = (SIDE - values.shape[0]) // 2, (SIDE - values.shape[1]) // 2
    result[top : top + values.shape[0], left : left + values.shape[1]] = values
    return result
