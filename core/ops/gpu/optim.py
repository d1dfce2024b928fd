"""The optimizers' updates on a GPU, each in one pass; see `core/kernels/optim.cu`."""

from __future__ import annotations

from core.backend import Array
from core.kernels import THREADS, blocks_for, launch

__all__ = ["adam_update", "set_factors", "sgd_update", "zero_tiny"]


def set_factors(factors: Array, first: float, second: float, third: float) -> None:
    """Write the three numbers, without waiting for the GPU."""
    launch("set_factors", 1, 1, factors=factors, first=first, second=second, third=third)


def zero_tiny(x: Array) -> None:
    """Nothing: a GPU is as fast with subnormal numbers as with others."""


def sgd_update(
    data: Array,
    grad: Array,
    velocity: Array | None,
    factors: Array,
    scratch: Array,
    momentum: float,
    nesterov: bool,
    decay: float,
) -> None:
    """See `core.ops.cpu.optim`."""
    launch(
        "sgd_update",
        blocks_for(data.size),
        THREADS,
        data=data,
        grad=grad,
        velocity=velocity,
        factors=factors,
        momentum=momentum,
        decay=decay,
        nesterov=nesterov,
    )


def adam_update(
    data: Array,
    grad: Array,
    first_moment: Array,
    second_moment: Array,
    largest: Array | None,
    factors: Array,
    scratch: Array,
    betas: tuple[float, float],
    decay: float,
    shrink: bool,
) -> None:
    """See `core.ops.cpu.optim`."""
    launch(
        "adam_update",
        blocks_for(data.size),
        THREADS,
        data=data,
        grad=grad,
        first_moment=first_moment,
        second_moment=second_moment,
        largest=largest,
        factors=factors,
        beta1=betas[0],
        beta2=betas[1],
        decay=decay,
        shrink=shrink,
    )
