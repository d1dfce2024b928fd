"""Mixed precision: what lies between float16, in which layers compute, and the precision in which weights are kept."""

from __future__ import annotations

import numpy as np

from core.backend import Array, array_module

__all__ = ["cast", "unscale"]


def cast(x: Array, y: Array) -> None:
    """y = x, rounded to the nearest number that y can hold; one of the two is float16, the other float32."""
    with np.errstate(over="ignore"):  # what is too large becomes infinite
        y[...] = x


def unscale(grad: Array, scale: Array, overflow: Array) -> None:
    """grad /= scale; overflow[0] = 1 if any element of grad is not finite, else it stays as it is.

    grad: (N,); scale: (1,) the factor of the loss; overflow: int32 (1,). Micikevicius et al. 2018, arXiv:1710.03740,
    section 3.2: a step whose gradient overflowed is left out, and the scale halved.
    """
    xp = array_module(grad)
    grad *= 1 / scale
    xp.maximum(overflow, ~xp.isfinite(grad).all(), out=overflow, casting="unsafe")
