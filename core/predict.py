"""Running a trained network over many inputs."""

from __future__ import annotations

from core.backend import Array, array_module
from core.layers.base import Layer


def predict(model: Layer, x: Array, batch_size: int = 512) -> Array:
    """The outputs of `model` for all rows of `x`, in batches, as an array of the caller's own: (N, ...) -> (N, ...)."""
    if batch_size < 1:
        raise ValueError(f"predict expected a positive batch_size, got {batch_size}")
    parts = [model.forward(x[start : start + batch_size]).copy() for start in range(0, max(1, len(x)), batch_size)]
    return array_module(x).concatenate(parts)  # type: ignore[no-any-return]
