"""What every setup_data.py shares: the settings, and the question whether anything has to be done at all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.data.prepared import INFO, Arrays, Prepared, load_prepared, refuse_foreign, save_prepared
from core.errors import UserError

Info = dict[str, Any]


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


def shown(path: Path) -> str:
    """A path as a reader likes it: relative where it lies below the current folder."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def megabytes(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
