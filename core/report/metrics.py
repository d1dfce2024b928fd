"""What a classifier's probabilities say about it: pure functions of labels (N,) and probabilities (N, K)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z95 = 1.959963984540054  # the normal distribution holds 95 % of its mass within this many deviations
SUM_TOLERANCE = 1e-3  # float16 probabilities still sum to 1 this well

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Accuracy:
    """A share of right answers with its 95 % interval; `value`, `low` and `high` lie in [0, 1]."""

    value: float
    low: float
    high: float
    correct: int
    total: int

    def __str__(self) -> str:
        return f"{self.value:.2%} (95 % interval {self.low:.2%} to {self.high:.2%})"


@dataclass(frozen=True)
class ClassTable:
    """Precision, recall and F1 of each class, float64 (K,), and its number of images, int64 (K,)."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Indices


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy in B equal bins of confidence, and the expected calibration error.

    `edges` (B + 1,); `counts`, `confidence` and `accuracy` (B,), the latter two NaN where a bin is empty.
    """

    edges: Floats
    counts: Indices
    confidence: Floats
    accuracy: Floats
    ece: float


def check(labels: ArrayLike, probabilities: ArrayLike) -> tuple[Indices, Floats]:
    """Return labels as int64 (N,) and probabilities as float64 (N, K), or raise ValueError saying what does not fit."""
    y = np.asarray(labels)
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or y.shape != p.shape[:1] or not p.size:
        raise ValueError(f"expected labels (N,) and probabilities (N, K) with N > 0, got {y.shape} and {p.shape}")
    if y.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, got {y.dtype}")
    if y.min() < 0 or y.max() >= p.shape[1]:
        raise ValueError(f"labels must lie in 0..{p.shape[1] - 1}, got {y.min()}..{y.max()}")
    if not np.isfinite(p).all() or p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > SUM_TOLERANCE:
        raise ValueError("probabilities must be finite, not negative, and sum to 1 in each row (logits need a softmax)")
    return y.astype(np.int64), p


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a proportion that stays sensible near 0 and 1.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if not 0 <= correct <= total or total == 0:
        raise ValueError(f"expected 0 <= correct <= total and total > 0, got {correct} of {total}")
    share, z2 = correct / total, Z95 * Z95
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 / (1 + z2 / total) * np.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    low = 0.0 if correct == 0 else float(middle - half)
    high = 1.0 if correct == total else float(middle + half)
    return low, high


def accuracy(labels: ArrayLike, probabilities: ArrayLike) -> Accuracy:
    """The share of images whose most probable class is the right one, with its Wilson interval."""
    y, p = check(labels, probabilities)
    correct, total = int((p.argmax(axis=1) == y).sum()), len(y)
    return Accuracy(correct / total, *wilson_interval(correct, total), correct, total)


def top_k_accuracy(labels: ArrayLike, probabilities: ArrayLike, k: int) -> float:
    """The share of images whose right class is among the k most probable; among equals the lower class comes first."""
    y, p = check(labels, probabilities)
    if not 1 <= k <= p.shape[1]:
        raise ValueError(f"k must lie in 1..{p.shape[1]}, got {k}")
    right = p[np.arange(len(y)), y][:, None]  # (N, 1)
    above = (p > right) | ((p == right) & (np.arange(p.shape[1]) < y[:, None]))  # (N, K)
    return float((above.sum(axis=1) < k).mean())


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, n_classes: int) -> Indices:
    """Count the images of true class i answered as class j: int64 (K, K), one row for each true class."""
    y, guess = np.asarray(labels), np.asarray(predictions)
    if y.shape != guess.shape or y.ndim != 1:
        raise ValueError(f"expected labels and predictions of one shape (N,), got {y.shape} and {guess.shape}")
    both = np.concatenate([y, guess])
    if both.dtype.kind not in "iu" or (both.size and not 0 <= both.min() <= both.max() < n_classes):
        raise ValueError(f"labels and predictions must be integers in 0..{n_classes - 1}")
    counts = np.bincount(y.astype(np.int64) * n_classes + guess, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes).astype(np.int64)  # (K, K)


def per_class(confusion: Indices) -> ClassTable:
    """Precision, recall and F1 of each class from a confusion matrix (K, K); 0 where there is nothing to divide by."""
    right = np.diag(confusion).astype(np.float64)
    answered, support = confusion.sum(axis=0), confusion.sum(axis=1)
    return ClassTable(
        precision=right / np.maximum(answered, 1),
        recall=right / np.maximum(support, 1),
        f1=2 * right / np.maximum(answered + support, 1),
        support=support,
    )


def reliability(labels: ArrayLike, probabilities: ArrayLike, n_bins: int = 15) -> Reliability:
    """Compare how sure the model was with how often it was right, in equal bins (low, high] of its confidence.

    The expected calibration error is the gap between the two, averaged over the images.
    Source: Guo et al., "On calibration of modern neural networks" (2017), equations 2 to 5; 15 bins as there.
    """
    y, p = check(labels, probabilities)
    edges = np.linspace(0, 1, n_bins + 1)
    confidence = p.max(axis=1)
    right = p.argmax(axis=1) == y
    bins = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, n_bins - 1)
    counts = np.bincount(bins, minlength=n_bins)
    filled = np.where(counts > 0, counts, np.nan)  # an empty bin has no mean
    mean_confidence = np.bincount(bins, weights=confidence, minlength=n_bins) / filled
    mean_right = np.bincount(bins, weights=right, minlength=n_bins) / filled
    ece = float(np.nansum(counts * np.abs(mean_right - mean_confidence)) / len(y))
    return Reliability(edges, counts.astype(np.int64), mean_confidence, mean_right, ece)


def worst_mistakes(labels: ArrayLike, probabilities: ArrayLike, limit: int = 25) -> Indices:
    """The indices of the wrong answers the model was surest of, the surest first: int64 (M,), M <= limit."""
    y, p = check(labels, probabilities)
    wrong = np.flatnonzero(p.argmax(axis=1) != y)
    surest_first = np.argsort(-p.max(axis=1)[wrong], kind="stable")
    return wrong[surest_first[:limit]].astype(np.int64)
