"""BatchNorm in training: a few launches on a GPU, and on a CPU operations over blocks that stay in the cache.

Of the whole batch also where workers have a shard of it each: `over_batch` adds up what each has summed over its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from core.backend import Array, on_cpu
from core.ops import cpu

OverBatch: TypeAlias = Callable[[Array], Array]


def batch_norm_forward(
    x: Array,
    weight: Array,
    bias: Array,
    eps: float,
    running: tuple[Array, Array] | None,
    momentum: float,
    over_batch: OverBatch,
    x_hat: Array,
    y: Array,
) -> tuple[Any, Any]:
    """x_hat = (x - mean) / deviation and y = weight * x_hat + bias; returns 1 / deviation and the number of rows.

    x, x_hat, y: (M, C), the others (C,). The running mean and variance follow by the share `momentum`, unless None.
    """
    if not on_cpu(x):
        from core.ops.gpu import norm

        return norm.batch_norm_forward(x, weight, bias, eps, running, momentum, x_hat, y), len(x)
    count = over_batch(np.full(1, len(x), weight.dtype))
    mean = over_batch(cpu.column_sums(x)) / count
    var = over_batch(cpu.center_columns(x, mean, x_hat)) / count
    inverse_deviation = 1 / np.sqrt(var + eps)
    cpu.normalize_forward(x, mean, inverse_deviation, weight, bias, x_hat, y)
    if running is not None:
        follow(running, (mean, var * (count / np.maximum(count - 1, 1))), momentum)
    return inverse_deviation, count


def follow(running: tuple[Array, Array], latest: tuple[Array, Array], share: float) -> None:
    """running = (1 - share) * running + share * latest, for mean and variance."""
    for old, new in zip(running, latest, strict=True):
        old *= 1 - share
        old += share * new


def batch_norm_backward(
    dy: Array,
    x_hat: Array,
    weight: Array,
    inverse_deviation: Array,
    count: Any,
    dbias: Array,
    dweight: Array,
    over_batch: OverBatch,
    dx: Array,
) -> None:
    """dx from what `batch_norm_forward` returned and `core.ops.gradients.norm_gradients` summed up."""
    if on_cpu(dy):
        means = over_batch(dbias) / count, over_batch(dweight) / count
        cpu.normalize_backward(dy, x_hat, weight * inverse_deviation, *means, dx)
    else:
        from core.ops.gpu import norm

        norm.batch_norm_backward(dy, x_hat, weight, inverse_deviation, dbias, dweight, dx)
