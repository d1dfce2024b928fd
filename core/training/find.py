"""Finding the run whose weights are wanted."""

from __future__ import annotations

import json
from pathlib import Path

from core.errors import UserError

BEST, CONFIG = "best.safetensors", "config.json"


def find_run(runs: Path, run: str, dataset: str, train_command: str) -> Path:
    """The folder of the run that is called `run`, or is at that path; with run "" the newest one on `dataset`.

    Raises UserError, with the command that trains a model, when there is no such run with saved weights.
    """
    if run:
        for folder in (runs / run, Path(run)):
            if (folder / BEST).is_file():
                return folder
        held = ", ".join(sorted(path.parent.name for path in runs.glob(f"*/{BEST}"))) or "none"
        raise UserError(f"there is no run {run!r} with saved weights; runs in {runs}: {held}")
    found = [path for path in runs.glob(f"*/{BEST}") if _dataset_of(path.parent) == dataset]
    if not found:
        raise UserError(f"no model for {dataset} has been trained yet: run `{train_command}` first")
    return max(found, key=lambda path: path.stat().st_mtime).parent


def _dataset_of(folder: Path) -> str:
    """The data set that a run's config.json names; "" when it cannot be read."""
    try:
        return str(json.loads((folder / CONFIG).read_text("utf-8"))["data"]["dataset"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
