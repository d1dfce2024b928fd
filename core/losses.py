"""Losses: each returns its value and the gradient with respect to its first argument, in one call.

The value is the mean over the batch, as a scalar on the device of the inputs; nothing is copied to the host.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from core import ops
from core.backend import Array, array_module, on_cpu
from core.checks import expect_in

LossFunction: TypeAlias = Callable[[Array, Array], tuple[Any, Array]]  # of outputs and targets, e.g. logits and labels


def softmax(logits: Array, temperature: float = 1.0) -> Array:
    """Probabilities exp(z / T) / sum exp(z / T) along the last axis; logits (..., C) -> (..., C)."""
    (temperature,) = expect_in("(0, inf)", "softmax", temperature=temperature)
    xp = array_module(logits)
    scaled = logits / temperature if temperature != 1 else logits
    powers = xp.exp(scaled - scaled.max(axis=-1, keepdims=True))  # a shift changes nothing and avoids overflow
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers  # type: ignore[no-any-return]


def softmax_cross_entropy(
    logits: Array,
    labels: Array,
    label_smoothing: float = 0.0,
    temperature: float = 1.0,
    class_weights: Array | None = None,
) -> tuple[Any, Array]:
    """Mean of -sum_c q_c log softmax(z / T)_c, and its gradient (softmax - q) / (N T).

    logits: float (N, C); labels: integers (N,) from 0 to C - 1. The target q is 1 at the label; with label smoothing s
    it is 1 - s there plus s / C everywhere (Szegedy et al. 2016, section 7). Through log-sum-exp, so nothing overflows:
    see `core/ops/cpu/loss.py`. A label that is no class is an IndexError on a CPU, and a loss of NaN on a GPU.

    class_weights: float (C,), finite, not negative and not all 0, on the device of the logits. Each term c of the sum
    then counts w_c times, and the mean is that of weighted samples: the total is divided by the sum of the labels'
    weights, as PyTorch does.
    """
    _check_classes(logits, labels)
    (temperature,) = expect_in("(0, inf)", "softmax_cross_entropy", temperature=temperature)
    (label_smoothing,) = expect_in("[0, 1]", "softmax_cross_entropy", label_smoothing=label_smoothing)
    if class_weights is not None:
        if class_weights.shape != logits.shape[1:]:
            raise ValueError(
                f"expected class weights {logits.shape[1:]} for logits {logits.shape}, got {class_weights.shape}"
            )
        if on_cpu(class_weights) and not (class_weights.min() >= 0 and 0 < class_weights.max() < math.inf):
            raise ValueError(f"expected class weights from 0 on, finite and not all 0, got {class_weights}")
        class_weights = class_weights.astype(logits.dtype, copy=False)
    return ops.of(logits).softmax_cross_entropy(  # type: ignore[no-any-return]
        logits, labels, label_smoothing, temperature, class_weights
    )


def accuracy(logits: Array, labels: Array) -> Any:
    """The share of samples whose largest logit is the label's; logits (N, C), labels: integers (N,).

    It is no loss, but is wanted beside one after every batch. On a GPU it takes one launch and is of the logits' dtype.
    A label that is no class is an IndexError on a CPU, and counts as wrong on a GPU.
    """
    _check_classes(logits, labels)
    if on_cpu(labels) and labels.max() >= logits.shape[1]:
        raise IndexError(f"expected labels up to {logits.shape[1] - 1}, got {labels.max()}")
    return ops.of(logits).accuracy(logits, labels)


def loss_and_accuracy(outputs: Array, labels: Array, loss_of: LossFunction = softmax_cross_entropy) -> dict[str, float]:
    """A classifier's figures in a validation, "loss" and "accuracy"; outputs (N, C), labels: integers (N,)."""
    loss, _ = loss_of(outputs, labels)
    return {"loss": float(loss), "accuracy": float(accuracy(outputs, labels))}


def mean_squared_error(prediction: Array, target: Array) -> tuple[Any, Array]:
    """Mean over all elements of (prediction - target)^2, and its gradient, of the prediction's dtype.

    Two arrays of one shape. The gradient is 2 (prediction - target) / size.
    """
    if prediction.shape != target.shape:
        raise ValueError(f"mean_squared_error expected equal shapes, got {prediction.shape} and {target.shape}")
    _check_floats(prediction)
    difference = prediction - target.astype(prediction.dtype, copy=False)
    loss = (difference * difference).mean()
    difference *= 2 / difference.size
    return loss, difference


def focal_loss(logits: Array, labels: Array, gamma: float = 2.0) -> tuple[Any, Array]:
    """Mean of -(1 - p)^gamma log p for the label's probability p, and its gradient; Lin et al. 2017, eq. 4.

    logits: float (N, C); labels: integers (N,). With gamma 0 it is the cross-entropy; a larger gamma cares less about
    samples that are right already. Gradient: dp/dz = p (onehot - softmax), times the derivative with respect to p. A
    label that is no class is an IndexError on a CPU, and makes the loss not a number on a GPU.
    """
    _check_classes(logits, labels)
    (gamma,) = expect_in("[0, inf)", "focal_loss", gamma=gamma)
    xp = array_module(logits)
    N, C = logits.shape
    rows = xp.arange(N)
    if not on_cpu(labels):  # where an index out of range is no error
        labels = labels.astype(xp.int64)  # of which no C is too large
        known, labels = (labels >= 0) & (labels < C), labels % C
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))  # (N, C)
    at_label = log_p[rows, labels]  # (N,)
    if not on_cpu(labels):
        at_label = xp.where(known, at_label, xp.nan)
    p = xp.exp(at_label)  # (N,)
    # (N,) 1 - p, exact also where p is close to 1; and never 0, of which a negative power would be infinite.
    rest = xp.maximum(-xp.expm1(at_label), xp.finfo(logits.dtype).tiny)
    loss = -(rest**gamma * at_label).mean()
    slope = -(rest**gamma)  # (N,) p times the derivative of the loss with respect to p
    if gamma:
        slope += gamma * p * at_label * rest ** (gamma - 1)
    dlogits = xp.exp(log_p) * (-slope / N)[:, None]  # (N, C)
    dlogits[rows, labels] += slope / N
    return loss, dlogits


def _check_classes(logits: Array, labels: Array) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"expected logits (N, C) and labels (N,), got {logits.shape} and {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"expected integer labels, got {labels.dtype}")
    _check_floats(logits)
    if on_cpu(labels) and labels.min() < 0:  # which NumPy would count from the end
        raise IndexError(f"expected labels from 0 on, got {labels.min()}")


def _check_floats(x: Array) -> None:
    if x.dtype.kind != "f":
        raise TypeError(f"expected floating-point numbers, got {x.dtype}")
    if not x.size:
        raise ValueError("expected at least one sample: there is no mean over none")
