"""The numbers that layers, losses, optimizers and schedules are made with, checked where they come in."""

from __future__ import annotations

from functools import lru_cache
from numbers import Integral, Real


def expect_in(interval: str, owner: object, **values: float) -> tuple[float, ...]:
    """The values as Python's floats: a float64 of NumPy's makes float64 of a float32 that it is multiplied by.

    Raises ValueError unless every one is a number in an interval such as "[0, 1)", where [ ] include the end. `owner`
    is whoever has been given them: an object, whose type is named, or a name.
    """
    low, high = _ends(interval)
    for name, value in values.items():
        is_number = type(value) in (float, int) or isinstance(value, Real)  # the second question takes longer
        inside = is_number and low <= value <= high  # NaN is in no interval
        if not inside or (value == low and interval[0] == "(") or (value == high and interval[-1] == ")"):
            raise ValueError(f"{_name(owner)} expected {name} in {interval}, got {value!r}")
    return tuple(map(float, values.values()))


def expect_whole(owner: object, least: int = 1, **values: int) -> tuple[int, ...]:
    """The values as Python's integers: those of NumPy may have so few bits that sizes computed from them overflow.

    Raises ValueError unless every one is a whole number of at least `least`.
    """
    for name, value in values.items():
        if not isinstance(value, Integral) or value < least:
            raise ValueError(f"{_name(owner)} expected {name} to be a whole number of at least {least}, got {value!r}")
    return tuple(map(int, values.values()))


@lru_cache(maxsize=64)
def _ends(interval: str) -> tuple[float, float]:
    low, high = interval[1:-1].split(",")
    return float(low), float(high)


def _name(owner: object) -> str:
    return owner if isinstance(owner, str) else type(owner).__name__
