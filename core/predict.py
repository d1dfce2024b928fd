"""Running a trained network over many inputs."""

from __future__ import annotations

from typing import Any

from core.backend import Array, array_module
from core.layers.base import Layer
from core.layers.sequences import Sequences


def predict(model: Layer, x: Array | Sequences, batch_size: int = 512) -> Array:
    """The outputs of `model` for all rows of `x`, in batches, as an array of the caller's own: (N, ...) -> (N, ...).

    Of a model whose outputs are `Sequences` it returns such, (N, T, ...). Raises ValueError for a batch_size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"predict expected a positive batch_size, got {batch_size}")
    rows: Any = x
    if len(rows) <= batch_size:
        return model.forward(rows).copy()  # type: ignore[no-any-return]
    parts = [model.forward(rows[start : start + batch_size]).copy() for start in range(0, len(rows), batch_size)]
    if isinstance(parts[0], Sequences):
        return Sequences.join(parts)  # type: ignore[return-value]
    return array_module(parts[0]).concatenate(parts)  # type: ignore[no-any-return]
