"""Mixed precision on a GPU; see `core/kernels/mixed.cu`."""

from __future__ import annotations

import numpy as np

from core.backend import Array
from core.kernels import THREADS, blocks_for, launch

__all__ = ["cast", "unscale"]


def cast(x: Array, y: Array, factor: float = 1.0) -> None:
    """See `core.ops.cpu.mixed`, as for all below."""
    name = "cast_to_half" if y.dtype == np.float16 else "cast_from_half"
    launch(name, blocks_for(x.size), THREADS, x=x, y=y, factor=factor)


def unscale(grad: Array, factor: float, overflow: Array) -> None:
    """grad *= factor; overflow[0] = 1 if any element is not finite."""
    launch("unscale_backward", blocks_for(grad.size), THREADS, grad=grad, overflow=overflow, factor=factor)
