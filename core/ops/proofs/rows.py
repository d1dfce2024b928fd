"""Operations on rows and columns of (M, C) arrays: sums, normalisation, the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from core.ops.proofs.case import Case, Draw, Results

SIZES = [(1, 1), (5, 3), (70, 33), (700, 5), (2, 1000), (3, 701), (600, 40), (300, 200)]
SEVERAL = SIZES[1:]  # with more than one column: of a single one the results are zero but for rounding
EMPTY = (0, 5)
HALF_TOO = ("float32", "float64", "float16")


def _columns(op: Any, draw: Draw, M: int, C: int) -> Results:
    x, y, mean = draw.normal(M, C), draw.normal(M, C), draw.normal(C, wide=True)
    return {
        "sums": op.column_sums(x),
        "products": op.column_products(x, y),
        "squares": op.column_square_sums(x),
        "about the mean": op.center_columns(x, mean, draw.output(M, C)),
        "all squares": op.square_sum(x.reshape(-1)),
    }


def _batch_norm(op: Any, draw: Draw, M: int, C: int) -> Results:
    x, dy, mean, inverse = draw.normal(M, C), draw.normal(M, C), draw.normal(C, wide=True), draw.positive(C, wide=True)
    weight, bias, *others = (draw.normal(C, wide=True) for _ in range(5))
    x_hat, y, dx = (draw.output(M, C) for _ in range(3))
    op.center_columns(x, mean, x_hat)
    op.normalize_forward(x, mean, inverse, weight, bias, x_hat, y)
    op.normalize_backward(dy, x_hat, *others, dx)
    return {"x_hat": x_hat, "y": y, "dx": dx}


def _batch_norm_in_training(op: Any, draw: Draw, M: int, C: int) -> Results:
    x, dy, weight, bias = draw.normal(M, C), draw.normal(M, C), draw.normal(C, wide=True), draw.normal(C, wide=True)
    running = draw.normal(C, wide=True), draw.positive(C, wide=True)
    x_hat, y, dx, dbias, dweight = *_three(draw, M, C), *_two_wide(draw, C)
    if draw.dtype != np.float16:
        x += 30  # a variance that is the difference of two large sums would not survive
    inverse, count = op.batch_norm_forward(x, weight, bias, 1e-2, running, 0.1, _itself, x_hat, y)
    op.norm_gradients(dy, x_hat, dbias, dweight)
    op.batch_norm_backward(dy, x_hat, weight, inverse, count, dbias, dweight, _itself, dx)
    results = {"inverse": inverse, "running mean": running[0], "running var": running[1], "x_hat": x_hat, "y": y}
    return results | {"dbias": dbias, "dweight": dweight, "dx": dx}


def _itself(part: Any) -> Any:
    return part


def _three(draw: Draw, M: int, C: int) -> list[Any]:
    return [draw.output(M, C) for _ in range(3)]


def _two_wide(draw: Draw, C: int) -> list[Any]:
    return [draw.output(C, dtype=draw.wide) for _ in range(2)]


def _scale_shift(op: Any, draw: Draw, M: int, C: int) -> Results:
    y = draw.output(M, C)
    op.scale_shift(draw.normal(M, C), draw.normal(C), draw.normal(C), y)
    return {"y": y}


def _layer_norm(op: Any, draw: Draw, M: int, C: int) -> Results:
    x, dy, weight, bias = draw.normal(M, C), draw.normal(M, C), draw.normal(C), draw.normal(C)
    x_hat, y, dx = (draw.output(M, C) for _ in range(3))
    inverse = op.layer_norm_forward(x, weight, bias, 1e-5, x_hat, y)
    op.layer_norm_backward(dy, x_hat, weight, inverse, dx)
    return {"inverse": inverse, "x_hat": x_hat, "y": y, "dx": dx}


def _cross_entropy(smoothing: float, temperature: float, weighted: bool) -> Callable[..., Results]:
    def run(op: Any, draw: Draw, N: int, C: int) -> Results:
        logits, labels = draw.normal(N, C) * 5, draw.integers(0, C, N)
        weights = draw.positive(C) if weighted else None
        loss, dlogits = op.softmax_cross_entropy(logits, labels, smoothing, temperature, weights)
        return {"loss": loss, "dlogits": dlogits}

    return run


def _ruled_out(op: Any, draw: Draw, N: int, C: int) -> Results:
    """Class 0 has no weight, and is impossible: labels are others, but for the first row's."""
    logits, labels, weights = draw.normal(N, C), draw.integers(1, C, N), draw.positive(C)
    logits[:, 0], labels[0], weights[0] = -np.inf, 0, 0
    results: dict[str, Any] = {}
    for smoothing in (0.0, 0.1):
        loss, dlogits = op.softmax_cross_entropy(logits, labels, smoothing, 1.0, weights)
        results |= {f"loss, {smoothing}": loss, f"dlogits, {smoothing}": dlogits}
    return results


def _accuracy(op: Any, draw: Draw, N: int, C: int) -> Results:
    some, alike = draw.normal(N, C), draw.integers(0, 3, N, C, dtype=draw.compute)
    labels, holes = draw.integers(0, C, N), draw.normal(N, C)
    holes[draw.integers(0, 3, N, C) == 0] = np.nan
    found = {"share": some, "of equals": alike, "with holes": holes}
    return {name: op.accuracy(logits, labels) for name, logits in found.items()}


CASES = [
    Case("column sums", _columns, [*SIZES, EMPTY], HALF_TOO),
    Case("batch norm", _batch_norm, [*SIZES, EMPTY], HALF_TOO),
    Case("batch norm in training", _batch_norm_in_training, [*SEVERAL, EMPTY], HALF_TOO),
    Case("scale and shift", _scale_shift, [*SIZES, EMPTY]),
    Case("layer norm", _layer_norm, [*SEVERAL, EMPTY]),
    Case("accuracy", _accuracy, SIZES),
    Case("cross-entropy", _cross_entropy(0.0, 1.0, False), SEVERAL),
    Case("cross-entropy, smoothing and temperature", _cross_entropy(0.1, 2.5, False), SEVERAL),
    Case("cross-entropy, class weights", _cross_entropy(0.1, 1.0, True), SEVERAL),
    Case("cross-entropy, a class ruled out", _ruled_out, SEVERAL),
]
