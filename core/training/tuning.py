"""What a sweep and a search for better settings have in common: their flags, the training they call, the table."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from core.errors import UserError
from core.training.files import write_checked
from core.training.history import Row
from core.training.run import Watch
from core.training.settings import TrainingSettings, check_at_least


@dataclass
class TuningSettings(TrainingSettings):
    """Training settings with the flags that look for better ones."""

    lr_find: bool = False
    """Instead of training, find a learning rate: raise it step by step and plot the loss."""
    sweep: tuple[str, ...] = ()
    """Train once with each value, such as lr=1e-4,3e-4,1e-3; several settings are combined."""
    search: int = 0
    """Trials of a search for learning rate and weight decay; the same command again goes on, also beside itself."""
    auto: bool = False
    """After the search, train with the best settings and test."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, search=0)
        if self.auto and not self.search:
            raise UserError("--auto needs a number of trials, such as --search 20")
        searching = self.auto or self.search not in (0, type(self).search)  # what a script does unasked gives way
        ways = {"--lr-find": self.lr_find, "--sweep": self.sweep, "--auto" if self.auto else "--search": searching}
        chosen = [flag for flag, value in ways.items() if value]
        if len(chosen) > 1:
            raise UserError(f"{' and '.join(chosen)} are different ways to look for better settings: choose one")


Settings = TypeVar("Settings", bound=TuningSettings)

UNTUNED: dict[str, Any] = {"lr_find": False, "sweep": (), "search": 0, "auto": False}


class Train(Protocol):
    """A training: gives its Run the `watch` that it is handed, and returns `Run.best`."""

    def __call__(self, settings: Any, *, watch: Watch | None = None) -> Row: ...


def variant(settings: Settings, name: str, changes: Mapping[str, Any]) -> Settings:
    """The settings of one training: with these changes, under this name, and without the flags for tuning."""
    return dataclasses.replace(settings, name=name, **(UNTUNED | dict(changes)))


def as_text(value: Any) -> str:
    """A setting's value in short, fit for a file name: a tuple as 256x128."""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def as_table(changes: Sequence[Mapping[str, Any]], rows: Sequence[Row], sort_by: str, highest_first: bool) -> str:
    """The trainings as lines of a table, the best one first: what was changed, and the figures of the best epoch."""
    order = sorted(range(len(rows)), key=lambda place: rows[place][sort_by], reverse=highest_first)
    figures = [name for name in ("epoch", "validation_accuracy", "validation_loss", "seconds") if name in rows[0]]
    lines = [[*changes[0], *figures]]
    for place in order:
        cells = [as_text(value) for value in changes[place].values()]
        lines.append(cells + [f"{rows[place][name]:.4f}".rstrip("0").rstrip(".") for name in figures])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def write_table(path: Path, changes: Sequence[Mapping[str, Any]], rows: Sequence[Row]) -> None:
    """Write the trainings as CSV: what was changed, and every figure of the best epoch."""
    text = io.StringIO()
    names = [*changes[0], *(name for name in rows[0] if name not in changes[0])]
    table = csv.DictWriter(text, names, restval="", extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for changed, row in zip(changes, rows, strict=True):
        table.writerow(row | {name: as_text(value) for name, value in changed.items()})
    write_checked(path, text.getvalue())
