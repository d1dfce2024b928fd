"""What each epoch brought: a table of numbers, and the sums of the epoch that is under way."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from core.backend import array_module, device_of, to_cpu

Row = dict[str, float]

FIRST_COLUMNS = ("epoch", "step", "learning_rate", "train_loss", "train_accuracy", "validation_loss")
LAST_COLUMNS = ("gradient_norm", "seconds")


class History:
    """One row of numbers an epoch; a number that an epoch did not measure is left out of its row."""

    def __init__(self, rows: list[Row] | None = None) -> None:
        self.rows: list[Row] = rows or []

    def names(self) -> list[str]:
        """The columns, the ones that every run has in a fixed order."""
        found = {name: None for row in self.rows for name in row}
        middle = [name for name in found if name not in FIRST_COLUMNS + LAST_COLUMNS]
        return [name for name in (*FIRST_COLUMNS, *middle, *LAST_COLUMNS) if name in found]

    def columns(self) -> dict[str, list[float]]:
        """Name to values, one an epoch; NaN for "not measured"."""
        return {name: [row.get(name, float("nan")) for row in self.rows] for name in self.names()}

    def as_csv(self) -> str:
        """The table as CSV, every number with all its digits, seconds with three."""
        text = io.StringIO()
        table = csv.DictWriter(text, self.names(), restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        return text.getvalue()


class Tally:
    """Means over the samples of an epoch; each batch counts with its size.

    Values may be numbers or 0-d arrays on any device. They are turned into numbers, which makes a GPU wait, by
    `settle` only; the sums are exact in the sense that a resumed epoch adds the same numbers in the same order.
    """

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._sizes: dict[str, int] = {}
        self._pending: list[tuple[str, Any, int]] = []

    def add(self, size: int, values: Mapping[str, Any]) -> None:
        """Count a batch of `size` samples with these mean values."""
        self._pending.extend((name, value, size) for name, value in values.items())

    def settle(self) -> None:
        """Add up what is pending."""
        numbers = _numbers([value for _, value, _ in self._pending])
        for (name, _, size), number in zip(self._pending, numbers, strict=True):
            self._sums[name] = self._sums.get(name, 0.0) + number * size
            self._sizes[name] = self._sizes.get(name, 0) + size
        self._pending.clear()

    def means(self) -> Row:
        """Name to mean over all samples so far."""
        self.settle()
        return {name: total / self._sizes[name] for name, total in self._sums.items()}

    def state(self) -> dict[str, Any]:
        """The sums as JSON can hold them."""
        self.settle()
        return {"sums": self._sums, "sizes": self._sizes}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`."""
        self._sums, self._sizes, self._pending = dict(state["sums"]), dict(state["sizes"]), []


def _numbers(values: Sequence[Any]) -> list[float]:
    """The values as floats; those on a GPU come in one copy for each dtype, because each copy waits."""
    numbers = [0.0] * len(values)
    there: dict[Any, list[int]] = {}
    for place, value in enumerate(values):
        if hasattr(value, "dtype") and device_of(value) == "gpu":
            there.setdefault(value.dtype, []).append(place)
        else:
            numbers[place] = float(value)
    for places in there.values():
        together = array_module(values[places[0]]).stack([values[place] for place in places])
        for place, number in zip(places, to_cpu(together).tolist(), strict=True):
            numbers[place] = number
    return numbers
