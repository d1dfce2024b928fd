"""Measure a trained network on the test drawings, which nothing else opens.

    python rnn_doodles/test_model.py                 # the newest run
    python rnn_doodles/test_model.py --run best      # a certain run

Prints a table, with the accuracy at every tenth of the drawings, and writes plots, report.json, seen.csv and
model_card.md into the run's folder report/.
"""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import dataclass, replace
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from core.backend import Array
    from core.cli import main
    from core.data.prepared import load_prepared
    from core.data.quickdraw import Drawings
    from core.layers import Layer
    from core.losses import softmax
    from core.report.metrics import top_k_accuracy
    from core.report.testing import all_notices, check_classes, check_split, report_on
    from core.training.files import save_picture, write_checked
    from rnn_doodles.model import answer
    from rnn_doodles.pictures import pictures
    from rnn_doodles.trained import DATASET, load_guesser
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

LIMITS = (
    "It knows drawings made in 20 seconds with a mouse or a finger, and looks at the order of the strokes too: what is "
    "drawn with care, or in an unusual order, is recognised less well.",
)
SHARES = np.arange(1, 11) / 10


@dataclass
class Settings:
    """Which weights to measure, and on which data."""

    run: str = ""
    """Name or folder of the run; the newest one if not given."""
    data: str = ""
    """Folder of the prepared data, if it is not archive/quickdraw."""


def test(settings: Settings) -> None:
    """Measure as `settings` say; the report goes to <run>/report."""
    guesser = load_guesser(settings.run)
    folder = Path(settings.data) if settings.data else PROJECT / "archive" / DATASET
    prepared = load_prepared(folder, ["test_points", "test_lengths", "test_labels"])
    check_classes(guesser, prepared)
    check_split(guesser, prepared.info)
    points, lengths, labels = prepared.arrays.values()
    drawings, labels = Drawings(points, lengths), labels.astype(np.int64)
    report_on(
        guesser,
        replace(prepared, arrays={"test_images": pictures(drawings), "test_labels": labels}),
        softmax(answer(guesser.network, drawings)),
        model=str(guesser.architecture),
        dataset="Quick, Draw!",
        script=Path(__file__),
        settings=settings,
        limits=LIMITS,
        samples="drawings",
    )
    top1, top3 = guess_early(guesser.network, drawings, labels)
    table = as_csv(top1, top3)
    print(f"\nBefore the drawing is finished:\n{table}")
    report = guesser.weights.parent / "report"
    write_checked(report / "seen.csv", table)
    save_seen(report / "seen.png", top1, top3, len(labels), all_notices(guesser.notice, prepared.info["notice"]))


def guess_early(network: Layer, drawings: Drawings, labels: Array) -> tuple[Array, Array]:
    """How often the answer is right, and among the first three, at SHARES of each drawing: (S,) and (S,)."""
    top1, top3 = [], []
    for share in SHARES:
        probabilities = softmax(answer(network, drawings.beginnings(share)))
        top1.append(top_k_accuracy(labels, probabilities, 1))
        top3.append(top_k_accuracy(labels, probabilities, min(3, probabilities.shape[1])))
    return np.array(top1), np.array(top3)


def as_csv(top1: Array, top3: Array) -> str:
    """The accuracy at each share of the drawing, as CSV."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("seen", "accuracy", "top_3"))
    table.writerows((f"{s:.1f}", f"{a:.4f}", f"{b:.4f}") for s, a, b in zip(SHARES, top1, top3, strict=True))
    return text.getvalue()


def save_seen(path: Path, top1: Array, top3: Array, drawings: int, notice: str) -> None:
    """Save the same as a plot."""
    from core.report.drawings import accuracy_by_share  # late, like all that loads matplotlib

    save_picture(accuracy_by_share(SHARES.tolist(), top1, top3, drawings, notice), path)


if __name__ == "__main__":
    main(test, Settings, description=__doc__)
