"""When to stop: after several epochs in a row without a real improvement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class EarlyStopping:
    """Watches one number an epoch and remembers its best.

    `patience` epochs in a row that do not improve on the best by more than `min_delta` set `should_stop`; a patience
    of 0 never does. Any improvement, however small, counts as the new best.
    """

    def __init__(self, patience: int, min_delta: float, higher_is_better: bool) -> None:
        self.patience, self.min_delta = patience, min_delta
        self._sign = 1.0 if higher_is_better else -1.0
        self.best: float | None = None
        self._reference: float | None = None  # what the next value must beat by min_delta
        self._waited = 0

    def observe(self, value: float) -> bool:
        """Take in the epoch's value; returns whether it is the best so far."""
        if self._reference is None or self._sign * (value - self._reference) > self.min_delta:
            self._reference, self._waited = value, 0
        else:
            self._waited += 1
        if self.best is None or self._sign * (value - self.best) > 0:
            self.best = value
            return True
        return False

    @property
    def should_stop(self) -> bool:
        """Whether the patience is used up."""
        return 0 < self.patience <= self._waited

    def state(self) -> dict[str, Any]:
        """The memory as JSON can hold it."""
        return {"best": self.best, "reference": self._reference, "waited": self._waited}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`."""
        self.best, self._reference, self._waited = state["best"], state["reference"], state["waited"]
