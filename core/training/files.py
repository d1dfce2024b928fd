"""Files of a run: replaced as a whole, checked on the disk, and a failure is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import replacing


def write_checked(path: Path, content: bytes | str) -> None:
    """Replace the file at `path` by `content` in one step; text is written as UTF-8, missing folders are made.

    The bytes are read back and compared before they take the name. Raises UserError when the disk is full, the folder
    read-only or the disk returns other bytes; the file of before is then still there, whole.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        with replacing(path) as handle:
            handle.write(data)
            handle.flush()
            if Path(handle.name).read_bytes() != data:
                raise UserError(f"{path}: the disk returned other bytes than were written; check the disk")
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write {path}: {reason}; what was there before is untouched") from error


def save_picture(figure: Any, path: Path) -> None:
    """Write a matplotlib figure as PNG; failures as in `write_checked`."""
    from core.report import style

    try:
        style.save(figure, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
