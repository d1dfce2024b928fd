"""The whole report on a trained classifier: a table to read, a file for machines, pictures, and a model card."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from core.errors import UserError
from core.files import replacing
from core.report import galleries, metrics, plots, style
from core.report.card import model_card
from core.training.record import versions_of

FORMAT = "barenets report 1"
LISTED_CLASSES = 30  # the terminal lists each class up to here, and beyond it the worst ones
Figures = dict[str, Any]


@dataclass(frozen=True)
class About:
    """What a report says of its model and data beside the figures; texts may be empty."""

    model: str
    """The network in a few words, such as "multilayer perceptron, 784-256-128-10"."""
    dataset: str
    """Name of the data set."""
    origin: str
    """Where the data came from: "publisher", "mirror", "csv" or "synthetic"."""
    licence: str = ""
    """Licence of the data."""
    citation: str = ""
    """Whom to cite for the data."""
    command: str = ""
    """The command that repeats the measurement."""
    limits: Sequence[str] = ()
    """What the model is not good for, one sentence each."""
    weights: Path | None = None
    """The file of the weights, whose SHA-256 the report carries."""
    samples: str = "images"
    """What is classified, in the plural."""


def write_report(
    folder: Path,
    labels: ArrayLike,
    probabilities: ArrayLike,
    images: ArrayLike | None,
    classes: Sequence[str],
    notice: str,
    about: About,
) -> Figures:
    """Measure, print a table, and write report.json, model_card.md and the plots into `folder`.

    `labels` (N,) integers, `probabilities` (N, K) with rows that sum to 1, `images` (N, H, W[, 1 or 3]) or None for
    data without pictures, `classes` the K names; `notice` is "" for complete official data only, and shown everywhere
    else. Returns what report.json holds. That of an earlier report goes first and report.json is written last: where it
    is, the rest is. Raises UserError when the folder cannot be written, ValueError for arrays that do not fit.
    """
    y, p = metrics.check(labels, probabilities)
    if len(classes) != p.shape[1] or (images is not None and len(np.asarray(images)) != len(y)):
        raise ValueError(f"expected {p.shape[1]} class names and {len(y)} images, got {len(classes)} names")
    figures = measure(y, p, classes) | _provenance(notice, about)
    print(as_table(figures))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").unlink(missing_ok=True)
        _write_plots(folder, y, p, images, classes, notice, about.samples)
        figures["examples"] = [] if images is None else _write_examples(folder, y, images, classes)
        _write_text(folder / "model_card.md", model_card(figures))
        _write_text(folder / "report.json", json.dumps(figures, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise UserError(f"cannot write the report into {folder}: {error.strerror or error}") from error
    print(f"\nThe report is in {folder}")
    return figures


def measure(labels: metrics.Indices, probabilities: metrics.Floats, classes: Sequence[str]) -> Figures:
    """All figures of the report, as JSON can hold them."""
    confusion = metrics.confusion_matrix(labels, probabilities.argmax(axis=1), len(classes))
    right = metrics.accuracy(labels, probabilities)
    table = metrics.per_class(confusion)
    occurs = confusion.any(axis=0) | confusion.any(axis=1)  # (K,) whether a class is a label or an answer at all
    rows = zip(classes, table.precision, table.recall, table.f1, table.support, strict=True)
    return {
        "images": right.total,
        "accuracy": {"value": right.value, "low": right.low, "high": right.high, "correct": right.correct},
        "top_k": {str(k): metrics.top_k_accuracy(labels, probabilities, k) for k in (3, 5) if k < len(classes)},
        "macro_f1": float(table.f1[occurs].mean()),
        "calibration_error": metrics.reliability(labels, probabilities).ece,
        "classes": [
            {"name": name, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
            for name, p, r, f, s in rows
        ],
        "confusion": confusion.tolist(),
    }


def _provenance(notice: str, about: About) -> Figures:
    return {
        "format": FORMAT,
        "model": about.model,
        "dataset": about.dataset,
        "samples": about.samples,
        "origin": about.origin,
        "notice": notice,
        "licence": about.licence,
        "citation": about.citation,
        "command": about.command,
        "limits": list(about.limits),
        "weights_sha256": hashlib.sha256(about.weights.read_bytes()).hexdigest() if about.weights else "",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": versions_of("barenets", "numpy"),
    }


def as_table(figures: Figures) -> str:
    """The figures as text for a terminal: the notice, the totals, and a line for each class."""
    rows, share = figures["classes"], figures["accuracy"]
    data = f"synthetic data, not {figures['dataset']}" if figures["origin"] == "synthetic" else figures["dataset"]
    lines = [f"*** {figures['notice']} ***", ""] if figures["notice"] else []
    lines += [
        f"{figures['model']} on {figures['images']:,} test {figures['samples']} of {data}",
        f"  accuracy           {share['value']:8.2%}   95 % interval {share['low']:.2%} to {share['high']:.2%}",
        *(f"  top-{k} accuracy     {value:8.2%}" for k, value in figures["top_k"].items()),
        f"  mean F1            {figures['macro_f1']:8.2%}",
        f"  calibration error  {figures['calibration_error']:8.2%}",
        "",
    ]
    if len(rows) > LISTED_CLASSES:
        rows = sorted((row for row in rows if row["support"]), key=lambda row: float(row["f1"]))[:10]
        lines.append(f"The {len(rows)} worst of {len(figures['classes'])} classes:")
    width = max(len("class"), *(len(row["name"]) for row in rows))
    lines.append(f"  {'class':{width}}  precision   recall       F1 {figures['samples']:>8}")
    lines += [
        f"  {row['name']:{width}}   {row['precision']:8.2%} {row['recall']:8.2%} {row['f1']:8.2%} {row['support']:8,}"
        for row in rows
    ]
    return "\n".join(lines)


def _write_plots(
    folder: Path,
    labels: metrics.Indices,
    probabilities: metrics.Floats,
    images: ArrayLike | None,
    classes: Sequence[str],
    notice: str,
    samples: str,
) -> None:
    confusion = metrics.confusion_matrix(labels, probabilities.argmax(axis=1), len(classes))
    style.save(plots.confusion_matrix(confusion, classes, notice), folder / "confusion_matrix.png")
    calibration = metrics.reliability(labels, probabilities)
    style.save(plots.reliability_diagram(calibration, notice, samples), folder / "reliability.png")
    if images is not None:
        gallery = galleries.mistakes_gallery(images, labels, probabilities, classes, notice, samples=samples)
        style.save(gallery, folder / "mistakes.png")


def _write_examples(folder: Path, labels: metrics.Indices, images: ArrayLike, classes: Sequence[str]) -> list[str]:
    """Save the first test image of each class for the demo, whether it is recognised or not."""
    (folder / "examples").mkdir(exist_ok=True)
    first = {int(k): int(np.flatnonzero(labels == k)[0]) for k in np.unique(labels)}
    pictures = galleries.as_pictures(np.asarray(images)[list(first.values())])  # (K, H, W, 3)
    names = []
    for k, picture in zip(first, pictures, strict=True):
        slug = re.sub(r"[^a-z0-9]+", "-", classes[k].lower()).strip("-")
        names.append(f"examples/{k:02d}-{slug}.png")
        with replacing(folder / names[-1]) as file:
            Image.fromarray(picture).save(file, "png")
    return names


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())
