"""Learning rates over time: a schedule takes the step, counted from 0, and returns the learning rate of that step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from core.checks import expect_in, expect_whole

Schedule = Callable[[int], float]


def constant(lr: float) -> Schedule:
    """The same learning rate at every step."""
    expect_in("(0, inf)", "constant", lr=lr)
    return lambda step: lr


def step_decay(lr: float, milestones: Iterable[int], factor: float = 0.1) -> Schedule:
    """lr, multiplied by `factor` at each of the milestones (in steps)."""
    expect_in("(0, inf)", "step_decay", lr=lr, factor=factor)
    milestones = list(milestones)  # of its own: what comes from a generator could be counted only once
    return lambda step: lr * factor ** sum(step >= milestone for milestone in milestones)


def cosine(lr: float, steps: int, warm_up: int = 0, minimum: float = 0.0) -> Schedule:
    """Linear from lr / warm_up to lr in `warm_up` steps, then half a cosine wave down to `minimum` at the last step.

    Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5, without restarts.
    """
    _check_fall("cosine", lr, minimum)
    _check_warm_up("cosine", warm_up, steps)

    def schedule(step: int) -> float:
        if step < warm_up:
            return lr * (step + 1) / warm_up
        return _half_wave(lr, minimum, min(1.0, (step - warm_up) / max(1, steps - 1 - warm_up)))

    return schedule


def linear(lr: float, steps: int, warm_up: int = 0, minimum: float = 0.0) -> Schedule:
    """Linear from lr / warm_up to lr in `warm_up` steps, then linear down to `minimum` just after the last step."""
    _check_fall("linear", lr, minimum)
    _check_warm_up("linear", warm_up, steps)

    def schedule(step: int) -> float:
        if step < warm_up:
            return lr * (step + 1) / warm_up
        return lr + (minimum - lr) * min(1.0, (step - warm_up) / (steps - warm_up))

    return schedule


def one_cycle(
    lr: float, steps: int, rising: float = 0.3, start_factor: float = 1 / 25, end_factor: float = 1e-4 / 25
) -> Schedule:
    """Up from lr * start_factor to lr during the share `rising` of all steps, then down to lr * end_factor.

    Both by half a cosine wave: Smith and Topin 2017, arXiv:1708.07120, whose ramps are straight; the waves and the
    default factors are those of PyTorch's OneCycleLR.
    """
    expect_in("(0, inf)", "one_cycle", lr=lr)
    expect_in("[0, inf)", "one_cycle", start_factor=start_factor, end_factor=end_factor)
    expect_in("(0, 1)", "one_cycle", rising=rising)
    expect_whole("one_cycle", steps=steps)
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
        _check_fall("ReduceOnPlateau", lr, minimum)
        expect_in("(0, 1)", self, factor=factor)
        expect_in("[0, inf)", self, patience=patience, min_delta=min_delta)
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
    """From `start` to `end` by half a cosine wave, as progress goes from 0 to 1."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))


def _check_fall(schedule: str, lr: float, minimum: float) -> None:
    expect_in("(0, inf)", schedule, lr=lr)
    expect_in(f"[0, {lr}]", schedule, minimum=minimum)


def _check_warm_up(schedule: str, warm_up: int, steps: int) -> None:
    expect_whole(schedule, steps=steps)
    expect_whole(schedule, 0, warm_up=warm_up)
    expect_in(f"[0, {steps})", schedule, warm_up=warm_up)
