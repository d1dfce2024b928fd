"""What every setup_data.py shares: the settings, whether anything has to be done at all, and what is said of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.backend import Array
from core.cli import command_line
from core.data.fetch import Fetched, download, named_mirror
from core.data.prepared import INFO, Arrays, Prepared, load_prepared, refuse_foreign, save_prepared
from core.data.sources import SourceFile
from core.errors import UserError

Info = dict[str, Any]

# What is true of all stand-ins.
STAND_IN: Info = {"origin": "synthetic", "files": {}, "licence": "none needed: made by this program", "citation": ""}
WHERE_AND_HOW = ("mirror", "archive", "data_dir", "offline", "force")  # settings that do not decide what the data is


@dataclass
class SetupSettings:
    """Where the data comes from, how much of it is kept, and where it goes."""

    mirror: str | None = None
    """URL or folder laid out as <data set>/<file name>, in place of the publishers (default: $BARENETS_MIRROR)."""
    synthetic: bool = False
    """Make a small stand-in without any network; nothing trained on it is a real result."""
    subset: int | None = None
    """Keep only the first so many training samples, and as many test samples."""
    archive: Path | None = None
    """Folder for the prepared data (default: archive/<data set> in the project)."""
    data_dir: Path | None = None
    """Folder that keeps the downloaded files (default: $BARENETS_DATA, or archive/downloads in the project)."""
    offline: bool = False
    """Use no web address, only files that are there already."""
    allow_unverified: bool = False
    """Accept a partial or unknown copy; everything made from it says so."""
    force: bool = False
    """Prepare the data again even if it is there."""


def check_settings(settings: SetupSettings, **sources: object) -> None:
    """Raise UserError for a subset of nothing, and when more than one of the `sources` (flag -> value) is given."""
    chosen = [f"--{flag.replace('_', '-')}" for flag, value in sources.items() if value]
    if len(chosen) > 1:
        raise UserError(f"{' and '.join(chosen)} are different sources: choose one")
    if settings.subset is not None and settings.subset < 1:
        raise UserError(f"--subset must be at least 1, got {settings.subset}")


def set_up(
    title: str, folder: Path, settings: SetupSettings, recipe: Info, gather: Callable[[], tuple[Arrays, Info]]
) -> Prepared:
    """Return the data that `folder` holds if it was made by `recipe` and is sound, else gather, save and return it.

    recipe: what makes two runs prepare the same data, as plain values; its "origin" becomes "unverified" where `gather`
    returns incomplete data from the publisher's files. Says what was done, in one line. Raises UserError, and then the
    data that was there stays.
    """
    started = time.perf_counter()
    present = None if settings.force else _sound(folder)
    if present and _fits(present.info, recipe, settings.allow_unverified):
        name = _name(title, present.info)
        print(f"{name} is already prepared in {shown(folder)}: nothing to do (--force makes it again)")
        return present
    refuse_foreign(folder)  # before a download, not after it
    arrays, info = gather()
    save_prepared(folder, arrays, info)
    size = megabytes(sum(array.nbytes for array in arrays.values()))
    seconds = time.perf_counter() - started
    print(f"{_name(title, info)} is prepared: wrote {shown(folder)} ({size}) in {seconds:.1f} s")
    return load_prepared(folder)


def _name(title: str, info: Info) -> str:
    """What to call the data: nobody must take a stand-in for the data set."""
    return f"SYNTHETIC data in place of {title}" if info["origin"] == "synthetic" else title


def _sound(folder: Path) -> Prepared | None:
    """What the folder holds, after a look at every byte; None where there is nothing or it is damaged."""
    try:
        return load_prepared(folder, verify=True)
    except UserError:
        if (folder / INFO).exists():
            print(f"the data in {shown(folder)} is damaged: it is prepared again")
        return None


def _fits(info: Info, recipe: Info, allow_unverified: bool) -> bool:
    accepted = [recipe, recipe | {"origin": "unverified"}] if allow_unverified else [recipe]
    return info.get("recipe") in accepted


def fetch_file(file: SourceFile, downloads: Path, settings: SetupSettings) -> Fetched:
    """`download` as the settings say; prints a line if anything came over the web. Raises FetchError."""
    found = download(file, downloads, settings.mirror, settings.offline, settings.allow_unverified)
    if found.address:
        print(f"downloaded {shown(found.path)} ({megabytes(found.path.stat().st_size)})")
    return found


def origin_of(settings: SetupSettings, own_files: object = None) -> str:
    """Where the data comes from, in a word; own_files: what was given of the user's own, if anything."""
    if settings.synthetic:
        return "synthetic"
    if own_files:
        return "csv"
    return "mirror" if named_mirror(settings.mirror) else "publisher"


def command_of(project: Path, settings: SetupSettings) -> str:
    """The command that prepares the same data anywhere; `project` is the folder of its setup_data.py."""
    return command_line(project / "setup_data.py", settings, leave_out=WHERE_AND_HOW)


def print_counts(classes: Sequence[str], labels: Mapping[str, Array], head: str = "class") -> None:
    """Print a line for each class: how many samples of it each part has; labels: the parts' labels (N,) by name."""
    columns = [np.bincount(of_part, minlength=len(classes)) for of_part in labels.values()]  # (K,) each
    print(f"{head:<12}" + "".join(f"{part:>10}" for part in labels))
    for name, *counts in zip(classes, *columns, strict=True):
        print(f"{name:<12}" + "".join(f"{count:>10,}" for count in counts))


def shown(path: Path) -> str:
    """A path as a reader likes it: relative where it lies below the current folder."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def megabytes(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
