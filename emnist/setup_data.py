"""Get handwritten characters (EMNIST) and handwritten math symbols (BHMSDS), and bring them into one form.

    python emnist/setup_data.py                        # the split "balanced" and dot, plus, minus, slash
    python emnist/setup_data.py --split bymerge        # seven times as many characters, as unevenly spread as in life
    python emnist/setup_data.py --symbols dot,plus,minus,slash,x,y

A second call does nothing. Only the members of the chosen split are fetched from EMNIST's archive, if its server allows
that. --mirror takes another source, and --synthetic needs no network. A picture with samples of each class is written
beside the prepared data.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from core.cli import main
    from core.data.characters import characters
    from core.data.image_files import PARTS
    from core.data.prepared import INFO, Arrays, Prepared
    from core.data.setup import STAND_IN, Info, SetupSettings, check_settings, command_of, origin_of, set_up, shown
    from core.data.sources import BHMSDS, EMNIST
    from core.report import galleries, style
    from emnist.characters import get_characters
    from emnist.classes import MERGED, SplitName, choose_symbols, join, sign
    from emnist.symbols import get_symbols, part_symbols
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

NAME, TITLE = "emnist", "EMNIST with symbols"
STAND_IN_SIZES = {"train": 12_000, "test": 2_000}
SHEET = (2, 5, 6)  # of the contact sheet: rows and columns of samples of a class, and classes side by side
NOT_COMPARABLE = "figures are not comparable with published ones"


@dataclass
class Settings(SetupSettings):
    """Which characters and symbols, where they come from, and where they go."""

    split: SplitName = "balanced"
    """Which of EMNIST's six splits; see the README."""
    symbols: str = "dot,plus,minus,slash"
    """Symbols of BHMSDS, with commas: dot plus minus slash w x y z and the digits; "" for none."""


def run(settings: Settings) -> None:
    """Prepare train_images (N, 28, 28), train_labels (N,), test_images and test_labels, all uint8."""
    check_settings(settings, synthetic=settings.synthetic, mirror=settings.mirror)
    symbols = choose_symbols(settings.symbols)
    folder = settings.archive or PROJECT / "archive" / NAME
    recipe = make_recipe(settings, symbols)
    prepared = set_up(TITLE, folder, settings, recipe, lambda: gather(settings, symbols, recipe))
    print_summary(prepared)
    draw_contact_sheet(folder, prepared)


def make_recipe(settings: Settings, symbols: tuple[str, ...]) -> Info:
    """What makes two runs prepare the same data; a mirror is no part of it: it gives what the publisher gives."""
    origin, split = ("synthetic", "") if settings.synthetic else ("publisher", settings.split)
    return {"origin": origin, "subset": settings.subset, "split": split, "symbols": list(symbols)}


def gather(settings: Settings, symbols: tuple[str, ...], recipe: Info) -> tuple[Arrays, Info]:
    """The arrays, symbols after characters, and all that is to be said of them."""
    arrays, facts = stand_in(symbols) if settings.synthetic else fetch(settings, symbols)
    if settings.subset:
        arrays, facts["notice"] = keep_first(settings.subset, arrays, facts)
    notices = [facts["notice"], "" if settings.synthetic else NOT_COMPARABLE] if facts["notice"] else []
    if "UNVERIFIED" in facts["notice"]:
        recipe["origin"] = "unverified"
    return arrays, facts | {
        "dataset": NAME,
        "complete": not notices,
        "notice": "; ".join(filter(None, notices)),
        "counts": {part: len(arrays[f"{part}_labels"]) for part in PARTS},
        "command": command_of(PROJECT, settings),
        "recipe": recipe,
    }


def fetch(settings: Settings, symbols: tuple[str, ...]) -> tuple[Arrays, Info]:
    """Characters and symbols from their publishers or a mirror."""
    found = get_characters(settings.split, settings, PROJECT)
    arrays, classes = found.arrays, list(found.classes)
    notices, files = [found.notice], dict(found.files)
    facts = {"characters": {part: len(arrays[f"{part}_labels"]) for part in PARTS}}
    licence, citation = EMNIST.licence, EMNIST.citation
    if symbols:
        drawn = get_symbols(symbols, settings, PROJECT)
        named = [join(symbol, classes) for symbol in symbols]
        classes += [name for name in named if name not in classes]
        label_of = np.array([classes.index(name) for name in named], np.uint8)  # (symbols,)
        for part, rows in part_symbols(drawn.labels).items():
            arrays[f"{part}_images"] = np.concatenate([arrays[f"{part}_images"], drawn.images[rows]])
            arrays[f"{part}_labels"] = np.concatenate([arrays[f"{part}_labels"], label_of[drawn.labels[rows]]])
        notices.append(drawn.notice)
        files["symbols/ (git tree)"] = drawn.tree
        licence, citation = f"EMNIST: {licence}; BHMSDS: {BHMSDS.licence}", f"{citation}; {BHMSDS.citation}"
    return arrays, facts | {
        "origin": origin_of(settings),
        "notice": f"UNVERIFIED data: {' and '.join(filter(None, notices))}" if any(notices) else "",
        "classes": classes,
        "files": files,
        "licence": licence,
        "citation": citation,
    }


def stand_in(symbols: tuple[str, ...]) -> tuple[Arrays, Info]:
    """Rendered characters and symbols, in the same order of classes as in the split "balanced"."""
    classes = [*MERGED, *(name for name in symbols if join(name, MERGED) == name and name not in MERGED)]
    signs = [sign(name) for name in classes]
    arrays: Arrays = {}
    counts = {}
    for seed, (part, size) in enumerate(STAND_IN_SIZES.items()):
        images, labels = characters(signs, size, seed)
        order = np.argsort(labels >= len(MERGED), kind="stable")  # symbols last, as in the real data
        arrays |= {f"{part}_images": images[order], f"{part}_labels": labels[order].astype(np.uint8)}
        counts[part] = int((labels < len(MERGED)).sum())
    notice = "SYNTHETIC data: rendered characters, not EMNIST; no figure here is a real result"
    return arrays, STAND_IN | {"characters": counts, "notice": notice, "classes": classes}


def keep_first(size: int, arrays: Arrays, facts: Info) -> tuple[Arrays, str]:
    """The first `size` characters of each part, and its symbols in the same proportion; and the notice."""
    kept: Arrays = {}
    before, after = dict(facts["characters"]), {}
    for part, characters_ in before.items():
        total = len(arrays[f"{part}_labels"])
        after[part] = min(size, characters_)
        step = max(1, characters_ // after[part])
        rows = np.r_[: after[part], characters_:total:step]
        kept |= {name: array[rows] for name, array in arrays.items() if name.startswith(part)}
    facts["characters"] = after
    cut = " and ".join(f"{after[part]:,} of {before[part]:,} {PARTS[part]}" for part in PARTS)
    return kept, "; ".join(filter(None, [facts["notice"], f"SUBSET: the first {cut} characters"]))


def print_summary(prepared: Prepared) -> None:
    """How many images of each class there are, four classes a line."""
    classes = prepared.info["classes"]
    train, test = (np.bincount(prepared.arrays[f"{part}_labels"], minlength=len(classes)) for part in PARTS)
    print(f"{train.sum():,} training and {test.sum():,} test images of {len(classes)} classes, training + test:")
    cells = [f"{name:>5} {a:>6,} + {b:<6,}" for name, a, b in zip(classes, train, test, strict=True)]
    for start in range(0, len(cells), 4):
        print("  ".join(cells[start : start + 4]).rstrip())
    if prepared.info["notice"]:
        print(f"NOTICE: {prepared.info['notice']}")


def draw_contact_sheet(folder: Path, prepared: Prepared) -> None:
    """Write a picture with the first training images of each class beside the prepared folder, unless it is there."""
    path = folder.with_name(f"{folder.name}_classes.png")
    if path.exists() and path.stat().st_mtime >= (folder / INFO).stat().st_mtime:
        return
    images, labels = prepared.arrays["train_images"], prepared.arrays["train_labels"]
    rows, columns, side_by_side = SHEET
    classes, notice = prepared.info["classes"], prepared.info["notice"]
    blocks = np.zeros((len(classes), rows * columns, 28, 28), np.uint8)
    for label, block in enumerate(blocks):
        found = np.flatnonzero(labels == label)[: len(block)]
        block[: len(found)] = images[found]
    pictures = blocks.reshape(-1, rows, columns, 28, 28).swapaxes(2, 3).reshape(-1, rows * 28, columns * 28)
    captions = [[(name, "black")] for name in classes]
    figure = galleries.image_grid(pictures, captions, columns=side_by_side, notice=notice)
    style.save(figure, path)
    print(f"samples of each class: {shown(path)}")


if __name__ == "__main__":
    main(run, Settings, description=__doc__)
