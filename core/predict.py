"""Running a trained network over many inputs."""

from __future__ import annotations

from typing import Any

from core.backend import Array, array_module
from core.layers.base import Layer
from core.layers.sequences import Sequences


def predict(model: Layer, x: Array | Sequences, batch_size: int = 512) -> Array:
    """The outputs of `model` for all rows of `x`, in batches, as an array of the caller's own: (N, ...) -> (N, ...)."""
    if batch_size < 1:
        raise ValueError(f"predict expected a positive batch_size, got {batch_size}")
    whole = len(x) <= batch_size
    batches: list[Any] = [x] if whole else [x[start : start + batch_size] for start in range(0, len(x), batch_size)]
    parts = [model.forward(batch).copy() for batch in batches]
    return parts[0] if whole else array_module(parts[0]).concatenate(parts)  # type: ignore[no-any-return]
