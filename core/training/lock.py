"""A lock on a run's folder, so that two runs never write the same files."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

from core.errors import UserError
from core.files import drop_lock, lock_file, take_lock


class FolderLock:
    """Holds the lock on a folder from `acquire` to `release`; the lock's file, beside the folder, says who has it.

    `with FolderLock(folder):` does both.

    The operating system keeps the lock and drops it when the process dies, however it dies: nothing stale is left.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: BinaryIO | None = None

    def acquire(self) -> None:
        """Take the lock; UserError, with the holder's process id, when another run has it."""
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            lock = take_lock(self._folder)
        except OSError as error:
            raise UserError(f"cannot write in {self._folder.parent}: {error.strerror or error}") from error
        if lock is None:
            raise UserError(
                f"{self._folder} is in use by another run (process {self._holder()}); "
                "wait for it, or choose another --name"
            )
        lock.truncate(0)
        lock.write(str(os.getpid()).encode())
        lock.flush()
        self._lock = lock

    def _holder(self) -> str:
        """The process id that the lock's file names."""
        with contextlib.suppress(OSError):  # given back a moment ago
            return lock_file(self._folder).read_text("ascii") or "unknown"
        return "unknown"

    def release(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            drop_lock(self._folder, self._lock)
            self._lock = None

    def __enter__(self) -> FolderLock:
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()
