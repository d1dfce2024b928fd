"""Softmax cross-entropy and its gradient."""

from __future__ import annotations

from typing import Any

from core.backend import Array, array_module

__all__ = ["accuracy", "softmax_cross_entropy"]


def accuracy(logits: Array, labels: Array) -> Any:
    """See `core.losses.accuracy`."""
    return (logits.argmax(axis=1) == labels).mean()


def softmax_cross_entropy(
    logits: Array, labels: Array, label_smoothing: float, temperature: float, class_weights: Array | None
) -> tuple[Any, Array]:
    """See `core.losses.softmax_cross_entropy`."""
    if class_weights is not None:
        return _weighted_cross_entropy(logits, labels, label_smoothing, temperature, class_weights)
    xp = array_module(logits)
    if logits.dtype == xp.float16:  # in which the sums below would overflow
        loss, dlogits = softmax_cross_entropy(logits.astype(xp.float32), labels, label_smoothing, temperature, None)
        return loss, dlogits.astype(xp.float16)
    N, C = logits.shape
    at_label = (xp.arange(N), labels)  # a label beyond C - 1 is an IndexError here
    shifted = logits / temperature if temperature != 1 else logits.copy(order="C")
    shifted -= shifted.max(axis=1, keepdims=True)
    wanted = (1 - label_smoothing) * shifted[at_label].sum()
    if label_smoothing:
        wanted += label_smoothing / C * shifted.sum()
    dlogits = xp.exp(shifted, out=shifted)  # (N, C)
    total = dlogits.sum(axis=1, keepdims=True)  # (N, 1)
    loss = (xp.log(total).sum() - wanted) / N
    total *= N * temperature
    dlogits /= total
    if label_smoothing:
        dlogits -= label_smoothing / (C * N * temperature)
    dlogits[at_label] -= (1 - label_smoothing) / (N * temperature)
    return loss, dlogits


def _weighted_cross_entropy(
    logits: Array, labels: Array, label_smoothing: float, temperature: float, weights: Array
) -> tuple[Any, Array]:
    """With a_c = q_c w_c and W the sum of the labels' weights: -sum a_c log p_c / W, and (p sum_c a_c - a) / (W T)."""
    N, C = logits.shape
    xp = array_module(logits)
    at_label, weight_of_label = (xp.arange(N), labels), weights[labels]  # (N,)
    total = weight_of_label.sum()
    target = xp.empty_like(logits)  # (N, C) a / W
    target[...] = weights * (label_smoothing / C)
    target[at_label] += (1 - label_smoothing) * weight_of_label
    target /= total
    scaled = logits / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    log_p = scaled - xp.log(xp.exp(scaled).sum(axis=1, keepdims=True))  # (N, C)
    loss = -(target * xp.where(target > 0, log_p, 0)).sum()  # a class that is ruled out by -infinity costs nothing
    dlogits = xp.exp(log_p)
    dlogits *= target.sum(axis=1, keepdims=True)
    dlogits -= target
    dlogits /= temperature
    return loss, dlogits
