"""A search for good settings with Optuna: many short trainings, the hopeless ones given up early.

The study is a journal file, so several processes can share one search, and an interrupted one goes on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UserError
from core.training.files import save_picture
from core.training.guard import NotFiniteError
from core.training.history import Row
from core.training.record import RunRecord
from core.training.tuning import Settings, Train, as_table, as_text, variant, write_table

# Setting to its lowest and highest value, searched on a logarithmic scale, or to a list of choices.
Space = Mapping[str, "tuple[float, float] | list[Any]"]
SPACE: Space = {"lr": (1e-5, 1e-1), "weight_decay": (1e-7, 1e-2)}
TRIALS_BEFORE_PRUNING = 5
EPOCHS_BEFORE_PRUNING = 1
SHOWN = 10


def search(
    settings: Settings,
    train: Train,
    folder: Path,
    data_info: Mapping[str, Any] | None = None,
    space: Space = SPACE,
) -> Settings:
    """Try `settings.search` combinations out of `space`; returns the best settings.

    `data_info` is the info of the prepared data, whose notice is on the pictures.

    Trials are called <name>-search/<number>. In `folder` are study.journal, search.csv and three pictures: search.png
    (the figure against each setting), parallel.png (all settings side by side) and time.png. All processes that search
    in `folder` work on the same number of trials, and trials of an interrupted search count. After an epoch that is
    worse than the median of the other trials at that epoch, a trial is given up. A trial whose numbers overflow counts
    as failed. Raises UserError when Optuna is not installed, when the folder's trials were made with other settings or
    data, when their journal is damaged, or when no trial succeeds.
    """
    optuna = _optuna()
    record = RunRecord(variant(settings, settings.name, {}), "cpu", data_info)
    for name in space:
        record.identity["settings"].pop(name)
    try:
        study = _open_study(optuna, settings, folder)
        _refuse_changes(study, record, folder)
    except (ValueError, LookupError, TypeError, AssertionError) as error:  # Optuna cannot read the journal
        raise UserError(
            f"{folder / 'study.journal'} is damaged: put a copy in its place, or search under another --name"
        ) from error
    monitored = f"validation_{settings.monitor}"
    while sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False)) < settings.search:
        trial = study.ask()
        changes = _suggest(trial, space)

        def watch(epoch: int, row: Row, trial: Any = trial) -> None:
            trial.report(row[monitored], epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        shown = ", ".join(f"{name} {as_text(value)}" for name, value in changes.items())
        print(f"\ntrial {trial.number}: {shown}", flush=True)
        try:
            row = train(variant(settings, f"{settings.run_name}-search/{trial.number:04d}", changes), watch=watch)
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            print("given up: worse than the median of the trials", flush=True)
        except NotFiniteError as error:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            print(f"failed: {error}", flush=True)
        else:
            trial.set_user_attr("row", row)
            study.tell(trial, row[monitored])
    return _conclude(optuna, study, settings, folder, record.notice, space)


def _refuse_changes(study: Any, record: RunRecord, folder: Path) -> None:
    """Let a new study say what its trials are made with; UserError for another one where that was something else."""
    has_trials = bool(study.get_trials(deepcopy=False))  # first: another process may be making the first one
    made_with = study.user_attrs.get("made_with")
    if made_with is None and not has_trials:
        study.set_user_attr("made_with", {key: record.identity[key] for key in ("settings", "data")})
    else:
        record.refuse_changes(folder, made_with or {})


def _suggest(trial: Any, space: Space) -> dict[str, Any]:
    """What the study wants to try next. It knows choices by their text, because it can store no tuple."""
    drawn = {
        name: trial.suggest_float(name, *values, log=True)
        if isinstance(values, tuple)
        else trial.suggest_categorical(name, [as_text(value) for value in values])
        for name, values in space.items()
    }
    return _as_settings(drawn, space)


def _as_settings(drawn: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """The study's values as settings: a choice instead of its text."""
    choices = {name: {as_text(value): value for value in values} for name, values in space.items()}
    return {
        name: value if isinstance(space[name], tuple) else choices[name][value]
        for name, value in drawn.items()
        if name in space
    }


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UserError('--search needs Optuna: pip install -e ".[search]"') from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _open_study(optuna: Any, settings: Settings, folder: Path) -> Any:
    """The study in `folder`, made if there is none."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = str(folder / "study.journal")
        backend = JournalFileBackend(path, lock_obj=JournalFileOpenLock(path) if os.name == "nt" else None)
    except OSError as error:
        raise UserError(f"cannot write in {folder}: {error.strerror or error}") from error
    study = optuna.create_study(
        storage=JournalStorage(backend),
        study_name=settings.run_name,
        direction="minimize" if settings.monitor == "loss" else "maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(TRIALS_BEFORE_PRUNING, EPOCHS_BEFORE_PRUNING),
    )
    # Each process draws differently, also those that start together.
    seed = np.random.SeedSequence([settings.seed, len(study.get_trials(deepcopy=False)), os.getpid()])
    study.sampler = optuna.samplers.TPESampler(seed=int(seed.generate_state(1)[0]))
    return study


def _conclude(optuna: Any, study: Any, settings: Settings, folder: Path, notice: str, space: Space) -> Settings:
    """Print and write the finished trials; returns the settings of the best one."""
    from core.report import tuning

    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if not complete:
        raise UserError(f"none of the {settings.search} trials in {folder} succeeded; search around a lower --lr")
    changes = [_as_settings(trial.params, space) for trial in complete]
    rows = [trial.user_attrs["row"] for trial in complete]
    values = [trial.value for trial in complete]
    best = [trial.number for trial in complete].index(study.best_trial.number)
    write_table(folder / "search.csv", changes, rows)
    monitored = f"validation_{settings.monitor}"
    seconds = [row["seconds"] for row in rows]
    save_picture(tuning.search(changes, values, best, monitored, notice), folder / "search.png")
    save_picture(tuning.parallel_coordinates(changes, values, best, monitored, notice), folder / "parallel.png")
    save_picture(tuning.time_against(seconds, values, best, monitored, notice), folder / "time.png")
    lines = as_table(changes, rows, monitored, highest_first=settings.monitor != "loss").splitlines()
    print("\n" + "\n".join(lines[: SHOWN + 1]), flush=True)
    return variant(settings, settings.name, changes[best])
