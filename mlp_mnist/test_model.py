"""Measure a trained network on the official test images, which nothing else opens.

    python mlp_mnist/test_model.py                            # the newest run on MNIST
    python mlp_mnist/test_model.py --dataset fashion_mnist    # the newest run on Fashion-MNIST
    python mlp_mnist/test_model.py --run mnist-best           # a certain run

Prints a table and writes plots, report.json and model_card.md into the run's folder report/.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from core.cli import main
    from core.data.prepared import load_prepared
    from core.data.sources import DATA_SETS
    from core.errors import UserError
    from core.predict import predict
    from core.report.report import About, write_report
    from mlp_mnist.model import DataSet
    from mlp_mnist.trained import Trained, load_trained
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there")

LIMITS = {
    "mnist": "Its digits are those of American census clerks and pupils around 1990, scaled and centred in one way; "
    "other hands, such as a 7 with a bar, and pictures prepared otherwise are recognised less well.",
    "fashion_mnist": "Its pictures are a German shop's catalogue photographs of single pieces, brought to 28 x 28 in "
    "one way; photographs of worn clothes are recognised less well.",
}


@dataclass
class Settings:
    """Which weights to measure, and on which data."""

    run: str = ""
    """Name or folder of the run; the newest one on --dataset if not given."""
    dataset: DataSet = "mnist"
    """Data set whose newest run is measured, if no --run is given."""
    data: str = ""
    """Folder of the prepared data, if it is not archive/<data set of the run>."""


def test(settings: Settings) -> None:
    """Measure as `settings` say; the report goes to <run>/report."""
    trained = load_trained(settings.run, settings.dataset)
    folder = Path(settings.data) if settings.data else PROJECT / "archive" / trained.dataset
    prepared = load_prepared(folder, ["test_images", "test_labels"])
    images, labels = prepared.arrays["test_images"], prepared.arrays["test_labels"].astype(np.int64)
    info = prepared.info
    if tuple(info["classes"]) != trained.classes:
        raise UserError(f"{folder} has other classes than the network, which was trained on {trained.dataset}")
    probabilities = trained.probabilities(predict(trained.network, trained.prepare(images)))
    about = About(
        model=trained.describe(),
        dataset=DATA_SETS[info["dataset"]].title if info["dataset"] in DATA_SETS else info["dataset"],
        origin=info["origin"],
        licence=info.get("licence", ""),
        citation=info.get("citation", ""),
        command=shlex.join(["python", f"{PROJECT.name}/{Path(__file__).name}", *sys.argv[1:]]),
        limits=[LIMITS[name] for name in (trained.dataset,) if name in LIMITS],
        weights=trained.weights,
    )
    notice = all_notices(trained, info["notice"])
    write_report(trained.weights.parent / "report", labels, probabilities, images, trained.classes, notice, about)


def all_notices(trained: Trained, of_test_data: str) -> str:
    """What must be said of the training data and of the test data, once if it is the same; "" if there is nothing."""
    return "; ".join(dict.fromkeys(notice for notice in (trained.notice, of_test_data) if notice))


if __name__ == "__main__":
    main(test, Settings, description=__doc__)
