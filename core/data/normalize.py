"""Normalisation: subtract the training data's mean and divide by its standard deviation, stored with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.backend import Array

BLOCK = 2**18  # values per step of the statistics, which are summed up in float64
CONSTANT = 1e-12  # a standard deviation below this share of the mean is rounding error: the channel is constant
SMALLEST = float(np.finfo(np.float32).tiny)  # one below would be kept as 0, or with few digits


class Normalize:
    """y = (x - mean) / std, with one mean and std for all values or one for each channel (the last axis).

    uint8 values stand for x / 255, so that `mean` and `std` of images are in units of 0 to 1. Computes in float32.
    Raises ValueError for statistics that do not fit together, are not finite, or a std that is not positive.
    """

    def __init__(self, mean: float | Sequence[float] | Array = 0.0, std: float | Sequence[float] | Array = 1.0) -> None:
        self.mean = np.asarray(mean, np.float32)
        self.std = np.asarray(std, np.float32)
        if self.mean.shape != self.std.shape or self.mean.ndim > 1:
            shapes = f"{self.mean.shape} and {self.std.shape}"
            raise ValueError(f"Normalize expected mean and std alike, () or (C,), got {shapes}")
        if not (np.isfinite([self.mean, self.std]).all() and (self.std > 0).all()):
            raise ValueError(f"Normalize expected a finite mean and a positive std, got {self}")

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean.tolist()}, std={self.std.tolist()})"

    @classmethod
    def fit(cls, x: Array, per_channel: bool = False) -> Normalize:
        """The statistics of `x`, which must be training data: over all values, or of each channel (the last axis).

        A constant channel gets std 1 and so becomes 0. Raises ValueError for empty data.
        """
        if x.size == 0:
            raise ValueError("Normalize.fit expected data, got none")
        mean, variance = moments(x.reshape(-1, x.shape[-1] if per_channel else 1))  # (C,)
        std = np.sqrt(variance)
        mean, std = mean * unit_of(x), std * unit_of(x)
        std[std <= np.maximum(CONSTANT * np.abs(mean), SMALLEST)] = 1
        return cls(mean, std) if per_channel else cls(mean[0], std[0])

    def __call__(self, x: Array, out: Array | None = None) -> Array:
        """Normalise `x` (N, ..., C), uint8 or float; returns float32 of the same shape, `out` if given.

        `out` may be `x` itself where that is float32. Raises ValueError when the channels do not fit.
        """
        if self.mean.ndim and x.shape[-1:] != self.mean.shape:
            raise ValueError(f"Normalize expected (N, ..., {len(self.mean)}), got {x.shape}")
        if out is None:
            out = np.empty(x.shape, np.float32)
        if out is not x:
            np.copyto(out, x, casting="same_kind")
        unit = np.float32(unit_of(x))
        if self.mean.any():
            out -= per_sample(self.mean / unit, x.shape)
        if (self.std != unit).any():
            out *= per_sample(unit / self.std, x.shape)
        return out

    def to_dict(self) -> dict[str, Any]:
        """The statistics as plain numbers, for JSON; they survive the way there and back exactly."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Normalize:
        """What `to_dict` described. Raises ValueError when it is damaged."""
        try:
            return cls(stored["mean"], stored["std"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"Normalize expected a dict with mean and std, got {dict(stored)}") from error


def unit_of(x: Array) -> float:
    """What a stored value of 1 means: 1/255 in uint8 images, else 1."""
    return 1 / 255 if x.dtype == np.uint8 else 1.0


def moments(table: Array) -> tuple[Array, Array]:
    """Mean and variance of each column of (rows, C), float64, in two passes that need little memory."""
    rows, C = table.shape
    step = max(1, BLOCK // C)
    mean, variance = np.zeros(C), np.zeros(C)
    for start in range(0, rows, step):
        block = table[start : start + step].astype(np.float64)
        mean += np.ones(len(block)) @ block / rows
    for start in range(0, rows, step):
        block = table[start : start + step].astype(np.float64) - mean
        variance += np.ones(len(block)) @ np.square(block, out=block) / rows
    return mean, variance


def per_sample(statistic: Array, shape: tuple[int, ...]) -> Array:
    """One value, or one for each channel, in the form that is fastest to combine with a batch of `shape`.

    A row of three channels would be combined three values at a time, a whole sample takes one long loop.
    """
    return statistic if statistic.ndim == 0 else np.broadcast_to(statistic, shape[1:]).copy()
