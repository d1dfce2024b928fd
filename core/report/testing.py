"""The report on a run: what a project's test_model.py has to say beyond the probabilities."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.backend import Array
from core.cli import command_line
from core.data.prepared import Prepared, training_checksums
from core.data.splits import choose_indices
from core.errors import UserError
from core.report.report import About, Figures, write_report
from core.training.trained import Trained


def check_classes(trained: Trained[Any], prepared: Prepared) -> None:
    """UserError unless the test data has the classes that the network was trained on."""
    if tuple(prepared.info["classes"]) != trained.classes:
        raise UserError(f"the test data has other classes than the network, which was trained on {trained.dataset}")


def check_split(trained: Trained[Any], info: Mapping[str, Any]) -> None:
    """UserError where training and test data have been parted anew since the network was trained.

    For data that setup_data.py parts itself: what is tested now may be what the network has learned. `info` is that of
    the prepared data.
    """
    if trained.learned_from and trained.learned_from != training_checksums(info):
        raise UserError(
            "the data was prepared anew since this network was trained, which may have learned what is tested now: "
            "train it again, or prepare the data as they were"
        )


def choose_samples(prepared: Prepared, samples: int) -> tuple[Prepared, list[str]]:
    """The data with so many of the test images, or all for 0; and the sentences that the report must say of that.

    They are the same at every call, and in the proportions of the classes. Raises UserError for more than there are.
    """
    labels = prepared.arrays["test_labels"]
    if samples > len(labels):
        raise UserError(f"--samples {samples}: there are only {len(labels)} test images")
    if samples in (0, len(labels)):
        return prepared, []
    rows = choose_indices(labels, samples, seed=0)
    chosen = {name: array[rows] for name, array in prepared.arrays.items()}
    share = f"{samples:,} of the {len(labels):,} test images"
    limit = f"It was measured on only {share}, chosen at random in the proportions of the classes."
    return dataclasses.replace(prepared, arrays=chosen), [limit]


def report_on(
    trained: Trained[Any],
    prepared: Prepared,
    probabilities: Array,
    *,
    model: str,
    dataset: str,
    script: Path,
    settings: Any,
    limits: Sequence[str] = (),
    folder: Path | None = None,
    samples: str = "images",
) -> Figures:
    """Write the report on `probabilities` (N, K) for the prepared test_images and test_labels; returns its figures.

    model and dataset: the network and the data in a few words. script, settings: the file and the dataclass with
    which it was called; the report says the command. folder: where it goes, by default report/ beside the weights.
    samples: what is classified, in the plural.
    """
    info = prepared.info
    about = About(
        model=model,
        dataset=dataset,
        origin=info["origin"],
        licence=info.get("licence", ""),
        citation=info.get("citation", ""),
        command=command_line(script, settings),
        limits=limits,
        weights=trained.weights,
        samples=samples,
    )
    return write_report(
        folder or trained.weights.parent / "report",
        prepared.arrays["test_labels"].astype(np.int64),
        probabilities,
        prepared.arrays["test_images"],
        trained.classes,
        all_notices(trained.notice, info["notice"]),
        about,
    )


def all_notices(of_training_data: str, of_test_data: str) -> str:
    """What must be said of both, once if it is the same; "" if there is nothing."""
    return "; ".join(dict.fromkeys(notice for notice in (of_training_data, of_test_data) if notice))
