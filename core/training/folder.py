"""The folder of a run: what lies in it, who may write there, and how its checkpoints take turns."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.backend import Array
from core.errors import UserError
from core.training.checkpoint import Tensors, load_checkpoint, save_checkpoint
from core.training.find import BEST, CONFIG
from core.training.lock import FolderLock


class RunFolder:
    """`config.json`, `history.csv`, `curves.png`, and the checkpoints `best`, `last` and `previous` (.safetensors).

    `last` is never missing once it is there: it is replaced in one step, after a link named `previous` was made to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / CONFIG
        self.history = path / "history.csv"
        self.curves = path / "curves.png"
        self.best = path / BEST
        self.last = path / "last.safetensors"
        self.previous = path / "previous.safetensors"
        self._lock = FolderLock(path)

    def open(self, resume: bool) -> str:
        """Lock the folder and, unless resuming, move an earlier run aside; returns what was done, as one line or "".

        Raises UserError when another run is using the folder, or it cannot be written.
        """
        self._lock.acquire()
        try:
            moved = "" if resume else self._move_aside()
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.close()
            raise UserError(f"cannot write in {self.path}: {error.strerror or error}") from error
        return moved

    def close(self) -> None:
        """Give the lock back."""
        self._lock.release()

    def _move_aside(self) -> str:
        """Keep an earlier run's checkpoints by giving its folder the first free name of `name.1`, `name.2` ..."""
        if not any(path.exists() for path in (self.best, self.last, self.previous)):
            return ""
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.{number}")).exists():
            number += 1
        os.rename(self.path, aside)
        return f"the earlier run in {self.path} is kept as {aside}"

    def save_last(self, tensors: Mapping[str, Array], metadata: Mapping[str, Any]) -> None:
        """Save the state of the training; the state of before becomes `previous`."""
        with contextlib.suppress(OSError):  # no links on this disk, or no file yet: then there is no `previous`
            link = self.path / ".previous.tmp"
            link.unlink(missing_ok=True)
            os.link(self.last, link)
            os.replace(link, self.previous)
        save_checkpoint(self.last, tensors, metadata)

    def load_last(self) -> tuple[Tensors, dict[str, Any], str] | None:
        """The newest whole state, and a line about it or ""; None when nothing was saved yet.

        When `last` is damaged and `previous` is not, `previous` takes its name, so that it is not replaced by a link
        to the damaged one. Raises UserError when what there is cannot be read.
        """
        if not self.last.exists() and not self.previous.exists():
            return None
        try:
            return *load_checkpoint(self.last), ""
        except UserError:
            if not self.previous.exists():
                raise
        tensors, metadata = load_checkpoint(self.previous)
        try:
            os.replace(self.previous, self.last)
        except OSError as error:
            raise UserError(f"cannot replace {self.last}: {error.strerror or error}") from error
        return tensors, metadata, f"{self.last} was damaged or missing; going on from the checkpoint before it"
