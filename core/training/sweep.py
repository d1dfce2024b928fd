"""A sweep: the same training with each of several values of one or more settings."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.training.files import save_picture
from core.training.history import Row
from core.training.tuning import Settings, Train, TuningSettings, as_table, as_text, variant, write_table


def sweep(settings: Settings, train: Train, folder: Path, notice: str = "") -> list[Row]:
    """Train with every combination of the values in `settings.sweep`; returns the best epoch's row of each.

    The runs are called <name>-sweep/<setting>-<value>. A table is printed at the end; sweep.csv and sweep.png are in
    `folder`. With --resume, trainings that are finished are not repeated. Raises UserError for a setting that does not
    exist or a value that does not fit, before anything is trained.
    """
    changes = combinations(settings)
    names = [f"{settings.run_name}-sweep/" + "_".join(f"{name}-{as_text(c[name])}" for name in c) for c in changes]
    variants = [variant(settings, name, change) for name, change in zip(names, changes, strict=True)]
    rows: list[Row] = []
    for number, one in enumerate(variants, start=1):
        print(f"\n{number} of {len(variants)}: {one.name}", flush=True)
        rows.append(train(one))
        write_table(folder / "sweep.csv", changes[:number], rows)
    monitored = f"validation_{settings.monitor}"
    _draw(folder / "sweep.png", changes, [row[monitored] for row in rows], monitored, notice)
    print("\n" + as_table(changes, rows, monitored, highest_first=settings.monitor != "loss"), flush=True)
    return rows


def combinations(settings: TuningSettings) -> list[dict[str, Any]]:
    """Every combination of the values in `settings.sweep`, as setting to value."""
    present = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    axes: dict[str, list[Any]] = {}
    for text in settings.sweep:
        flag, _, values = text.partition("=")
        name = flag.strip().removeprefix("--").replace("-", "_")
        if name not in present or not values:
            raise UserError(f"--sweep expected setting=value,value such as lr=1e-4,3e-4, got {text!r}")
        axes[name] = [_value(name, value.strip(), present[name]) for value in values.split(",")]
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _value(name: str, text: str, like: Any) -> Any:
    """`text` as a value of the same kind as `like`; the elements of a tuple are joined by x, as in 256x128."""
    try:
        if isinstance(like, tuple):
            kind = type(like[0]) if like else int
            return tuple(kind(part) for part in text.split("x"))
        if isinstance(like, bool):
            return {"true": True, "false": False}[text.lower()]
        return type(like)(text)
    except (ValueError, KeyError):
        raise UserError(f"--sweep {name}: {text!r} is not a {type(like).__name__}") from None


def _draw(path: Path, changes: list[dict[str, Any]], values: list[float], figure_name: str, notice: str) -> None:
    from core.report import tuning

    shown = [{name: as_text(v) if isinstance(v, tuple) else v for name, v in change.items()} for change in changes]
    save_picture(tuning.sweep(shown, values, figure_name, notice), path)
