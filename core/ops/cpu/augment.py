"""A batch made of a data set of images: gathered, cropped, mirrored, holed and normalised.

On a GPU, where the whole data set fits, this is one pass. On a CPU `core.data.augment` does it, faster and with more to
choose from; this plain version says what the pass computes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.backend import Array
from core.random import Draws

__all__ = ["AUGMENT_DRAWS", "PixelAugment", "augment_images", "draw_uint16", "mirror_images"]

AUGMENT_DRAWS = 5  # of an image, at most


@dataclass(frozen=True)
class PixelAugment:
    """What happens to the pixels, as with RandomCrop, HorizontalFlip and Cutout of `core.data.augment` in that order.

    `padding` pixels come in at the border, of value `fill` or, with `reflect`, from the image mirrored there; `flip` is
    a probability; the hole has `cutout` pixels a side and the value `fill`, which compares with pixel * unit. The last
    three say from where on an image's draws are for the shift (two), the mirror (one) and the hole (two).
    """

    padding: int = 0
    reflect: bool = False
    flip: float = 0.0
    cutout: int = 0
    fill: float = 0.0
    shift_at: int = 0
    flip_at: int = 2
    hole_at: int = 3


def draw_uint16(draws: Draws, out: Array) -> None:
    """Fill out, uint16 (rows, width), with the numbers of `draws`."""
    out[...] = draws.uint16()


def augment_images(
    images: Array,
    rows: Array,
    draws: Array,
    change: PixelAugment,
    unit: float,
    mean: Array,
    inverse_std: Array,
    y: Array,
) -> None:
    """Fill y (N, H, W, C) with (pixel * unit - mean) * inverse_std of the images at `rows`, changed as drawn.

    images: uint8 (S, H, W, C); rows: int64 (N,); draws: uint16 (N, 5); mean, inverse_std: float32 (C,).
    """
    _, H, W, C = images.shape
    p = change.padding
    for n, row in enumerate(rows):
        own = draws[n].tolist()
        top, left = (draw * (2 * p + 1) // 65536 for draw in own[change.shift_at :][:2])
        pixels = images[row].astype(np.float32) * np.float32(unit)
        border = ((p, p), (p, p), (0, 0))
        padded = np.pad(pixels, border, "reflect") if change.reflect else _framed(pixels, border, change.fill)
        cropped = padded[top : top + H, left : left + W].copy()  # (H, W, C)
        if own[change.flip_at] < change.flip * 65536:
            cropped = cropped[:, ::-1]
        hole = np.zeros((H, W, C), bool)
        hole[_hole(own[change.hole_at], H, change.cutout), _hole(own[change.hole_at + 1], W, change.cutout)] = True
        y[n] = (np.where(hole, np.float32(change.fill), cropped) - mean) * inverse_std


def _hole(draw: int, length: int, size: int) -> slice:
    first = draw * length // 65536 - size // 2
    return slice(max(0, first), max(0, first + size))


def _framed(pixels: Array, border: tuple[tuple[int, int], ...], fill: float) -> Array:
    return np.pad(pixels, border, constant_values=fill)


def mirror_images(x: Array, chosen: Array) -> None:
    """Exchange left and right, in place, in the images x (N, H, W, C) where `chosen` (N,), bool, is true."""
    x[chosen] = x[chosen][:, :, ::-1]
