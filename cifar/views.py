"""Several views of an image: its mirror image, and the image moved by a pixel."""

from __future__ import annotations

from typing import Literal

from core import ops
from core.backend import Array, array_module
from core.layers import Layer
from core.predict import predict

Views = Literal[1, 2, 6]
BATCH = 512


def mirror(x: Array, chosen: Array) -> None:
    """Exchange left and right, in place, in the images x (N, H, W, C) where `chosen` (N,) is true."""
    ops.of(x).mirror_images(x, chosen)


def answer_in_views(model: Layer, x: Array, views: int = 1) -> Array:
    """The mean of the logits (N, classes) that the model gives to so many views of images x (N, H, W, C).

    2: the image and its mirror image. 6: the same for the image, which counts twice, and for it moved by a pixel up and
    to the left, and down and to the right, with mirrored borders (Jordan, arXiv:2404.00498, section 3.5).
    """
    if views == 1:
        return predict(model, x, BATCH)
    logits = _both_sides(model, x)
    if views == 6:
        moved = [_both_sides(model, moved_by_one(x, direction)) for direction in (1, -1)]
        logits = 0.5 * logits + 0.25 * (moved[0] + moved[1])
    return logits


def _both_sides(model: Layer, x: Array) -> Array:
    xp = array_module(x)
    mirrored = xp.ascontiguousarray(x[:, :, ::-1])
    return 0.5 * (predict(model, x, BATCH) + predict(model, mirrored, BATCH))


def moved_by_one(x: Array, direction: int) -> Array:
    """Images (N, H, W, C) moved by one pixel down and to the right (1), or up and to the left (-1)."""
    xp = array_module(x)
    H, W = x.shape[1:3]
    # Before the first row comes the second one again, and behind the last the one before it.
    rows, columns = (xp.abs(xp.arange(size) - direction) for size in (H, W))
    rows, columns = xp.minimum(rows, 2 * H - 2 - rows), xp.minimum(columns, 2 * W - 2 - columns)
    moved: Array = x[:, rows][:, :, columns]
    return moved
