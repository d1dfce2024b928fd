"""Get MNIST (11 MB) or Fashion-MNIST (30 MB), check every byte, and prepare it for training.

    python mlp_mnist/setup_data.py
    python mlp_mnist/setup_data.py --dataset fashion_mnist

A second call does nothing. --mirror takes another source, --from-csv your own files, and --synthetic needs no network.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    from core.cli import main
    from core.data.image_setup import ImageSettings, set_up_images
    from core.data.sources import DATA_SETS
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C


@dataclass
class Settings(ImageSettings):
    """Which data set, where it comes from, and where it goes."""

    dataset: Literal["mnist", "fashion_mnist"] = "mnist"
    """Which data set to prepare."""


def run(settings: Settings) -> None:
    """Prepare the data set that the settings name."""
    set_up_images(DATA_SETS[settings.dataset], settings, PROJECT)


if __name__ == "__main__":
    main(run, Settings, description=__doc__)
