"""The hot operations, twice: `cpu` in NumPy and `gpu` in CuPy and raw kernels, with the same names and contracts.

A layer calls `ops.of(x).relu_forward(x, y)` and never asks again where `x` lives. All operations write into arrays that
the caller provides, C-contiguous and of one dtype, and leave their inputs alone unless they say otherwise. On a GPU
that may be float16; then sums over rows, statistics and biases are float32, see `core.layers.mixed`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from core.backend import on_cpu
from core.ops import cpu


def of(x: Any) -> ModuleType:
    """The operations for the device that `x` lives on."""
    if on_cpu(x):
        return cpu
    from core.ops import gpu

    return gpu
