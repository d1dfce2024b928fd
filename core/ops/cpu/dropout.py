"""Dropout."""

from __future__ import annotations

from core.backend import Array, array_module
from core.ops.cpu.blocks import blocks
from core.random import Draws

__all__ = ["dropout_backward", "dropout_forward"]

LEVELS = 2**16  # the draws are 16-bit integers: the rate is exact to 1 / 65,536


def dropout_forward(x: Array, draws: Draws, rate: float, mask: Array, y: Array) -> None:
    """y = x * mask, where mask is 0 with probability `rate` and 1 / (1 - rate) otherwise.

    x, mask, y: (N, D), and as many draws. Dividing by the share that is kept ("inverted" dropout, Srivastava et al.
    2014, section 10) keeps the expectation, so that inference needs no change.
    """
    xp = array_module(x)
    first_kept, scale = first_kept_and_scale(rate)
    xp.multiply(draws.uint16() >= first_kept, x.dtype.type(scale), out=mask)
    xp.multiply(x, mask, out=y)


def first_kept_and_scale(rate: float) -> tuple[int, float]:
    """From which draw on elements are kept, at least for the last one, and what these are multiplied by."""
    first_kept = min(round(rate * LEVELS), LEVELS - 1)
    return first_kept, LEVELS / (LEVELS - first_kept)


def dropout_backward(dy: Array, mask: Array, dx: Array) -> None:
    """dx = dy * mask."""
    xp = array_module(dy)
    for dy_part, mask_part, dx_part in blocks(dy, mask, dx):
        xp.multiply(dy_part, mask_part, out=dx_part)
