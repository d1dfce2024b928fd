"""Mixed precision: what lies between float16, in which layers compute, and the precision in which weights are kept."""

from __future__ import annotations

import numpy as np

from core.backend import Array, array_module

__all__ = ["cast", "unscale"]


def cast(x: Array, y: Array, factor: float = 1.0) -> None:
    """y = factor * x, rounded to the nearest number that y can hold; one of the two is float16, the other float32."""
    with np.errstate(over="ignore"):  # what is too large becomes infinite
        y[...] = x.astype(np.float32, copy=False) * np.float32(factor)


def unscale(grad: Array, factor: float, overflow: Array) -> None:
    """grad *= factor; overflow[0] = 1 if any element is not finite, else it stays as it is.

    grad: float32 (N,); overflow: int32 (1,). See `core.layers.mixed`.
    """
    xp = array_module(grad)
    grad *= factor
    xp.maximum(overflow, ~xp.isfinite(grad).all(), out=overflow, casting="unsafe")
