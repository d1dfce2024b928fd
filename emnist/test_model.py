"""Measure a trained network on the test images, which nothing else opens.

    python emnist/test_model.py                 # the newest run
    python emnist/test_model.py --run cnn       # a certain run

Prints a table, tells confusions of characters that look alike (0 and O, 1 and I) apart from true mistakes, and writes
plots, report.json, lookalikes.json and model_card.md into the run's folder report/.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from core.cli import main
    from core.data.prepared import load_prepared
    from core.layers import Parallel
    from core.losses import softmax
    from core.predict import predict
    from core.report.testing import check_classes, report_on
    from core.training.files import write_checked
    from emnist.lookalikes import as_lines, measure_lookalikes, measure_parts
    from emnist.trained import DATASET, load_reader, prepare
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

LIMITS = (
    "It expects a single character, scaled to 24 pixels and centred as EMNIST does; other pictures are read less well.",
    "Without a line of text around it nobody can tell 0 from O, or 1 from I and l: see lookalikes.json.",
    "The characters are those of American census clerks and pupils around 1990.",
)


@dataclass
class Settings:
    """Which weights to measure, and on which data."""

    run: str = ""
    """Name or folder of the run; the newest one if not given."""
    data: str = ""
    """Folder of the prepared data, if it is not archive/emnist."""


def test(settings: Settings) -> None:
    """Measure as `settings` say; the report goes to <run>/report."""
    reader = load_reader(settings.run)
    folder = Path(settings.data) if settings.data else PROJECT / "archive" / DATASET
    prepared = load_prepared(folder, ["test_images", "test_labels"])
    check_classes(reader, prepared)
    logits = predict(Parallel(reader.network), prepare(reader, prepared.arrays["test_images"]))  # (N, classes)
    report_on(
        reader,
        prepared,
        softmax(logits),
        model=str(reader.architecture),
        dataset=describe(prepared.info["recipe"]),
        script=Path(__file__),
        settings=settings,
        limits=LIMITS,
        samples="characters",
    )
    labels, answers = prepared.arrays["test_labels"].astype(np.int64), logits.argmax(axis=1)
    figures = {
        "parts": measure_parts(labels, answers, prepared.info["characters"]["test"]),
        "lookalikes": measure_lookalikes(labels, answers, reader.classes),
    }
    print("\n".join(as_lines(figures)))
    path = reader.weights.parent / "report" / "lookalikes.json"
    write_checked(path, json.dumps(figures | {"notice": prepared.info["notice"]}, indent=1) + "\n")


def describe(recipe: dict[str, object]) -> str:
    """The data in a few words, such as "EMNIST balanced with dot, plus"."""
    symbols = recipe.get("symbols")
    named = f"EMNIST {recipe.get('split')}".strip()
    return f"{named} with {', '.join(map(str, symbols))}" if isinstance(symbols, list) and symbols else named


if __name__ == "__main__":
    main(test, Settings, description=__doc__)
