"""The hot operations, twice: `cpu` in NumPy and `gpu` in CuPy and raw kernels, with the same names and contracts.

A layer calls `ops.of(x).relu_forward(x, y)` and need not ask where `x` lives; only recurrent ones also share their work
by the device. Large results go into arrays that the caller provides; losses, sums and a convolution's weight
gradient are returned. Arrays are C-contiguous and of one dtype, and inputs are left alone unless a docstring says
otherwise. On a GPU that may be float16; then sums over rows, statistics and biases are float32, see
`core.layers.mixed`.
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
