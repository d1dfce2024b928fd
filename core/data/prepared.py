"""Prepared data: a folder of `.npy` files that `info.json` describes, written whole or not at all.

A new folder is built beside the old one, flushed to disk, and swapped in by two renames. A kill between the two leaves
the old data under a hidden name, from which the next reader or writer brings it back.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import sys
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.files import beside, flush_to_disk, fsync_folder, locked

INFO = "info.json"
NAME = re.compile(r"[a-z][a-z0-9_]*")
PLAIN_KINDS = "biufU"  # numbers and text; objects would need pickle
ALWAYS_VERIFIED = 1 << 20  # bytes, whose checksum takes a millisecond
# What NumPy raises for one changed byte in the header of a `.npy` file, which it reads as a Python expression.
DAMAGED_HEADER = (ValueError, TypeError, EOFError, AttributeError, OverflowError, SyntaxError, tokenize.TokenError)
REQUIRED = ("dataset", "origin", "complete", "notice", "command")

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Prepared:
    """Arrays by name, and where they come from; a non-empty `info["notice"]` must be shown with every result."""

    arrays: Arrays
    info: dict[str, Any]


def save_prepared(folder: Path, arrays: Mapping[str, NDArray[Any]], info: Mapping[str, Any]) -> None:
    """Write `arrays` and `info` as the folder `folder`, in place of the prepared data that it may hold.

    info: dataset, origin, complete, notice and command at least; only complete data may go without a notice. What the
    arrays are (shape, dtype, sha256 of their bytes in C order) and the time are added. Whatever goes wrong, the data
    that was there stays. Raises UserError where the disk is full or the folder holds something else.
    """
    _check(arrays, info)
    try:
        with locked(folder):
            _bring_back(folder)
            refuse_foreign(folder)
            new = beside(folder, "new")
            try:
                _write(new, arrays, info)
                _swap(folder, new)
            finally:
                shutil.rmtree(new, ignore_errors=True)
                _bring_back(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write {folder}: {reason}; what was there before is untouched") from error


def _check(arrays: Mapping[str, NDArray[Any]], info: Mapping[str, Any]) -> None:
    missing = [key for key in REQUIRED if key not in info]
    if missing:
        raise ValueError(f"info of prepared data needs {', '.join(missing)}")
    if not info["complete"] and not info["notice"]:
        raise ValueError("data that is not complete needs a notice that says so")
    for name, array in arrays.items():
        if not NAME.fullmatch(name) or array.dtype.kind not in PLAIN_KINDS:
            raise ValueError(f"prepared arrays are plain, with lower-case names; got {name!r} of {array.dtype}")


def _bring_back(folder: Path) -> None:
    """Undo the first of the two renames where a kill came before the second. The caller holds the lock."""
    old = beside(folder, "old")
    if old.exists() and not folder.exists():
        os.rename(old, folder)


def refuse_foreign(folder: Path) -> None:
    """Nothing but prepared data may be replaced: a folder given by mistake must keep what it holds."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder for prepared data; choose another place")
    if folder.resolve() == Path.cwd():
        raise UserError(f"{folder} is the folder that you are in, and would be replaced; choose another place")
    foreign = [p.name for p in folder.iterdir() if p.suffix != ".npy" and p.name not in (INFO, ".DS_Store")]
    if foreign:
        raise UserError(f"{folder} holds other things than prepared data ({foreign[0]}); choose another folder")


def _write(new: Path, arrays: Mapping[str, NDArray[Any]], info: Mapping[str, Any]) -> None:
    shutil.rmtree(new, ignore_errors=True)  # left by a kill
    new.mkdir(parents=True)
    described = {}
    for name, array in arrays.items():
        array = np.ascontiguousarray(array).reshape(array.shape)
        with open(new / f"{name}.npy", "wb") as handle:
            np.save(handle, array, allow_pickle=False)
            flush_to_disk(handle)
        described[name] = {"shape": list(array.shape), "dtype": array.dtype.str, "sha256": _sha256(array)}
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    whole = {"created": now} | dict(info) | {"arrays": described}
    with open(new / INFO, "wb") as handle:
        handle.write(json.dumps(whole, indent=2, ensure_ascii=False).encode())
        flush_to_disk(handle)
    fsync_folder(new)


def _swap(folder: Path, new: Path) -> None:
    old = beside(folder, "old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.rename(folder, old)
    os.rename(new, folder)
    fsync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sha256(array: NDArray[Any]) -> str:
    return hashlib.sha256(array.data).hexdigest()


def load_prepared(
    folder: Path,
    names: Sequence[str] | None = None,
    *,
    verify: bool = False,
    mmap: bool = True,
    setup_flags: str = "",
) -> Prepared:
    """Read the named arrays (all of them by default) and the info of a prepared folder.

    The arrays are read-only and memory-mapped, so that only what is used is read; mmap=False gives own copies in
    memory. Shape, dtype and size are always checked, every byte of small arrays too, such as labels and lengths, of
    which a wrong one does the most harm, and every byte of all with verify=True. Raises UserError for a missing or
    damaged folder, with the command that prepares it; setup_flags: what setup_data.py needs to know for that.
    """
    info = _read_info(folder, setup_flags)
    wanted = list(info["arrays"]) if names is None else list(names)
    absent = [name for name in wanted if name not in info["arrays"]]
    if absent:
        held = ", ".join(info["arrays"])
        raise UserError(f"{folder} holds {held}, but not {', '.join(absent)}: is it the right folder?")
    arrays = {name: _read_array(folder, name, info, verify) for name in wanted}
    return Prepared(arrays if mmap else {name: array.copy() for name, array in arrays.items()}, info)


def training_checksums(info: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 of each array of training data by the info of prepared data: another split has others."""
    return {name: array["sha256"] for name, array in info.get("arrays", {}).items() if name.startswith("train_")}


def check_samples(folder: Path, samples: NDArray[Any], shape: tuple[int, ...]) -> None:
    """UserError unless each of the samples (N, ...) that `folder` holds has this shape, which the network sees."""
    if samples.shape[1:] != shape:
        raise UserError(f"{folder} holds samples of {samples.shape[1:]}, and the network sees {shape}")


def _read_info(folder: Path, setup_flags: str) -> dict[str, Any]:
    path = folder / INFO
    if not path.exists() and beside(folder, "old").exists():
        with locked(folder):
            _bring_back(folder)
    if not path.exists():
        raise UserError(f"no prepared data in {folder}: run `{_command(folder, {}, setup_flags)}` first")
    try:
        info = json.loads(path.read_bytes())
        described = info["arrays"].items()
        sound = isinstance(info["notice"], str) and all(
            NAME.fullmatch(name)
            and isinstance(array["sha256"], str)
            and isinstance(array["shape"], list)
            and np.dtype(array["dtype"]).kind in PLAIN_KINDS
            for name, array in described
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _damaged(folder, INFO, {}, setup_flags) from None
    if not sound:
        raise _damaged(folder, INFO, {}, setup_flags)
    return dict(info)


def _read_array(folder: Path, name: str, info: dict[str, Any], verify: bool) -> NDArray[Any]:
    path = folder / f"{name}.npy"
    expected = info["arrays"][name]
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        whole = path.stat().st_size == mapped.offset + mapped.nbytes
    except (OSError, *DAMAGED_HEADER):
        raise _damaged(folder, path.name, info) from None
    if not whole or list(mapped.shape) != expected["shape"] or mapped.dtype.str != expected["dtype"]:
        raise _damaged(folder, path.name, info)
    array: NDArray[Any] = np.asarray(mapped)  # the memmap type itself would spread to every result
    if (verify or array.nbytes <= ALWAYS_VERIFIED) and _sha256(array) != expected["sha256"]:
        raise _damaged(folder, path.name, info)
    return array


def _damaged(folder: Path, what: str, info: dict[str, Any], setup_flags: str = "") -> UserError:
    command = _command(folder, info, setup_flags)
    return UserError(f"{folder / what} is damaged: run `{command}` to prepare the data again")


def _command(folder: Path, info: dict[str, Any], setup_flags: str) -> str:
    """The command that prepares the folder: the one that it remembers, or the likely one.

    It needs no --archive for `<project>/archive/<data set>`; another folder is for the project whose script is running.
    """
    place = folder.resolve()
    own = place.parent.parent / "setup_data.py"
    scripts = [path for path in (own, Path(sys.argv[0]).resolve().parent / own.name) if path.exists()]
    project = scripts[0].parent.name if scripts else "PROJECT"
    command = str(info.get("command", f"python {project}/setup_data.py {setup_flags}".rstrip()))
    is_usual = own.exists() and place.parent.name == "archive" and info.get("dataset", place.name) == place.name
    return command if is_usual else f"{command} --archive {shlex.quote(str(folder))}"
