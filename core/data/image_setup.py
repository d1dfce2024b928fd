"""Prepare a data set of small grey images: from its publisher's IDX files, from CSV files, or as a stand-in.

Whatever the way, the arrays are compared with the publisher's by checksum at the end. Data that is not exactly those
(a stand-in, a subset, an unknown copy) gets a notice, which everything made from it has to show.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.data.image_files import (
    PARTS,
    altered_files,
    csv_checksums,
    fetch_images,
    idx_sha256,
    read_csv_files,
    write_csv_files,
)
from core.data.prepared import Arrays, Prepared
from core.data.setup import (
    STAND_IN,
    Info,
    SetupSettings,
    check_settings,
    command_of,
    origin_of,
    print_counts,
    set_up,
)
from core.data.sources import DataSet

STAND_IN_SIZES = {"train": 12_000, "test": 2_000}
NOT_COMPARABLE = "figures are not comparable with published ones"


@dataclass
class ImageSettings(SetupSettings):
    """The settings of an image project's setup_data.py; a project adds its own."""

    from_csv: tuple[Path, Path] | None = None
    """Read two CSV files, training then test, whose lines are label,pixel0,...,pixel783."""
    csv: bool = False
    """Also write the data as two such CSV files, beside the prepared folder."""


def set_up_images(data_set: DataSet, settings: ImageSettings, project: Path) -> Prepared:
    """Prepare train_images (N, 28, 28), train_labels (N,), test_images and test_labels, all uint8, and print a summary.

    project: the folder whose archive/ takes the data. Raises UserError, and then the data that was there stays.
    """
    check_settings(settings, synthetic=settings.synthetic, from_csv=settings.from_csv, mirror=settings.mirror)
    folder = settings.archive or project / "archive" / data_set.name
    recipe = _recipe(data_set, settings)

    def gather() -> tuple[Arrays, Info]:
        if settings.synthetic:
            arrays, facts = _make_stand_in(data_set, settings.subset)
        else:
            csv = settings.from_csv
            arrays = read_csv_files(csv, len(data_set.classes)) if csv else fetch_images(data_set, settings, project)
            arrays, facts = _judge(arrays, data_set, settings, recipe)
        counts = {part: len(arrays[f"{part}_labels"]) for part in PARTS}
        command = command_of(project, settings)
        return arrays, {"dataset": data_set.name, "counts": counts, "command": command, "recipe": recipe} | facts

    prepared = set_up(data_set.title, folder, settings, recipe, gather)
    _print_summary(prepared)
    if settings.csv:
        write_csv_files(folder, prepared)
    return prepared


def _recipe(data_set: DataSet, settings: ImageSettings) -> Info:
    """A mirror is no part of it, because it gives what the publisher gives."""
    recipe: Info = {"dataset": data_set.name, "subset": settings.subset, "origin": "publisher"}
    if settings.synthetic:
        recipe["origin"] = "synthetic"
    elif settings.from_csv:
        recipe |= {"origin": "csv", "files": csv_checksums(settings.from_csv)}
    return recipe


def _judge(arrays: Arrays, data_set: DataSet, settings: ImageSettings, recipe: Info) -> tuple[Arrays, Info]:
    """Compare with the publisher's checksums, cut to the subset, and say in the notice what is not as published."""
    altered = altered_files(data_set, arrays)
    kept = {role: array[: settings.subset] for role, array in arrays.items()}
    cuts = [
        f"{len(kept[role]):,} of {len(arrays[role]):,} {name}"
        for role, name in (("train_images", "training images"), ("test_images", "test images"))
        if len(kept[role]) < len(arrays[role])
    ]
    notices = []
    if altered:
        notices.append(f"UNVERIFIED data: {', '.join(altered)} differ from the publisher's {data_set.title}")
    if cuts:
        notices.append(f"SUBSET of {data_set.title}: the first {' and '.join(cuts)}")
    if altered and not settings.from_csv:
        recipe["origin"] = "unverified"
    files = {file.name: idx_sha256(arrays[role]) for role, file in data_set.files.items()}
    return kept, {
        "origin": origin_of(settings, settings.from_csv),
        "complete": not notices,
        "notice": "; ".join([*notices, NOT_COMPARABLE] if notices else []),
        "classes": list(data_set.classes),
        "files": recipe.get("files", files),
        "licence": data_set.licence,
        "citation": data_set.citation,
    }


def _make_stand_in(data_set: DataSet, subset: int | None) -> tuple[Arrays, Info]:
    from core.data.synthetic import digits  # late: only this way of getting data draws anything

    arrays: Arrays = {}
    for seed, (part, most) in enumerate(STAND_IN_SIZES.items()):
        images, labels = digits(min(subset or most, most), seed)
        arrays |= {f"{part}_images": images, f"{part}_labels": labels.astype(np.uint8)}
    notice = f"SYNTHETIC data: rendered digits, not {data_set.title}; no figure here is a real result"
    return arrays, STAND_IN | {"complete": False, "notice": notice, "classes": list(string.digits)}


def _print_summary(prepared: Prepared) -> None:
    labels = {name: prepared.arrays[f"{part}_labels"] for part, name in PARTS.items()}
    height, width = prepared.arrays["train_images"].shape[1:]
    print(f"{len(labels['training']):,} training and {len(labels['test']):,} test images of {height} x {width} pixels")
    print_counts(prepared.info["classes"], labels)
    if prepared.info["notice"]:
        print(f"NOTICE: {prepared.info['notice']}")
