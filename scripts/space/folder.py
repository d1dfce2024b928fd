"""A folder that is replaced as a whole, or not at all, and only when it may be."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.environment import ROOT, SetupError

MADE_BY = "barenets"  # what space.json of an export says
NOT_TRACKED = ("dist", "build")  # folders of the clone that git ignores


@contextmanager
def replaced_by(dest: Path, force: bool) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `dest` when the block ends well.

    A `.git` in `dest` stays there. Whatever goes wrong, `dest` is what it was.
    Raises SetupError when it cannot be written or must not be replaced.
    """
    from core.files import beside, locked

    dest = dest.expanduser().resolve()
    new, old = (beside(dest, role) for role in ("new", "old"))
    check_place(dest)
    try:
        with locked(dest):
            _clear_up(dest, old)
            check_content(dest, force)
            shutil.rmtree(new, ignore_errors=True)  # left by a kill
            new.mkdir()
            try:
                yield new
                if dest.exists():
                    os.rename(dest, old)
                os.rename(new, dest)
            finally:
                shutil.rmtree(new, ignore_errors=True)
                _clear_up(dest, old)
    except OSError as error:
        raise SetupError(f"cannot write {dest}: {error.strerror or error}; nothing there has changed") from error


def check_place(dest: Path) -> None:
    """SetupError where a folder of something else, or of this clone, could be lost."""
    if dest.is_relative_to(ROOT) and dest.relative_to(ROOT).parts[:1] not in [(name,) for name in NOT_TRACKED]:
        raise SetupError(f"{dest} lies among the source of this clone: choose a folder outside, or dist/NAME")
    for kept, what in ((ROOT, "this clone"), (Path.home(), "your home folder")):
        if kept.resolve().is_relative_to(dest):
            raise SetupError(f"{dest} holds {what}: choose a new folder")
    if dest.exists() and not dest.is_dir():
        raise SetupError(f"{dest} is a file: choose a folder")


def check_content(dest: Path, force: bool) -> None:
    """SetupError for a folder with something else in it than an earlier export, unless `force` says to replace it."""
    if force or not dest.exists() or is_export(dest) or not any(dest.iterdir()):
        return
    raise SetupError(f"{dest} is no earlier export and not empty: choose another folder, or replace it with --force")


def is_export(folder: Path) -> bool:
    """Whether the folder was written by export_space.py."""
    try:
        return bool(json.loads((folder / "space.json").read_text(encoding="utf-8"))["made_by"] == MADE_BY)
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _clear_up(dest: Path, old: Path) -> None:
    """End what a replacement began: with the old folder's `.git` in the new one, or, without that, with the old one."""
    if not old.exists():
        return
    if not dest.exists():
        os.rename(old, dest)
        return
    if (old / ".git").exists() and not (dest / ".git").exists():
        os.rename(old / ".git", dest / ".git")
    shutil.rmtree(old)
