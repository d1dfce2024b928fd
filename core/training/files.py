"""Files that are either the old ones or the new ones, never half of each."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from core.errors import UserError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace the file at `path` by `content` in one step; text is written as UTF-8, missing folders are made.

    The bytes go to a temporary sibling, to the disk, and are read back and compared before the sibling takes the
    name. Raises UserError when the disk is full, the folder read-only or the disk returns other bytes; the file of
    before is then still there, whole.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if temporary.read_bytes() != data:
            raise UserError(f"{path}: the disk returned other bytes than were written; check the disk")
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write {path}: {reason}; what was there before is untouched") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Make the folder's list of names survive a power cut (Windows has no such call)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
