"""Files that are whole or absent: atomic replacement, folders flushed to disk, and locks between processes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

WAIT = 0.1  # seconds between two looks at a lock that another process holds


def fsync_folder(folder: Path) -> None:
    """Make the names inside `folder` survive a power cut (Windows offers no such call and needs none)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_to_disk(handle: BinaryIO) -> None:
    """Return when what was written to `handle` is on the disk, not in a buffer."""
    handle.flush()
    os.fsync(handle.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the name `path` in one step, and only when the block ends well.

    An exception, a full disk or a kill leaves the file that was there before.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with locked(path):
        try:
            with open(temporary, "wb") as handle:
                yield handle
                flush_to_disk(handle)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time change `path` (a file or a folder); the lock goes with the process, however it ends.

    The lock is a small hidden file beside `path`. It stays: removing it would let two processes lock two files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "ab") as handle:
        if not _try_lock(handle):
            print(f"waiting for another process that is writing {path} ...", file=sys.stderr)
            while not _try_lock(handle):
                time.sleep(WAIT)
        yield


def _try_lock_posix(handle: BinaryIO) -> bool:
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: better to go on unguarded than not at all
        return True
    return True


def _try_lock_windows(handle: BinaryIO) -> bool:
    import msvcrt

    try:
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
    except OSError:
        return False
    return True


_try_lock: Callable[[BinaryIO], bool] = _try_lock_windows if os.name == "nt" else _try_lock_posix
