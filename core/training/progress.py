"""How a run shows that it is alive: a bar for the epoch on a terminal, and one plain line an epoch anywhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PERCENTAGES = ("accuracy",)


class Progress:
    """Prints to standard output; the bar, on standard error, exists on a terminal only."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._bar: Any = None

    def begin(self, epoch: int, steps: int, done: int) -> None:
        """Start the bar of an epoch (counted from 0) of which `done` of `steps` batches are behind us."""
        self.end()
        if sys.stderr.isatty():
            from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

            self._bar = tqdm(
                total=steps, initial=done, desc=f"epoch {epoch + 1}/{self._epochs}", leave=False, unit="batch"
            )

    def advance(self) -> None:
        """Count one batch."""
        if self._bar is not None:
            self._bar.update()

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def say(self, line: str) -> None:
        """Print one line, above the bar if there is one."""
        self.end()
        print(line, flush=True)

    def epoch(self, row: Mapping[str, float], best: bool) -> None:
        """Print the line of a finished epoch."""
        number = int(row["epoch"])
        parts = [f"epoch {number:>{len(str(self._epochs))}}/{self._epochs}"]
        parts += [_shown(name, value) for name, value in row.items() if name.startswith(("train_", "validation_"))]
        parts += [f"lr {row['learning_rate']:.2g}", f"{row['seconds']:.1f} s"]
        self.say("  ".join(parts) + ("  *" if best else ""))

    def summary(self, last: Mapping[str, float], best: Mapping[str, float], weights: Path) -> None:
        """Print the line at the end of a run."""
        figures = [_shown(name, value) for name, value in best.items() if name.startswith("validation_")]
        parts = [f"epoch {int(best['epoch'])}", *figures]
        self.say(f"{last['seconds']:.1f} s, best: {', '.join(parts)}; {weights}")


def _shown(name: str, value: float) -> str:
    """train_accuracy 0.98765 -> "train accuracy 98.77 %"."""
    label = name.replace("validation_", "val ").replace("_", " ")
    return f"{label} {100 * value:.2f} %" if name.endswith(PERCENTAGES) else f"{label} {value:.4f}"
