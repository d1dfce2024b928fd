"""Measure a trained network on images that nothing else opens: the test images, and those set aside by setup_data.py.

    python cifar/test_model.py                              # the newest run on CIFAR-10
    python cifar/test_model.py --run cifar10-cnn --views 6  # six views of each image, answers averaged

Prints a table for each and writes plots, the worst mistakes, report.json and model_card.md into the run's folders
report/ (the test images) and report-held-out/.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    from cifar.data import data_folder
    from cifar.trained import Classifier, load_classifier, prepare, what_it_saw
    from cifar.views import answer_in_views
    from core.cli import main
    from core.data.prepared import Prepared, load_prepared
    from core.data.sources import DATA_SETS
    from core.layers import Layer, Parallel
    from core.losses import softmax
    from core.report.report import Figures
    from core.report.testing import check_classes, check_split, report_on
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

LIMITS = (
    "It expects one object that fills a picture of 32 x 32 pixels; larger photographs are shrunk to that first.",
    "The pictures were found by searching the web around 2008 and sorted by students: objects as people photographed "
    "them then, and some labels are wrong.",
)
VIEWS = {
    1: (),
    2: ("Each answer is the mean of those to the image and to its mirror image.",),
    6: ("Each answer is the mean of those to six views of the image: mirrored or not, moved by a pixel or not.",),
}


@dataclass
class Settings:
    """Which weights to measure, on which data, and how."""

    run: str = ""
    """Name or folder of the run; the newest one on CIFAR-10 if not given."""
    data: str = ""
    """Folder of the prepared data, if it is not archive/<data set>."""
    views: Literal[1, 2, 6] = 1
    """Views of each image whose answers are averaged; more are a little more accurate and take that much longer."""


def test(settings: Settings) -> None:
    """Measure as `settings` say; the reports go to <run>/report and <run>/report-held-out."""
    classifier = load_classifier(settings.run)
    folder = data_folder(classifier.dataset, settings.data)
    test_images = load_prepared(folder, ["test_images", "test_labels"], setup_flags=f"--dataset {classifier.dataset}")
    check_classes(classifier, test_images)
    title, model = DATA_SETS[classifier.dataset].title, Parallel(classifier.network)
    if "held_out_images" in test_images.info["arrays"]:
        check_split(classifier, test_images.info)
        held_out = load_prepared(folder, ["held_out_images", "held_out_labels"])
        named = {name.replace("held_out", "test"): array for name, array in held_out.arrays.items()}
        set_aside = replace(held_out, arrays=named)
        measure(classifier, model, set_aside, f"{title}, training images set aside", settings, "-held-out")
        print()
    measure(classifier, model, test_images, title, settings)


def measure(
    classifier: Classifier, model: Layer, prepared: Prepared, dataset: str, settings: Settings, suffix: str = ""
) -> Figures:
    """Report on what `model` answers to the prepared test_images, in the folder report<suffix>."""
    x = prepare(classifier, prepared.arrays["test_images"])
    logits = answer_in_views(model, x, settings.views)  # (N, classes)
    return report_on(
        classifier,
        prepared,
        softmax(logits),
        model=str(classifier.architecture),
        dataset=dataset,
        script=Path(__file__),
        settings=settings,
        limits=(what_it_saw(classifier), *VIEWS[settings.views], *LIMITS),
        folder=classifier.weights.parent / f"report{suffix}",
    )


if __name__ == "__main__":
    main(test, Settings, description=__doc__)
