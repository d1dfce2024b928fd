"""Look for better settings: hidden sizes, learning rate, batch size, share held out, and activation.

    python emnist/tweak.py                              # 20 trials of 8 epochs; start it twice to share the work
    python emnist/tweak.py --search 50 --auto           # then train on the best settings, and test
    python emnist/tweak.py --sweep hidden=128x64,256x128,512x256 activation=relu,gelu
    python emnist/tweak.py --preset cnn --epochs 3

A search writes into runs/<name>-search: search.png (accuracy against each setting), parallel.png (all settings side by
side), time.png (time against accuracy) and search.csv. The same command again goes on where the last one stopped. The
test images stay closed until --auto has trained; different shares are judged by different images, so look at the
plots, not at the last digit.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import tyro

    from core.cli import main
    from core.training.search import search
    from core.training.sweep import sweep
    from core.training.tuning import TuningSettings, as_text
    from emnist import settings as trainings
    from emnist import test_model, training
    from emnist.model import ACTIVATIONS
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)

EPOCHS, TRIALS = 8, 20
SPACE: dict[str, tuple[float, float] | list[Any]] = {
    "hidden": [(128,), (256, 128), (512, 256), (1024, 512)],
    "lr": (1e-4, 1e-2),
    "batch_size": [32, 64, 128, 256],
    "validation": [0.05, 0.1, 0.2],
    "activation": list(ACTIVATIONS),
}


@dataclass
class Settings(trainings.Settings, TuningSettings):
    """Everything of a training, which is where each trial starts, and how to look for better values."""

    search: int = TRIALS
    """Trials of the search; the same command again goes on, also beside itself."""
    lr_find: Annotated[bool, tyro.conf.Suppress] = False


def from_preset(preset: trainings.Settings) -> Settings:
    """The preset, but with few epochs, in which bad settings show already."""
    values = {field.name: getattr(preset, field.name) for field in fields(preset)}
    return Settings(**values | {"epochs": EPOCHS})


PRESETS = {name: from_preset(preset) for name, preset in trainings.PRESETS.items()}


def tweak(settings: Settings) -> None:
    """Sweep if that is asked for, else search; with --auto, train and test after the search."""
    runs, name = training.PROJECT / "runs", settings.run_name
    _, _, info = training.load(settings)
    if settings.sweep:
        sweep(settings, training.train, runs / f"{name}-sweep", str(info["notice"]))
        return
    best = search(settings, training.train, runs / f"{name}-search", str(info["notice"]), SPACE)
    flags = " ".join(f"--{setting.replace('_', '-')} {_words(getattr(best, setting))}" for setting in SPACE)
    print(f"\nbest: {flags}", flush=True)
    if settings.auto:
        training.train(best)
        test_model.test(test_model.Settings(run=str(runs / best.run_name), data=settings.data))


def _words(value: Any) -> str:
    """A value as the command line takes it."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else as_text(value)


if __name__ == "__main__":
    main(tweak, Settings, description=__doc__, presets=PRESETS)
