"""How near the operations that memory limits come to the card's bandwidth. For `gpu_check.py`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.backend import gpu_module
from core.ops import gpu
from core.random import Stream
from scripts.gpu.clock import Action, Sizes


def copy_bandwidth(sizes: Sizes) -> float:
    """GB/s at which the GPU copies an array, counting what it reads and what it writes."""
    x = gpu_module().zeros(sizes.elements, np.float32)
    y = gpu_module().empty_like(x)

    def copy() -> None:
        y[...] = x

    return 2 * x.nbytes / sizes.clock.seconds(copy) / 1e9


def bandwidths(sizes: Sizes) -> Iterator[tuple[str, float]]:
    """(operation, GB/s) of everything that the way to memory should limit."""
    for name, moved, action in memory_bound(sizes):
        yield name, moved / sizes.clock.seconds(action) / 1e9


def memory_bound(sizes: Sizes) -> Iterator[tuple[str, int, Action]]:
    """(operation, bytes that it must read and write, a call of it)."""
    xp, C = gpu_module(), sizes.columns
    M = sizes.elements // C
    N = M * C
    x, y, z, w = (xp.full((M, C), 0.5, np.float32) for _ in range(4))
    flat = [array.reshape(-1) for array in (x, y, z, w)]
    row = xp.full(C, 0.5, np.float32)
    factors, labels = xp.full(3, 0.5, np.float32), xp.zeros(M, np.int64)
    half = xp.zeros(N, np.float16)
    draws = Stream(0).draws(1, M, C)
    overflow = xp.zeros(1, np.int32)
    inverse = xp.ones((M, 1), np.float32)
    yield "relu_forward", 8 * N, lambda: gpu.relu_forward(x, y)
    yield "relu_backward", 12 * N, lambda: gpu.relu_backward(x, y, z)
    yield "gelu_forward", 8 * N, lambda: gpu.gelu_forward(x, y)
    yield "gelu_backward", 12 * N, lambda: gpu.gelu_backward(x, y, z)
    yield "dropout_forward", 12 * N, lambda: gpu.dropout_forward(x, draws, 0.5, y, z)
    yield "dropout_backward", 12 * N, lambda: gpu.dropout_backward(x, y, z)
    yield "column_sums", 4 * N, lambda: gpu.column_sums(x)
    yield "square_sum", 4 * N, lambda: gpu.square_sum(flat[0])
    yield "normalize_forward", 12 * N, lambda: gpu.normalize_forward(x, row, row, row, row, y, z)
    yield "normalize_backward", 12 * N, lambda: gpu.normalize_backward(x, y, row, row, row, z)
    yield "layer_norm_forward", 12 * N, lambda: gpu.layer_norm_forward(x, row, row, 1e-5, y, z)
    yield "layer_norm_backward", 12 * N, lambda: gpu.layer_norm_backward(x, y, row, inverse, z)
    yield "softmax_cross_entropy", 8 * N, lambda: gpu.softmax_cross_entropy(x, labels, 0.0, 1.0, None)
    yield "sgd_update", 20 * N, lambda: gpu.sgd_update(*flat[:3], factors, flat[3], 0.9, False, 0.0)
    yield "adam_update", 28 * N, lambda: gpu.adam_update(*flat, None, factors, flat[3], (0.9, 0.999), 0.0, False)
    yield "cast to float16", 6 * N, lambda: gpu.cast(flat[0], half)
    yield "unscale", 8 * N, lambda: gpu.unscale(flat[0], 0.5, overflow)
