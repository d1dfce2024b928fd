"""A lock on a run's folder, so that two runs never write the same files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from core.errors import UserError


class FolderLock:
    """Holds `.<folder's name>.lock`, beside the folder, from `acquire` to `release`.

    The operating system keeps the lock and drops it when the process dies, however it dies: nothing stale is left.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder.with_name(f".{folder.name}.lock")
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock; UserError, with the holder's process id, when another run has it."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._path.open("a+")
        except OSError as error:
            raise UserError(f"cannot write in {self._path.parent}: {error.strerror or error}") from error
        if not _try_lock(file):
            file.seek(0)
            holder = file.read(20).strip() or "unknown"
            file.close()
            raise UserError(
                f"{self._folder} is in use by another run (process {holder}); wait for it, or choose another --name"
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        """Give the lock back. The file stays, because to delete it could take away the next run's."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _try_lock(file: IO[str]) -> bool:
    """Lock the open file without waiting; False when another process, or another run of this one, has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return _try_lock_windows(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: better to go on unguarded than not at all
        return True
    return True


def _try_lock_windows(file: IO[str]) -> bool:
    import msvcrt

    file.seek(2**20)  # a byte beyond the text, which must stay readable
    try:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        return False
    return True
