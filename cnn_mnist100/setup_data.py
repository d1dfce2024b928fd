"""Make pictures of two-digit numbers from MNIST (11 MB): 50,000 to train on and 10,000 to test with.

    python cnn_mnist100/setup_data.py
    python cnn_mnist100/setup_data.py --per-class 100       # a fifth of the training pairs, for quick experiments

Training pairs are made of training digits only, and test pairs of test digits only. A second call does nothing.
--mirror takes another source of MNIST, --from-csv reads your own pairs, and --synthetic needs no network.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from cnn_mnist100.pairs import CLASSES, FOLDS, HEIGHT, WIDTH, find_folds, make_pairs
    from core.cli import main
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
    from core.data.setup import STAND_IN, Info, SetupSettings, check_settings, command_of, origin_of, set_up
    from core.data.sources import MNIST
    from core.data.synthetic import digits
    from core.errors import UserError
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

NAME, TITLE = "mnist100", "MNIST pairs"
PER_CLASS = {"train": 500, "test": 100}
STAND_IN_PER_CLASS = {"train": 60, "test": 20}
STAND_IN_DIGITS = {"train": 6_000, "test": 2_000}
# What the standard pairs of the publisher's MNIST are, byte for byte, as IDX files would hold them.
STANDARD = {
    "train_images": "f66b5334acb1f92ceb466ab11d533007fdd643fd161f3017fd8cdbc3b0809fbc",
    "train_labels": "da686b67e117fa4d6a89a809218f190e4b8cc72156e2ef8b8f82aa592954b36c",
    "test_images": "3bf5cd368170d8792c0247bb585e925268043fed7f2694689f161f5545e1ad76",
    "test_labels": "8b30cda7abcfd94fdd38b5bab552cbc3acf5ac6bd8dbe9766e5a306c90cad4de",
}
NOT_COMPARABLE = "figures are not comparable with those of the standard pairs"


@dataclass
class Settings(SetupSettings):
    """Where the digits come from, how many pairs are made of them, and where these go."""

    per_class: int | None = None
    """Training pairs of each number (default: 500, or 60 of the stand-in)."""
    test_per_class: int | None = None
    """Test pairs of each number (default: 100, or 20 of the stand-in)."""
    seed: int = 0
    """Seed of the choice of digits."""
    from_csv: tuple[Path, Path] | None = None
    """Read two CSV files, training then test, whose lines are label,pixel0,...,pixel1567."""
    csv: bool = False
    """Also write the pairs as two such CSV files, beside the prepared folder."""

    @property
    def sizes(self) -> dict[str, int]:
        """Pairs of each number, for training and test."""
        default = STAND_IN_PER_CLASS if self.synthetic else PER_CLASS
        wanted = {"train": self.per_class, "test": self.test_per_class}
        return {part: default[part] if size is None else size for part, size in wanted.items()}


def run(settings: Settings) -> None:
    """Prepare train_images (N, 28, 56), train_labels (N,), train_folds (N,), test_images and test_labels, all uint8."""
    check(settings)
    folder = settings.archive or PROJECT / "archive" / NAME
    recipe = make_recipe(settings)
    prepared = set_up(TITLE, folder, settings, recipe, lambda: gather(settings, recipe))
    print_summary(prepared)
    if settings.csv:
        write_csv_files(folder, prepared)


def check(settings: Settings) -> None:
    """UserError for settings that are wrong or contradict each other."""
    check_settings(settings, synthetic=settings.synthetic, from_csv=settings.from_csv, mirror=settings.mirror)
    if settings.from_csv and (settings.per_class or settings.test_per_class):
        raise UserError("--from-csv takes all pairs of the files: leave out --per-class and --test-per-class")
    for flag, size in (("per-class", settings.per_class), ("test-per-class", settings.test_per_class)):
        if size is not None and not 1 <= size <= 10_000:
            raise UserError(f"--{flag} must lie in 1..10,000, got {size}")
    if not 0 <= settings.seed < 2**64:  # what fits the generator's key
        raise UserError(f"--seed must lie in 0..2**64 - 1, got {settings.seed}")


def make_recipe(settings: Settings) -> Info:
    """What makes two runs prepare the same pairs; a mirror is no part of it: it gives what the publisher gives."""
    if settings.from_csv:
        return {"origin": "csv", "subset": settings.subset, "files": csv_checksums(settings.from_csv)}
    origin = "synthetic" if settings.synthetic else "publisher"
    return {"origin": origin, "subset": settings.subset, "per_class": settings.sizes, "seed": settings.seed}


def gather(settings: Settings, recipe: Info) -> tuple[Arrays, Info]:
    """The arrays and all that is to be said of them."""
    parted = True
    if settings.from_csv:
        arrays = read_csv_files(settings.from_csv, len(CLASSES), (HEIGHT, WIDTH))
        arrays["train_folds"], parted = find_folds(arrays["train_images"])
        notices = []
    else:
        source, notices = get_digits(settings)
        if notices and not settings.synthetic:
            recipe["origin"] = "unverified"
        arrays = pair_up(source, settings)
    if settings.subset:
        arrays = {role: array[: settings.subset] for role, array in arrays.items()}
    counts = {part: len(arrays[f"{part}_labels"]) for part in PARTS}
    digests = {role: idx_sha256(arrays[role]) for role in STANDARD}
    if not notices and digests != STANDARD:
        sizes = " and ".join(f"{count:,}" for count in counts.values())
        notices = [f"NOT THE STANDARD PAIRS of MNIST (50,000 and 10,000), but {sizes} others"]
    return arrays, {
        "dataset": NAME,
        "origin": origin_of(settings, settings.from_csv),
        "complete": not notices,
        "notice": "; ".join([*notices, NOT_COMPARABLE] if notices and not settings.synthetic else notices),
        "classes": list(CLASSES),
        "counts": counts,
        "digits_shared": not parted,
        "files": recipe.get("files", digests),
        "licence": MNIST.licence,
        "citation": MNIST.citation,
        "command": command_of(PROJECT, settings),
        "recipe": recipe,
    } | (STAND_IN if settings.synthetic else {})


def get_digits(settings: Settings) -> tuple[Arrays, list[str]]:
    """The single digits and their labels, and what must be said of them."""
    if not settings.synthetic:
        source = fetch_images(MNIST, settings, PROJECT)
        altered = altered_files(MNIST, source)
        return source, [f"UNVERIFIED data: {', '.join(altered)} differ from the publisher's MNIST"] if altered else []
    source = {}
    for seed, (part, count) in enumerate(STAND_IN_DIGITS.items()):
        source[f"{part}_images"], source[f"{part}_labels"] = digits(count, seed)
    return source, ["SYNTHETIC data: pairs of rendered digits, not of MNIST; no figure here is a real result"]


def pair_up(source: Arrays, settings: Settings) -> Arrays:
    """The pairs, with the folds of the training pairs; the test pairs need none."""
    arrays: Arrays = {}
    for part, size in settings.sizes.items():
        folds = FOLDS if part == "train" else 1
        made = make_pairs(source[f"{part}_images"], source[f"{part}_labels"], size, settings.seed, folds)
        arrays[f"{part}_images"], arrays[f"{part}_labels"], fold_of = made
        if folds > 1:
            arrays[f"{part}_folds"] = fold_of
    return arrays


def print_summary(prepared: Prepared) -> None:
    """How many pairs of each number there are."""
    arrays, info = prepared.arrays, prepared.info
    for part, name in PARTS.items():
        counts = np.bincount(arrays[f"{part}_labels"], minlength=len(CLASSES))
        spread = f"{counts.min():,}" if counts.min() == counts.max() else f"{counts.min():,} to {counts.max():,}"
        height, width = arrays[f"{part}_images"].shape[1:]
        print(f"{counts.sum():,} {name} pairs of {height} x {width} pixels, {spread} of each number from 00 to 99")
    if info["digits_shared"]:
        print("the training pairs share too many digits: validation figures will be better than the truth")
    if info["notice"]:
        print(f"NOTICE: {info['notice']}")


if __name__ == "__main__":
    main(run, Settings, description=__doc__)
