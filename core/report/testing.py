"""The report on a run: what a project's test_model.py has to say beyond the probabilities."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.backend import Array
from core.data.prepared import Prepared
from core.errors import UserError
from core.report.report import About, Figures, write_report
from core.training.trained import Trained


def check_classes(trained: Trained[Any], prepared: Prepared) -> None:
    """UserError unless the test data has the classes that the network was trained on."""
    if tuple(prepared.info["classes"]) != trained.classes:
        raise UserError(f"the test data has other classes than the network, which was trained on {trained.dataset}")


def report_on(
    trained: Trained[Any],
    prepared: Prepared,
    probabilities: Array,
    *,
    model: str,
    dataset: str,
    script: Path,
    limits: Sequence[str] = (),
    folder: Path | None = None,
) -> Figures:
    """Write the report on `probabilities` (N, K) for the prepared test_images and test_labels; returns its figures.

    model and dataset: the network and the data in a few words. script: the file that was called, whose command line
    repeats the measurement. folder: where it goes, by default report/ beside the weights.
    """
    info = prepared.info
    about = About(
        model=model,
        dataset=dataset,
        origin=info["origin"],
        licence=info.get("licence", ""),
        citation=info.get("citation", ""),
        command=shlex.join(["python", f"{script.parent.name}/{script.name}", *sys.argv[1:]]),
        limits=limits,
        weights=trained.weights,
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
