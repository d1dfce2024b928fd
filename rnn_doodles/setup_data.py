"""Get drawings of ten animals (or other words) from Quick, Draw!, 5,000 of each, and prepare them for training.

    python rnn_doodles/setup_data.py                                      # about 30 MB
    python rnn_doodles/setup_data.py --per-class 20000
    python rnn_doodles/setup_data.py --words cat dog "hot air balloon"    # any of the 345 words in words.txt

Of each file only the beginning is fetched. 15 % of the drawings of each word become test data. A second call does
nothing. --mirror takes another source, and --synthetic draws simple shapes without any network.
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
    from core.data.fetch import downloads_folder
    from core.data.prepared import Arrays, Prepared
    from core.data.quickdraw import DrawingReader, join
    from core.data.setup import STAND_IN, Info, SetupSettings, check_settings, command_of, origin_of, set_up
    from core.data.sources import QUICKDRAW
    from core.data.splits import split_indices
    from core.data.synthetic import STROKE_CLASSES, strokes
    from core.errors import UserError
    from rnn_doodles.simplify import simplify
    from rnn_doodles.words import ANIMALS, check_words, open_word
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

TEST_SHARE = 0.15
FEWEST = 10  # drawings of a word
STAND_IN_PER_CLASS = 300
NOT_COMPARABLE = "figures compare only with those on the same drawings"


@dataclass
class Settings(SetupSettings):
    """Which drawings, where they come from, and where they go."""

    words: tuple[str, ...] = ANIMALS
    """What was drawn: any of the words in words.txt, which become the classes."""
    per_class: int | None = None
    """Drawings of each word (default: 5,000, or 300 of the stand-in)."""
    seed: int = 0
    """Seed of the choice of the test drawings."""

    @property
    def most(self) -> int:
        """Drawings of each word."""
        return self.per_class or (STAND_IN_PER_CLASS if self.synthetic else 5_000)


def run(settings: Settings) -> None:
    """Prepare points uint8 (M, 3), lengths uint16 (N,) and labels uint16 (N,) for training and test."""
    check(settings)
    folder = settings.archive or PROJECT / "archive" / QUICKDRAW.name
    recipe: Info = {"origin": "synthetic" if settings.synthetic else "publisher", "words": list(classes_of(settings))}
    recipe |= {"per_class": settings.most, "subset": settings.subset, "seed": settings.seed}
    prepared = set_up(QUICKDRAW.title, folder, settings, recipe, lambda: gather(settings, recipe))
    print_summary(prepared)


def check(settings: Settings) -> None:
    """UserError for settings that are wrong or contradict each other."""
    check_settings(settings, synthetic=settings.synthetic, mirror=settings.mirror)
    if settings.per_class is not None and settings.per_class < FEWEST:
        raise UserError(f"--per-class must be at least {FEWEST}, got {settings.per_class}")
    if settings.seed < 0:
        raise UserError(f"--seed must be at least 0, got {settings.seed}")
    if not settings.synthetic:
        check_words(settings.words)


def classes_of(settings: Settings) -> tuple[str, ...]:
    """The names of the classes."""
    return STROKE_CLASSES if settings.synthetic else tuple(settings.words)


def gather(settings: Settings, recipe: Info) -> tuple[Arrays, Info]:
    """The arrays and all that is to be said of them."""
    readers, verified = read_stand_in(settings) if settings.synthetic else read_words(settings)
    drawings = join([reader.drawings() for reader in readers])
    labels = np.repeat(np.arange(len(readers), dtype=np.uint16), [len(reader) for reader in readers])
    rows = dict(zip(("train", "test"), split_indices(labels, TEST_SHARE, settings.seed), strict=True))
    arrays: Arrays = {}
    for part, chosen in rows.items():
        if settings.subset:
            chosen = np.sort(np.random.default_rng(settings.seed).permutation(chosen)[: settings.subset])
        kept = drawings[chosen]
        arrays |= {f"{part}_points": kept.points, f"{part}_lengths": kept.lengths, f"{part}_labels": labels[chosen]}
    if not verified:
        recipe["origin"] = "unverified"
    notice = make_notice(settings, readers, verified)
    return arrays, {
        "dataset": QUICKDRAW.name,
        "origin": origin_of(settings),
        "complete": not notice,
        "notice": notice,
        "classes": list(classes_of(settings)),
        "counts": {part: len(arrays[f"{part}_labels"]) for part in rows},
        "files": {},
        "licence": QUICKDRAW.licence,
        "citation": QUICKDRAW.citation,
        "command": command_of(PROJECT, settings),
        "recipe": recipe,
    } | (STAND_IN if settings.synthetic else {})


def read_words(settings: Settings) -> tuple[list[DrawingReader], bool]:
    """A reader for each word, and whether all of them have read the publisher's files."""
    downloads = downloads_folder(PROJECT, settings.data_dir)
    readers, verified = [], True
    for word in settings.words:
        reader = DrawingReader(settings.most)
        with open_word(word, downloads, settings.mirror, settings.offline, settings.allow_unverified) as file:
            reader.read(file.lines)
        if len(reader) < FEWEST:
            raise UserError(f"{word}: only {len(reader)} drawings among {reader.lines} lines; is this the right file?")
        print(f"{word:<24}{len(reader):>8,} drawings{left_out(reader)}")
        readers.append(reader)
        verified &= file.verified
    return readers, verified


def left_out(reader: DrawingReader) -> str:
    """What a reader has left out, in words; nothing if it has taken every line."""
    counts = {
        "not recognised": reader.unrecognized,
        "too short": reader.short,
        "malformed": reader.malformed,
    }
    named = [f"{count:,} {what}" for what, count in counts.items() if count]
    return f" (left out: {', '.join(named)})" if named else ""


def read_stand_in(settings: Settings) -> tuple[list[DrawingReader], bool]:
    """A reader for each simple shape; the shapes are simplified as the publisher has done it with the drawings."""
    readers = [DrawingReader(settings.most) for _ in STROKE_CLASSES]
    for shape, label in zip(*strokes(settings.most * len(STROKE_CLASSES), settings.seed), strict=True):
        simple = simplify([np.array(stroke, np.float64).T for stroke in shape])
        drawing = [stroke.T.tolist() for stroke in simple.strokes(0)]
        readers[label].add(json.dumps({"drawing": drawing}).encode())
    return readers, True


def make_notice(settings: Settings, readers: list[DrawingReader], verified: bool) -> str:
    """What must be said of the data; "" for everything that was drawn of the ten animals."""
    if settings.synthetic:
        return f"SYNTHETIC data: simple shapes, not {QUICKDRAW.title}; no figure here is a real result"
    notices = [] if verified else [f"UNVERIFIED data: other files than the publisher's {QUICKDRAW.title}"]
    cut = settings.subset is not None or any(reader.full for reader in readers)
    if cut or settings.words != ANIMALS:
        each = sorted({len(reader) for reader in readers})
        sizes = f"{each[0]:,}" if len(each) == 1 else f"{each[0]:,} to {each[-1]:,}"
        notices.append(f"PART of {QUICKDRAW.title}: {sizes} drawings of each of {len(readers)} words")
    return "; ".join([*notices, NOT_COMPARABLE] if notices else [])


def print_summary(prepared: Prepared) -> None:
    """How many drawings there are, and how long."""
    info = prepared.info
    lengths = np.concatenate([prepared.arrays[f"{part}_lengths"] for part in info["counts"]])
    counts = " and ".join(f"{count:,} to {part}" for part, count in info["counts"].items())
    print(f"{counts}, of {len(info['classes'])} words, {lengths.mean():.0f} points on average")
    if info["notice"]:
        print(f"NOTICE: {info['notice']}")


if __name__ == "__main__":
    main(run, Settings, description=__doc__)
