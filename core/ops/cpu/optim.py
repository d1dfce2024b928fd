"""The optimizers' updates of one stretch of the flat buffers: all arrays are (N,), and `grad` may be overwritten.

`factors` (3,) holds what changes from step to step; on a GPU it lies there, so that a step need not wait for it.
"""

from __future__ import annotations

import numpy as np

from core.backend import Array, array_module

__all__ = ["adam_update", "set_factors", "sgd_update", "square_sum", "zero_tiny"]

SWEPT_AT_ONCE = 1 << 16  # elements


def set_factors(factors: Array, first: float, second: float, third: float) -> None:
    """Write the three numbers."""
    factors[:] = first, second, third


def square_sum(x: Array) -> Array:
    """The sum of the squares of all elements, of an array (N,)."""
    total: Array = array_module(x).dot(x, x)
    return total


def zero_tiny(x: Array) -> None:
    """x = 0, in place, where |x| is so small that it can have no effect; x (N,).

    The moments of a unit that no longer fires shrink by the same factor every step. Below 1e-38 they are subnormal
    numbers, with which a processor takes several times as long.
    """
    tiny = 1e8 * np.finfo(x.dtype).tiny
    for start in range(0, len(x), SWEPT_AT_ONCE):
        part = x[start : start + SWEPT_AT_ONCE]
        part[np.abs(part) < tiny] = 0


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
    """v = momentum * v + grad, then data -= lr * v; with nesterov data -= lr * (grad + momentum * v).

    Without a velocity v is grad. factors: lr, unused, unused.
    """
    xp = array_module(data)
    _add_l2(data, grad, scratch, decay)
    if velocity is not None:
        velocity *= momentum
        velocity += grad
        if nesterov:
            xp.multiply(velocity, momentum, out=scratch)
            grad += scratch
        else:
            grad[...] = velocity
    grad *= factors[0]
    data -= grad


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
    """data -= lr * m / (sqrt(v) + eps), in ten passes; with `shrink`, data *= keep before.

    factors: lr and eps with the corrections of this step in them, see `core.optim.Adam`, and keep. `largest` is
    AMSGrad's largest v so far; `decay` is an L2 penalty.
    """
    xp = array_module(data)
    lr, eps, keep = factors
    if shrink:
        data *= keep
    _add_l2(data, grad, scratch, decay)
    m, v = first_moment, second_moment
    m *= betas[0]
    m += grad
    xp.multiply(grad, grad, out=grad)
    v *= betas[1]
    v += grad
    if largest is not None:
        xp.maximum(largest, v, out=largest)
        v = largest
    xp.sqrt(v, out=grad)
    grad += eps
    xp.divide(m, grad, out=grad)
    grad *= lr
    data -= grad


def _add_l2(data: Array, grad: Array, scratch: Array, decay: float) -> None:
    """grad += decay * data, the gradient of an L2 penalty of decay / 2 * |data|^2."""
    if decay:
        array_module(data).multiply(data, decay, out=scratch)
        grad += scratch
