"""A sweep: the same training with each of several values of one or more settings."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from core.errors import UserError
from core.training.files import save_picture
from core.training.guard import NotFiniteError
from core.training.history import Row
from core.training.settings import kinds_of
from core.training.tuning import UNTUNED, Settings, Train, TuningSettings, as_table, as_text, variant, write_table

# Settings that say where a training begins, what it is called, or what it shows: nothing to compare results by. Of a
# preset only the name is left when the command line has been read, and the notice on the picture is that of one `data`.
NOT_COMPARED = {"name", "preset", "data", "resume", "checkpoint_seconds", "plot", "tensorboard", *UNTUNED}


def sweep(settings: Settings, train: Train, folder: Path, notice: str = "") -> list[Row]:
    """Train with every combination of the values in `settings.sweep`; returns the best epoch's row of each.

    The runs are called <name>-sweep/<setting>-<value>. A table is printed at the end; sweep.csv and sweep.png are in
    `folder`. With --resume, trainings that are finished are not repeated. One whose numbers overflow is left out.
    Raises UserError for a setting that does not exist or cannot be compared, for a value that does not fit, and for
    what is there twice, before anything is trained; and if no training succeeds.
    """
    wanted = combinations(settings)
    names = [f"{settings.run_name}-sweep/" + "_".join(f"{name}-{as_text(c[name])}" for name in c) for c in wanted]
    variants = [variant(settings, name, change) for name, change in zip(names, wanted, strict=True)]
    changes: list[dict[str, Any]] = []
    rows: list[Row] = []
    for number, (one, change) in enumerate(zip(variants, wanted, strict=True), start=1):
        print(f"\n{number} of {len(variants)}: {one.name}", flush=True)
        try:
            rows.append(train(one))
        except NotFiniteError as error:
            print(f"failed: {error}", flush=True)
            continue
        changes.append(change)
        write_table(folder / "sweep.csv", changes, rows)
    if not rows:
        raise UserError(f"none of the {len(variants)} trainings succeeded; sweep around a lower --lr")
    monitored = f"validation_{settings.monitor}"
    _draw(folder / "sweep.png", changes, [row[monitored] for row in rows], monitored, notice)
    print("\n" + as_table(changes, rows, monitored, highest_first=settings.monitor != "loss"), flush=True)
    return rows


def combinations(settings: TuningSettings) -> list[dict[str, Any]]:
    """Every combination of the values in `settings.sweep`, as setting to value."""
    kinds = kinds_of(settings)
    axes: dict[str, list[Any]] = {}
    for text in settings.sweep:
        flag, _, values = text.partition("=")
        name = flag.strip().removeprefix("--").replace("-", "_")
        if not values:
            raise UserError(f"--sweep expected setting=value,value such as lr=1e-4,3e-4, got {text!r}")
        if name not in kinds:
            raise UserError(f"--sweep {text}: there is no setting {name!r} (--help lists the settings)")
        if name in NOT_COMPARED:
            raise UserError(f"--sweep cannot compare values of --{name.replace('_', '-')}")
        if name in axes:
            raise UserError(f"--sweep has two lists of values for {name}: write {name}=value,value once")
        axes[name] = _values(name, values.split(","), kinds[name])
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _values(name: str, texts: list[str], kind: Any) -> list[Any]:
    """Each text as a value; UserError for two of one name, because their runs would share a folder."""
    found: dict[str, Any] = {}
    for text in texts:
        value = _value(name, text.strip(), kind)
        if as_text(value) in found:
            raise UserError(f"--sweep {name}: {as_text(value)} is there twice")
        found[as_text(value)] = value
    return list(found.values())


def _value(name: str, text: str, kind: Any) -> Any:
    """`text` as a value of this type; the elements of a tuple are joined by x, as in 256x128."""
    plain = get_origin(kind) or kind
    try:
        if plain is Literal:  # the settings themselves refuse a word that is none of their choices
            return next((choice for choice in get_args(kind) if str(choice) == text), text)
        if plain is tuple:
            return tuple(get_args(kind)[0](part) for part in text.split("x"))
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (ValueError, KeyError):
        raise UserError(f"--sweep {name}: {text!r} is not a {plain.__name__}") from None


def _draw(path: Path, changes: list[dict[str, Any]], values: list[float], figure_name: str, notice: str) -> None:
    from core.report import tuning

    shown = [{name: as_text(v) if isinstance(v, tuple) else v for name, v in change.items()} for change in changes]
    save_picture(tuning.sweep(shown, values, figure_name, notice), path)
