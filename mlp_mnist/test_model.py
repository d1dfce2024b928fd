"""Measure a trained network on the official test images, which nothing else opens.

    python mlp_mnist/test_model.py                            # the newest run on MNIST
    python mlp_mnist/test_model.py --dataset fashion_mnist    # the newest run on Fashion-MNIST
    python mlp_mnist/test_model.py --run mnist-best           # a certain run
    python mlp_mnist/test_model.py --samples 50               # on 50 of the images only

Prints a table and writes plots, report.json and model_card.md into the run's folder report/, which is what the demo
shows; with --samples 50 into report-50/.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    from core.cli import main
    from core.data.prepared import load_prepared
    from core.data.sources import DATA_SETS
    from core.predict import predict
    from core.report.testing import check_classes, choose_samples, report_on
    from core.training.settings import check_at_least
    from mlp_mnist.ask import how_many
    from mlp_mnist.model import DataSet
    from mlp_mnist.trained import load_classifier, prepare, probabilities
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

LIMITS = {
    "mnist": [
        "Its digits are those of American census clerks and pupils around 1990, scaled and centred in one way; other "
        "hands, such as a 7 with a bar, and pictures prepared otherwise are recognised less well."
    ],
    "fashion_mnist": [
        "Its pictures are a German shop's catalogue photographs of single pieces, brought to 28 x 28 in one way; "
        "photographs of worn clothes are recognised less well."
    ],
}
DEFAULT_SAMPLES = 50


@dataclass
class Settings:
    """Which weights to measure, and on which data."""

    run: str = ""
    """Name or folder of the run; the newest one on --dataset if not given."""
    dataset: DataSet = "mnist"
    """Data set whose newest run is measured, if no --run is given."""
    data: str = ""
    """Folder of the prepared data, if it is not archive/<data set of the run>."""
    samples: int = 0
    """Measure on so many test images only; 0 for all, -1 to be asked on a terminal (50 without one)."""

    def __post_init__(self) -> None:
        check_at_least(self, samples=-1)


def test(settings: Settings) -> None:
    """Measure as `settings` say; the report goes to <run>/report, that on some images to <run>/report-<samples>."""
    classifier = load_classifier(settings.run, settings.dataset)
    folder = Path(settings.data) if settings.data else PROJECT / "archive" / classifier.dataset
    prepared = load_prepared(folder, ["test_images", "test_labels"], setup_flags=f"--dataset {classifier.dataset}")
    check_classes(classifier, prepared)
    settings = replace(settings, samples=how_many(settings.samples, "test images", DEFAULT_SAMPLES))
    prepared, limits = choose_samples(prepared, settings.samples)
    outputs = predict(classifier.network, prepare(classifier, prepared.arrays["test_images"]))  # (N, K)
    dataset = prepared.info["dataset"]
    report_on(
        classifier,
        prepared,
        probabilities(classifier, outputs),
        model=str(classifier.architecture),
        dataset=DATA_SETS[dataset].title if dataset in DATA_SETS else dataset,
        script=Path(__file__),
        settings=settings,
        limits=[*limits, *LIMITS.get(classifier.dataset, [])],
        folder=classifier.weights.parent / (f"report-{settings.samples}" if limits else "report"),
    )


if __name__ == "__main__":
    main(test, Settings, description=__doc__)
