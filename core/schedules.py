"""Learning rates over time: a schedule takes the step, counted from 0, and returns the learning rate of that step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

Schedule = Callable[[int], float]


def constant(lr: float) -> Schedule:
    """The same learning rate at every step."""
    _check(lr > 0, f"lr above 0, got {lr}")
    return lambda step: lr


def step_decay(lr: float, milestones: Sequence[int], factor: float = 0.1) -> Schedule:
    """lr, multiplied by `factor` at each of the milestones (in steps)."""
    _check(lr > 0, f"lr above 0, got {lr}")
    return lambda step: lr * factor ** sum(step >= milestone for milestone in milestones)


def cosine(lr: float, steps: int, warm_up: int = 0, minimum: float = 0.0) -> Schedule:
    """Linear from lr / warm_up to lr in `warm_up` steps, then half a cosine wave down to `minimum` at the last step.

    Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5, without restarts.
    """
    _check(lr > 0 and 0 <= minimum <= lr, f"0 <= minimum <= lr, got minimum {minimum} and lr {lr}")
    _check(0 <= warm_up < steps, f"0 <= warm_up < steps, got warm_up {warm_up} and {steps} steps")

    def schedule(step: int) -> float:
        if step < warm_up:
            return lr * (step + 1) / warm_up
        progress = min(1.0, (step - warm_up) / max(1, steps - 1 - warm_up))
        return minimum + (lr - minimum) * 0.5 * (1 + math.cos(math.pi * progress))

    return schedule


def linear(lr: float, steps: int, warm_up: int = 0, minimum: float = 0.0) -> Schedule:
    """Linear from lr / warm_up to lr in `warm_up` steps, then linear down to `minimum` just after the last step."""
    _check(lr > 0 and 0 <= minimum <= lr, f"0 <= minimum <= lr, got minimum {minimum} and lr {lr}")
    _check(0 <= warm_up < steps, f"0 <= warm_up < steps, got warm_up {warm_up} and {steps} steps")

    def schedule(step: int) -> float:
        if step < warm_up:
            return lr * (step + 1) / warm_up
        return lr + (minimum - lr) * min(1.0, (step - warm_up) / (steps - warm_up))

    return schedule


def one_cycle(
    lr: float, steps: int, rising: float = 0.3, start_factor: float = 1 / 25, end_factor: float = 1e-4 / 25
) -> Schedule:
    """Up from lr * start_factor to lr during the share `rising` of all steps, then down to lr * end_factor.

    Both by half a cosine wave. Smith and Topin 2017, arXiv:1708.07120.
    """
    _check(lr > 0, f"lr above 0, got {lr}")
    _check(0 < rising < 1 and steps >= 1, f"0 < rising < 1 and at least 1 step, got {rising} and {steps} steps")
    peak = rising * (steps - 1)

    def schedule(step: int) -> float:
        if step < peak:
            return _half_wave(lr * start_factor, lr, step / peak)
        return _half_wave(lr, lr * end_factor, min(1.0, (step - peak) / max(1e-9, steps - 1 - peak)))

    return schedule


class ReduceOnPlateau:
    """Multiplies the learning rate by `factor` when what `observe` sees has not fallen for more than `patience` times.

    An improvement must be larger than `min_delta`.
    """

    def __init__(
        self, lr: float, factor: float = 0.1, patience: int = 5, min_delta: float = 0.0, minimum: float = 0.0
    ) -> None:
        _check(lr > 0, f"lr above 0, got {lr}")
        _check(0 < factor < 1, f"0 < factor < 1, got {factor}")
        self.lr, self.factor, self.patience, self.min_delta, self.minimum = lr, factor, patience, min_delta, minimum
        self.best = math.inf
        self.waited = 0

    def __call__(self, step: int) -> float:
        return self.lr

    def observe(self, value: float) -> None:
        """Take note of a loss after an epoch."""
        if value < self.best - self.min_delta:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.lr, self.waited = max(self.minimum, self.lr * self.factor), 0

    def state_dict(self) -> dict[str, float]:
        """What a resumed run needs."""
        return {"lr": self.lr, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Continue from `state_dict()`."""
        self.lr, self.best, self.waited = float(state["lr"]), float(state["best"]), int(state["waited"])


def _half_wave(start: float, end: float, progress: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))


def _check(condition: bool, expected: str) -> None:
    if not condition:
        raise ValueError(f"schedule expected {expected}")
