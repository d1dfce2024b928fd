"""Files that are whole or absent: atomic replacement, folders flushed to disk, and locks between processes."""

from __future__ import annotations

import contextlib
import errno
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

    An exception, a full disk or a kill leaves the file that was there before. Raises FileExistsError where something
    else than a file has that name.
    """
    if path.exists() and not path.is_file():  # a device or a pipe, which everybody else would miss
        raise FileExistsError(errno.EEXIST, "there is something that is no file", str(path))
    temporary = beside(path, "tmp")
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
    """Let one process at a time change `path` (a file or a folder); the lock goes with the process, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = take_lock(path)
    if lock is None:
        print(f"waiting for another process that is writing {path} ...", file=sys.stderr)
        while (lock := take_lock(path)) is None:
            time.sleep(WAIT)
    try:
        yield
    finally:
        drop_lock(path, lock)


def take_lock(path: Path) -> BinaryIO | None:
    """Lock `path` through a hidden file beside it, which is returned open; None while somebody else holds the lock.

    Only the holder removes that file. So whoever gets the lock on a file that still has its name holds it alone, and
    whoever gets it on one that was removed in the meantime starts again with the file that has the name now.
    """
    while True:
        handle = open(lock_file(path), "ab+")  # noqa: SIM115, because it stays open as long as the lock is held
        if not try_lock(handle):
            handle.close()
            return None
        if _has_name(handle, lock_file(path)):
            return handle
        handle.close()


def drop_lock(path: Path, handle: BinaryIO) -> None:
    """Give back what `take_lock` returned. Windows removes no open file, so there the lock's file stays."""
    if os.name != "nt":
        with contextlib.suppress(OSError):
            lock_file(path).unlink()  # before the lock goes: afterwards it could be the next holder's
    handle.close()


def lock_file(path: Path) -> Path:
    """The hidden file beside `path` that stands for the lock on it."""
    return beside(path, "lock")


def beside(path: Path, role: str) -> Path:
    """The hidden place .NAME.ROLE in the folder that holds `path`, which may be written in any way, such as "."."""
    path = Path(os.path.abspath(path))
    return path.parent / f".{path.name}.{role}"


def _has_name(handle: BinaryIO, path: Path) -> bool:
    """Whether the open file is the one that is at `path` now."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


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

    handle.seek(2**20)  # a byte beyond the content, which must stay readable
    try:
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
    except OSError:
        return False
    return True


# Lock an open file without waiting; False while another process, or another open file of this one, has the lock.
try_lock: Callable[[BinaryIO], bool] = _try_lock_windows if os.name == "nt" else _try_lock_posix
