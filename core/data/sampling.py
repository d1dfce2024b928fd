"""Bilinear sampling of image batches on freely placed points: the one inner loop of every geometric augmentation."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from core.backend import Array
from core.data.thread_buffers import ThreadBuffers

Border = Literal["constant", "edge", "reflect"]


def check_border(border: str) -> None:
    """ValueError for a border that `sample_bilinear` does not know."""
    if border not in get_args(Border):
        raise ValueError(f"expected border {', '.join(get_args(Border))}, got {border!r}")


def sample_bilinear(
    images: Array, rows: Array, columns: Array, out: Array, work: ThreadBuffers, border: Border, fill: float
) -> None:
    """Write into `out` the images read at the points (rows, columns), interpolated between the four nearest pixels.

    `images` and `out` are (n, H, W, C), float32, and may be the same array; `rows` and `columns` are (n, H, W), in
    pixels with 0 at the centre of the first pixel, and are overwritten. With b = the fractional parts,

        value = (1 - by) ((1 - bx) p00 + bx p01) + by ((1 - bx) p10 + bx p11)

    Outside the image there are pixels of value `fill` ("constant"), the nearest border pixel ("edge"), or the image
    mirrored at the centre of its border pixels ("reflect", good for points less than one image away).
    """
    n, H, W, C = images.shape
    bring_inside(rows, H, border)
    bring_inside(columns, W, border)
    padded = pad_planes(images, fill, work)  # (C, n, H + 3, W + 3)
    stride = W + 3

    top = np.floor(rows, out=work.array("top", (n, H, W)))
    left = np.floor(columns, out=work.array("left", (n, H, W)))
    rows -= top  # from here on the fractional parts
    columns -= left
    # Where the upper left of the four pixels lies within the padded image, exact in float32 up to 2**24 pixels.
    top *= stride
    top += left
    corner = work.array("corner", (n, H, W), np.intp)
    np.copyto(corner, top, casting="unsafe")
    corner += np.arange(stride + 1, n * (H + 3) * stride, (H + 3) * stride)[:, None, None]

    p00, p01 = work.array("p00", (n, H, W)), work.array("p01", (n, H, W))
    p10, p11 = top, left
    for channel in range(C):
        plane = padded[channel].reshape(-1)
        # mode="clip" spares take a second, buffered copy; every index is valid
        np.take(plane, corner, out=p00, mode="clip")
        np.take(plane[1:], corner, out=p01, mode="clip")
        np.take(plane[stride:], corner, out=p10, mode="clip")
        np.take(plane[stride + 1 :], corner, out=p11, mode="clip")
        interpolate(p00, p01, columns)
        interpolate(p10, p11, columns)
        interpolate(p00, p10, rows)
        out[..., channel] = p00


def interpolate(a: Array, b: Array, t: Array) -> None:
    """a <- a + t (b - a), element by element; b is overwritten. Exactly a where t is 0."""
    b -= a
    b *= t
    a += b


def bring_inside(coordinates: Array, size: int, border: Border) -> None:
    """Move coordinates, in place, to where the padded image of `sample_bilinear` has pixels."""
    last = size - 1
    if border == "constant":
        np.clip(coordinates, -1, size, out=coordinates)
        return
    if border == "reflect":
        np.abs(coordinates, out=coordinates)
        np.subtract(last, coordinates, out=coordinates)
        np.abs(coordinates, out=coordinates)
        np.subtract(last, coordinates, out=coordinates)
    np.clip(coordinates, 0, last, out=coordinates)


def pad_planes(images: Array, fill: float, work: ThreadBuffers) -> Array:
    """The channels as separate planes within a frame of `fill`: one pixel above and left, two below and right."""
    n, H, W, C = images.shape
    padded = work.array("padded", (C, n, H + 3, W + 3))
    padded[...] = fill
    padded[:, :, 1 : H + 1, 1 : W + 1] = images.transpose(3, 0, 1, 2)
    return padded
