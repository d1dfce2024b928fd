"""One operation, called with the same arrays on both devices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from core.backend import Array
from core.ops import cpu, gpu

Results: TypeAlias = Mapping[str, Any]
Move: TypeAlias = Callable[[Array], Any]

# Relative to the largest element of a result. Sums of thousands of float32 may lose three of seven digits.
TOLERANCES = {"float64": 1e-12, "float32": 2e-5, "float16": 2e-3}


class Difference(AssertionError):  # noqa: N818 - what it says
    """The two devices disagree."""


class Draw:
    """Random arrays, the same ones for every device: NumPy draws them, `move` puts them where they are wanted.

    The inputs have the precision of `dtype`; `compute` is the dtype that the operation gets. What stays float32 beside
    float16, statistics and biases, is drawn `wide`.
    """

    def __init__(self, dtype: str, compute: str, move: Move, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._move = move
        self.dtype, self.compute = np.dtype(dtype), np.dtype(compute)
        self.wide = np.dtype(np.float32) if dtype == "float16" else self.dtype

    def normal(self, *shape: int, wide: bool = False) -> Any:
        """Normally distributed."""
        return self._given(self._rng.standard_normal(shape), wide)

    def positive(self, *shape: int, wide: bool = False) -> Any:
        """From 0.5 to 1.5."""
        return self._given(self._rng.uniform(0.5, 1.5, shape), wide)

    def _given(self, values: Array, wide: bool) -> Any:
        return self._move(values.astype(self.wide) if wide else values.astype(self.dtype).astype(self.compute))

    def integers(self, low: int, high: int, *shape: int, dtype: Any = np.int64) -> Any:
        """From low up to but not including high."""
        return self._move(self._rng.integers(low, max(high, low + 1), shape).astype(dtype))

    def output(self, *shape: int, dtype: Any = None) -> Any:
        """What the operation has to fill: not a number before, so that what it forgets shows."""
        wanted = self.compute if dtype is None else np.dtype(dtype)
        return self._move(np.full(shape, np.nan if wanted.kind == "f" else 77, wanted))

    def array(self, values: Any, dtype: Any = None) -> Any:
        """Given values."""
        return self._move(np.array(values, self.compute if dtype is None else dtype))

    def workspace(self, name: str, shape: tuple[int, ...], like: Any, dtype: Any = None) -> Any:
        """What a layer's workspace does, without reuse."""
        return self.output(*shape, dtype=like.dtype if dtype is None else dtype)


@dataclass(frozen=True)
class Case:
    """`run(op, draw, *size)` calls operations of the module `op` with arrays from `draw` and returns what they made.

    sizes: odd ones, empty ones, and such as need more than one grid of a few blocks. tolerance: times the dtype's.
    """

    name: str
    run: Callable[..., Results]
    sizes: Sequence[tuple[int, ...]]
    dtypes: Sequence[str] = ("float32", "float64")
    tolerance: float = 1.0


def outputs(case: Case, dtype: str, size: tuple[int, ...], op: ModuleType, move: Move) -> Results:
    """What a case makes on one device; the CPU computes float16 in float32."""
    compute = "float32" if dtype == "float16" and op is cpu else dtype
    with np.errstate(all="ignore"):
        return case.run(op, Draw(dtype, compute, move), *size)


def check(case: Case, dtype: str, size: tuple[int, ...], move: Move, fetch: Move = np.asarray) -> Results:
    """Compare both devices; returns what the GPU made, fetched. Raises Difference where they disagree.

    Kernels that move 16 bytes at a time must also take arrays that start elsewhere: all is done again with such.
    """
    expected = outputs(case, dtype, size, cpu, np.array)
    _check(case, dtype, size, expected, shifted(move), fetch)
    return _check(case, dtype, size, expected, move, fetch)


def _check(case: Case, dtype: str, size: tuple[int, ...], expected: Results, move: Move, fetch: Move) -> Results:
    found = {name: fetch(array) for name, array in outputs(case, dtype, size, gpu, move).items()}
    for name, array in expected.items():
        where = f"{case.name}, {dtype}, {size}: {name}"
        _compare(where, found[name], np.asarray(array), case.tolerance * TOLERANCES[dtype])
    return found


def shifted(move: Move) -> Move:
    """`move`, to one element beyond the start of a longer array, as parameters lie in a flat buffer."""

    def moved(values: Array) -> Any:
        longer = np.zeros(values.size + 1, values.dtype)
        longer[1:] = values.reshape(-1)
        return move(longer)[1:].reshape(values.shape)

    return moved


def _compare(where: str, found: Array, expected: Array, tolerance: float) -> None:
    if found.shape != expected.shape:
        raise Difference(f"{where} has shape {found.shape} instead of {expected.shape}")
    if not expected.size:
        return
    if expected.dtype.kind != "f":
        if not np.array_equal(found, expected):
            raise Difference(f"{where} differs in {int((found != expected).sum())} of {expected.size} elements")
        return
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))  # infinities, and what is no number, too
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0, np.abs(found.astype(np.float64) - expected))
    finite = np.abs(expected[np.isfinite(expected)])
    worst, scale = float(error.max()), max(1e-30, float(finite.max(initial=0)))
    if math.isnan(worst) or worst > tolerance * scale:
        place = tuple(int(i) for i in np.unravel_index(np.nanargmax(np.nan_to_num(error, nan=np.inf)), error.shape))
        raise Difference(
            f"{where} at {place} is {found[place]!r} instead of {expected[place]!r}: off by {worst / scale:.1e} of the "
            f"largest element, more than {tolerance:.1e}"
        )
