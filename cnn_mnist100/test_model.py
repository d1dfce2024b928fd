"""Measure a trained network on the test pairs, which are made of test digits and which nothing else opens.

    python cnn_mnist100/test_model.py                 # the newest run
    python cnn_mnist100/test_model.py --run best      # a certain run

Prints a table, the hardest numbers first, and writes plots, report.json, hardest.csv and model_card.md into the run's
folder report/.
"""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from cnn_mnist100.trained import DATASET, Reader, load_reader, prepare
    from core.backend import Array
    from core.cli import main
    from core.data.prepared import load_prepared
    from core.layers import Parallel
    from core.losses import softmax
    from core.predict import predict
    from core.report.metrics import confusion_matrix
    from core.report.testing import check_classes, report_on
    from core.training.files import write_checked
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

LIMITS = (
    "It expects two digits side by side, each scaled and centred in its half as MNIST does; pictures prepared "
    "otherwise are read less well.",
    "The digits are those of American census clerks and pupils around 1990; other hands, such as a 7 with a bar, "
    "are read less well.",
)
EngineName = Literal["numpy", "torch"]


@dataclass
class Settings:
    """Which weights to measure, and on which data."""

    run: str = ""
    """Name or folder of the run; the newest one if not given."""
    data: str = ""
    """Folder of the prepared data, if it is not archive/mnist100."""
    engine: EngineName = "numpy"
    """What computes the answers; torch, for comparison, needs the extra "torch"."""


def test(settings: Settings) -> None:
    """Measure as `settings` say; the report goes to <run>/report."""
    reader = load_reader(settings.run)
    folder = Path(settings.data) if settings.data else PROJECT / "archive" / DATASET
    prepared = load_prepared(folder, ["test_images", "test_labels"])
    check_classes(reader, prepared)
    logits = answer(reader, prepare(reader, prepared.arrays["test_images"]), settings.engine)  # (N, 100)
    report_on(
        reader,
        prepared,
        softmax(logits),
        model=str(reader.architecture),
        dataset="MNIST pairs",
        script=Path(__file__),
        settings=settings,
        limits=LIMITS,
    )
    labels, answers = prepared.arrays["test_labels"], logits.argmax(axis=1)
    print(digits_apart(labels, answers))
    write_checked(reader.weights.parent / "report" / "hardest.csv", hardest_first(labels, answers, reader.classes))


def answer(reader: Reader, x: Array, engine: EngineName) -> Array:
    """The logits (N, 100) for prepared pictures (N, 28, 56, 1)."""
    if engine == "torch":
        from cnn_mnist100 import training_torch  # late: nobody else needs PyTorch

        return training_torch.answer(reader.architecture, reader.network, x)
    return predict(Parallel(reader.network), x)


def digits_apart(labels: Array, answers: Array) -> str:
    """How often each of the two digits of a number (N,) was read right, as a line."""
    left, right = (labels // 10 == answers // 10).mean(), (labels % 10 == answers % 10).mean()
    return f"the left digit is right in {left:.2%}, the right digit in {right:.2%}"


def hardest_first(labels: Array, answers: Array, classes: tuple[str, ...]) -> str:
    """Every number with its share of right answers and what it was taken for, the hardest first, as CSV."""
    counts = confusion_matrix(labels, answers, len(classes))  # (100, 100)
    support, right = counts.sum(axis=1), np.diag(counts)
    recall = right / np.maximum(support, 1)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["number", "images", "right", "recall", "taken_for"])
    for k in np.argsort(recall, kind="stable"):
        others = [other for other in np.argsort(-counts[k], kind="stable") if counts[k, other] and other != k]
        mistakes = " ".join(f"{classes[other]}:{counts[k, other]}" for other in others)
        table.writerow([classes[k], support[k], right[k], f"{recall[k]:.4f}", mistakes])
    return text.getvalue()


if __name__ == "__main__":
    main(test, Settings, description=__doc__)
