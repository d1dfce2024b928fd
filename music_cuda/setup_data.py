"""Get the GTZAN features (1.1 MB: 57 numbers about each of 1,000 songs), check them, and prepare them for training.

    python music_cuda/setup_data.py
    python music_cuda/setup_data.py --csv songs.csv      # your own table, with the same columns
    python music_cuda/setup_data.py --synthetic          # a stand-in, without any network

Songs that are there twice are removed, and a fifth of the rest becomes test data. A second call does nothing.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from core.cli import main
    from core.data.fetch import FetchError, downloads_folder
    from core.data.prepared import Arrays, Prepared
    from core.data.setup import (
        STAND_IN,
        Info,
        SetupSettings,
        check_settings,
        command_of,
        fetch_file,
        origin_of,
        print_counts,
        set_up,
    )
    from core.data.sources import GTZAN
    from core.data.splits import split_indices
    from core.data.synthetic import features as synthetic_features
    from core.data.verify import judge, sha256_of_content
    from core.errors import UserError
    from music_cuda.table import FEATURES, GENRES, Songs, duplicates, read_table
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

TEST_SHARE = 0.2
SPLIT_SEED = 0
STAND_IN_SONGS = 1_000
SHOWN = 5  # malformed lines on the terminal


@dataclass
class Settings(SetupSettings):
    """Where the table comes from, and where the prepared data goes."""

    csv: Path | None = None
    """Read this table: a line for each song, with the columns of GTZAN's features_30_sec.csv."""


def run(settings: Settings) -> None:
    """Prepare features float32 (N, 57) and labels uint8 (N,), for training and test."""
    check_settings(settings, synthetic=settings.synthetic, csv=settings.csv, mirror=settings.mirror)
    folder = settings.archive or PROJECT / "archive" / GTZAN.name
    origin = "synthetic" if settings.synthetic else "csv" if settings.csv else "publisher"
    recipe: Info = {"origin": origin, "subset": settings.subset}
    if settings.csv:
        recipe["sha256"] = checksum(settings.csv)
    prepared = set_up(GTZAN.title, folder, settings, recipe, lambda: gather(settings, recipe))
    print_summary(prepared)


def checksum(path: Path) -> str:
    """The SHA-256 of the file; UserError if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def gather(settings: Settings, recipe: Info) -> tuple[Arrays, Info]:
    """The arrays and all that is to be said of them."""
    path, verified = find_table(settings)
    songs, malformed = stand_in() if path is None else read_table(path)
    doubled = duplicates(songs)
    kept = songs[np.setdiff1d(np.arange(len(songs.labels)), [later for later, _ in doubled])]
    rows = dict(zip(("train", "test"), split_indices(kept.labels, TEST_SHARE, SPLIT_SEED), strict=True))
    if settings.subset:
        rng = np.random.default_rng(SPLIT_SEED)
        rows = {part: np.sort(rng.permutation(chosen)[: settings.subset]) for part, chosen in rows.items()}
    arrays: Arrays = {}
    for part, chosen in rows.items():
        arrays[f"{part}_features"] = kept.features[chosen].astype(np.float32)
        arrays[f"{part}_labels"] = kept.labels[chosen].astype(np.uint8)
    if recipe["origin"] == "publisher" and not verified:
        recipe["origin"] = "unverified"
    notice = make_notice(settings, len(kept.labels), verified)
    return arrays, {
        "dataset": GTZAN.name,
        "origin": origin_of(settings, settings.csv),
        "complete": not notice,
        "notice": notice,
        "classes": list(GENRES),
        "features": list(FEATURES),
        "counts": {part: len(chosen) for part, chosen in rows.items()},
        "songs": {part: list(kept[chosen].names) for part, chosen in rows.items()},
        "duplicates": [describe_pair(songs, later, earlier) for later, earlier in doubled],
        "malformed": malformed,
        "files": {} if path is None else {GTZAN.files["features"].name: sha256_of_content(path)},
        "licence": GTZAN.licence,
        "citation": GTZAN.citation,
        "command": command_of(PROJECT, settings),
        "recipe": recipe,
    } | (STAND_IN if settings.synthetic else {})


def find_table(settings: Settings) -> tuple[Path | None, bool]:
    """The file to read, if any, and whether it holds the publisher's numbers."""
    if settings.synthetic:
        return None, True
    if settings.csv:
        return settings.csv, any(judge(settings.csv, file).kind == "right" for file in GTZAN.files.values())
    downloads = downloads_folder(PROJECT, settings.data_dir)
    try:  # the same numbers with the older file names: no publisher offers them any more, but a mirror may
        fetched = fetch_file(GTZAN.files["features_au"], downloads, replace(settings, allow_unverified=False))
    except FetchError:
        fetched = fetch_file(GTZAN.files["features"], downloads, settings)
    return fetched.path, fetched.verified


def stand_in() -> tuple[Songs, list[str]]:
    """Made-up songs in the place of real ones."""
    features, labels = synthetic_features(STAND_IN_SONGS, SPLIT_SEED, len(FEATURES), len(GENRES))
    names = tuple(f"synthetic.{number:05d}.wav" for number in range(STAND_IN_SONGS))
    return Songs(names, features.astype(np.float64), labels), []


def describe_pair(songs: Songs, later: int, earlier: int) -> str:
    """A song that was removed, and the one that it repeats."""
    other = "" if songs.labels[later] == songs.labels[earlier] else ", of another genre"
    return f"{songs.names[later]} = {songs.names[earlier]}{other}"


def make_notice(settings: Settings, songs: int, verified: bool) -> str:
    """What must be said of the data; "" for all songs of GTZAN."""
    if settings.synthetic:
        return f"SYNTHETIC data: made-up numbers, not {GTZAN.title}; no figure here is a real result"
    notices = []
    if not verified:
        notices.append(f"OTHER data: a table of {songs:,} songs that is not the publisher's {GTZAN.title}")
    if settings.subset:
        notices.append(f"SUBSET of the songs: at most {settings.subset:,} for training and for test")
    return "; ".join([*notices, "figures are not comparable with published ones"] if notices else [])


def print_summary(prepared: Prepared) -> None:
    """How many songs there are, and what was left out."""
    info = prepared.info
    labels = {"training": prepared.arrays["train_labels"], "test": prepared.arrays["test_labels"]}
    malformed, doubled = info["malformed"], info["duplicates"]
    for line in malformed[:SHOWN]:
        print(f"skipped {line}")
    if malformed[SHOWN:]:
        print(f"skipped {len(malformed) - SHOWN} more malformed lines")
    if doubled:
        print(f"removed {len(doubled)} songs that are there twice: {', '.join(doubled)}")
    print(f"{len(labels['training']):,} training and {len(labels['test']):,} test songs, {len(FEATURES)} features each")
    print_counts(info["classes"], labels, "genre")
    if info["notice"]:
        print(f"NOTICE: {info['notice']}")


if __name__ == "__main__":
    main(run, Settings, description=__doc__)
