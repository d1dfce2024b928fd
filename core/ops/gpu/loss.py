"""Softmax cross-entropy and its gradient on a GPU, in one pass; see `core/kernels/loss.cu`."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.backend import Array, array_module
from core.kernels import THREADS, blocks_for, launch
from core.ops.gpu.norm import WARPS, room_for_sums

__all__ = ["accuracy", "softmax_cross_entropy"]


def softmax_cross_entropy(
    logits: Array, labels: Array, label_smoothing: float, temperature: float, class_weights: Array | None
) -> tuple[Any, Array]:
    """See `core.losses.softmax_cross_entropy`; a label that is no class makes the loss not a number."""
    xp = array_module(logits)
    logits = xp.ascontiguousarray(logits)
    dlogits, loss = xp.empty_like(logits), xp.empty((), logits.dtype)
    labels = _indices(labels)
    launch(
        "softmax_cross_entropy_forward",
        max(1, blocks_for(len(logits), WARPS)),
        THREADS,
        logits=logits,
        labels=labels,
        weights=None if class_weights is None else xp.ascontiguousarray(class_weights),
        weight_total=None if class_weights is None else class_weights[labels].sum(keepdims=True),
        loss=loss,
        dlogits=dlogits,
        smoothing=label_smoothing,
        temperature=temperature,
        **room_for_sums(loss),
    )
    return loss, dlogits


def accuracy(logits: Array, labels: Array) -> Any:
    """See `core.losses.accuracy`; a label that is no class counts as wrong."""
    xp = array_module(logits)
    share = xp.empty((), logits.dtype)
    launch(
        "accuracy_forward",
        max(1, blocks_for(len(logits), WARPS)),
        THREADS,
        logits=xp.ascontiguousarray(logits),
        labels=_indices(labels),
        share=share,
        **room_for_sums(share),
    )
    return share


def _indices(labels: Array) -> Array:
    """As the kernels take them."""
    indices: Array = array_module(labels).ascontiguousarray(labels, np.int64)
    return indices
