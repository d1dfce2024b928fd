"""Looking for better settings in one of two ways, and what follows: training with the best of them, and testing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core.cli import as_flags
from core.training.search import SPACE, Space, search
from core.training.sweep import sweep
from core.training.tuning import Settings, Train, as_text


def improve(
    settings: Settings,
    train: Train,
    test: Callable[[str], object],
    runs: Path,
    data_info: Mapping[str, Any],
    space: Space = SPACE,
) -> None:
    """Sweep if `settings.sweep` says so, else search in `space`; with --auto, train with what was found and test that.

    The folders <name>-sweep, <name>-search and, with --auto, <name> are in `runs`; `test` gets the path of the last
    one. `data_info` is the info of the prepared data. Raises UserError as `sweep` and `search` do.
    """
    name = settings.run_name
    if settings.sweep:
        sweep(settings, train, runs / f"{name}-sweep", str(data_info.get("notice", "")))
        return
    best = search(settings, train, runs / f"{name}-search", data_info, space)
    found = {setting: getattr(best, setting) for setting in space}
    shown = {setting: as_text(value) if isinstance(value, float) else value for setting, value in found.items()}
    print(f"\nbest: {as_flags(shown)}", flush=True)
    if settings.auto:
        train(best)
        test(str(runs / best.run_name))
