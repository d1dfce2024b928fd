"""Pictures of single characters: read from PNG files, and brought to EMNIST's place and size."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from core.errors import UserError

SIDE, BOX = 28, 24
BLUR = 0.3  # pixels: with it, traced characters of EMNIST get as many grey pixels as the originals
VISIBLE = 40  # grey levels: fainter pixels are the soft edge of a stroke, which may lie outside the box

Picture = NDArray[np.uint8]


def read_grey_png(data: bytes, name: str, shape: tuple[int, int]) -> Picture:
    """A PNG file's content as uint8 (H, W); UserError, which begins with `name`, for anything but a PNG of `shape`."""
    height, width = shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is checked before decoding
            with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
                if picture.size != (width, height):
                    raise UserError(f"{name}: {picture.width} x {picture.height} pixels, expected {width} x {height}")
                return np.asarray(picture.convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise UserError(f"{name}: not a PNG picture that can be read") from None


def emnist_style(ink: Picture) -> Picture:
    """Scale bright ink on black, uint8 (H, W), to EMNIST's 24 x 24 box in the middle of a picture: uint8 (28, 28).

    Source: Cohen et al. 2017, section II.B: the region of the character, keeping its proportions, centred, with two
    pixels of padding, by bicubic interpolation. A picture without ink gives a black one.
    """
    if ink.ndim != 2 or ink.dtype != np.uint8:
        raise ValueError(f"emnist_style expected uint8 (H, W), got {ink.dtype} {ink.shape}")
    return np.asarray(Image.fromarray(centred(scaled(ink, BOX))).filter(ImageFilter.GaussianBlur(BLUR)))


def scaled(ink: Picture, box: int) -> Picture:
    """The ink of a picture (H, W), cropped and scaled so that its longer side has `box` pixels."""
    cropped = crop(ink)
    scale = box / max(*cropped.shape, 1)
    height, width = (max(1, round(length * scale)) for length in cropped.shape)
    if not cropped.size:
        return cropped
    return np.asarray(Image.fromarray(cropped).resize((width, height), Image.Resampling.BICUBIC))


def centred(ink: Picture) -> Picture:
    """The ink of a picture, at most 28 pixels high and wide, in the middle of a black one: uint8 (28, 28)."""
    cropped = crop(ink)
    result = np.zeros((SIDE, SIDE), np.uint8)
    top, left = ((SIDE - length) // 2 for length in cropped.shape)
    result[top : top + cropped.shape[0], left : left + cropped.shape[1]] = cropped
    return result


def crop(ink: Picture) -> Picture:
    """What remains of a picture (H, W) without its empty borders; (0, 0) where there is no ink."""
    rows, columns = np.flatnonzero((ink > VISIBLE).any(axis=1)), np.flatnonzero((ink > VISIBLE).any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else ink[:0, :0]
