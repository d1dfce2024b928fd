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
from typing import Annotated

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import tyro

    from core.cli import main
    from core.training.improve import improve
    from core.training.search import Space
    from core.training.tuning import TuningSettings
    from emnist import settings as trainings
    from emnist import test_model, training
    from emnist.model import ACTIVATIONS
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

EPOCHS, TRIALS = 8, 20
SPACE: Space = {
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
    _, _, info = training.load(settings)

    def test(run: str) -> None:
        test_model.test(test_model.Settings(run=run, data=settings.data))

    improve(settings, training.train, test, training.PROJECT / "runs", info, SPACE)


if __name__ == "__main__":
    main(tweak, Settings, description=__doc__, presets=PRESETS)
