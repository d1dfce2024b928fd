"""How weights start: scaled so that signals neither die out nor blow up on their way through the layers.

All take (rng, shape, fan_in, fan_out, dtype): `fan_in` inputs are summed into one output, and one input reaches
`fan_out` outputs. They draw with NumPy in float64 and round once, so every device and dtype starts alike.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike

from core.backend import Array
from core.memory import expect_room


class Initializer(Protocol):
    """Draws the initial values of a weight."""

    def __call__(
        self, rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int, dtype: DTypeLike
    ) -> Array: ...


def he_normal(
    rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int, dtype: DTypeLike = np.float32
) -> Array:
    """Normal with variance 2 / fan_in, for ReLU and its kin (He et al. 2015, arXiv:1502.01852, eq. 10)."""
    return _normal(rng, shape, np.sqrt(2 / fan_in), dtype)


def he_uniform(
    rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int, dtype: DTypeLike = np.float32
) -> Array:
    """Uniform with variance 2 / fan_in (He et al. 2015, eq. 10, which asks for no particular distribution)."""
    return uniform(rng, shape, np.sqrt(3) * np.sqrt(2 / fan_in), dtype)


def glorot_normal(
    rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int, dtype: DTypeLike = np.float32
) -> Array:
    """Normal with variance 2 / (fan_in + fan_out), for tanh and sigmoid (Glorot and Bengio 2010, eq. 12)."""
    return _normal(rng, shape, np.sqrt(2 / (fan_in + fan_out)), dtype)


def glorot_uniform(
    rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int, dtype: DTypeLike = np.float32
) -> Array:
    """Uniform with variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010, eq. 16)."""
    return uniform(rng, shape, np.sqrt(3) * np.sqrt(2 / (fan_in + fan_out)), dtype)


def uniform(rng: np.random.Generator, shape: tuple[int, ...], limit: float, dtype: DTypeLike) -> Array:
    """Numbers between -limit and limit, whose variance is limit^2 / 3."""
    expect_room(math.prod(shape) * (8 + np.dtype(dtype).itemsize))
    return rng.uniform(-limit, limit, shape).astype(dtype)


def _normal(rng: np.random.Generator, shape: tuple[int, ...], deviation: float, dtype: DTypeLike) -> Array:
    expect_room(math.prod(shape) * (2 * 8 + np.dtype(dtype).itemsize))
    return (rng.standard_normal(shape) * deviation).astype(dtype)
