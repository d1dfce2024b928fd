"""Kernels on the CPU: the very text of a `.cu` file, compiled by a C++ compiler against `cuda.h`.

Slow and exact: every thread of a block is a fiber, so barriers and warp shuffles mean what they mean on a GPU, and what
is undefined there (a barrier that not all threads reach, a shuffle with a lane that has left) is an error here.

`thread_order("reverse")` and `"shuffled"` change the order in which threads and blocks run. A kernel whose result
depends on it lacks a barrier, or races.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core.kernels.source import flattened

HEADER = Path(__file__).with_name("cuda.h")
HEADERS = (HEADER, Path(__file__).with_name("fibers.h"))
# Contraction would fuse a multiplication and an addition into one rounding, on some processors only.
FLAGS = ("-std=c++17", "-O1", "-shared", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing", "-w")
SANITIZE = "BARENETS_SANITIZE"  # environment variable: build with AddressSanitizer, whose library must be preloaded

ORDERS = ("forward", "reverse", "shuffled")
Order = Literal["forward", "reverse", "shuffled"]

_lock = threading.Lock()  # shared memory is static in the library, so launches take turns
_order: list[int] = [0]


class ShimError(RuntimeError):
    """A kernel did what is undefined on a GPU, or could not be compiled for the CPU."""


def compiler() -> str | None:
    """The C++ compiler that runs kernels on the CPU; None where there is none."""
    return next(filter(None, map(shutil.which, ("g++", "clang++"))), None)


@contextmanager
def thread_order(order: Order) -> Iterator[None]:
    """Within this context threads and blocks run in another order."""
    before = _order[0]
    _order[0] = ORDERS.index(order)
    try:
        yield
    finally:
        _order[0] = before


class Library:
    """The kernels of one file, compiled for the CPU."""

    def __init__(self, path: Path, instances: Sequence[str]) -> None:
        self._launch = ctypes.CDLL(str(_build(path, tuple(instances)))).shim_launch

    def launch(
        self,
        instance: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        shared: int,
        values: Sequence[Any],
    ) -> None:
        """Run one kernel; raises ShimError for what is undefined on a GPU."""
        pointers, kept = (ctypes.c_void_p * len(values))(), []
        for place, value in enumerate(values):
            if value is None or isinstance(value, np.ndarray):
                cell: Any = ctypes.c_void_p(value.ctypes.data if value is not None and value.size else None)
                pointers[place] = ctypes.addressof(cell)
            else:
                cell = np.array(value)  # a typed scalar
                pointers[place] = cell.ctypes.data
            kept.append(cell)
        message = ctypes.create_string_buffer(400)
        sizes = (ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(*block)
        with _lock:
            failed = self._launch(
                instance.encode(), *sizes, ctypes.c_size_t(shared), pointers, _order[0], message, len(message)
            )
        if failed:
            raise ShimError(f"{instance}: {message.value.decode()}")


@functools.cache
def built(path: Path, instances: tuple[str, ...]) -> Library:
    """The kernels of one file, built at the first use and kept in the user's cache."""
    return Library(path, instances)


def cache_folder() -> Path:
    """Where built kernels are kept: $XDG_CACHE_HOME/barenets/kernels, by default below ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "barenets" / "kernels"


def _build(path: Path, instances: tuple[str, ...]) -> Path:
    """The library for this source, from the cache if it is there; many processes may build it at once."""
    found = compiler()
    if found is None:
        raise ShimError("kernels run on the CPU only where g++ or clang++ is installed")
    flags = [*FLAGS, *(["-fsanitize=address", "-g", "-O0"] if os.environ.get(SANITIZE) else [])]
    text = _translation_unit(path, instances)
    headers = [header.read_text(encoding="utf-8") for header in HEADERS]
    key = hashlib.sha256("\0".join([text, *headers, _version(found), *flags]).encode()).hexdigest()
    folder = cache_folder()
    library = folder / f"{path.stem}-{key[:24]}.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        source, result = Path(work) / "kernels.cpp", Path(work) / "kernels.so"
        source.write_text(text, encoding="utf-8")
        command = [found, *flags, "-include", str(HEADER), str(source), "-o", str(result)]
        done = _run(command)
        if done.returncode:
            raise ShimError(f"{path.name} does not compile for the CPU:\n{done.stderr[:4000]}")
        os.replace(result, library)  # whoever comes last replaces an equal file
    return library


@functools.cache
def _version(program: str) -> str:
    return _run([program, "--version"]).stdout


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run the compiler, without the sanitizer that may have been preloaded to watch this process."""
    variables = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)


def _translation_unit(path: Path, instances: tuple[str, ...]) -> str:
    table = "\n".join(f'    {{"{name}", &shim::call<&{name}>}},' for name in instances)
    return f"{flattened(path)}\nconst shim::Entry shim::entries[] = {{\n{table}\n    {{nullptr, nullptr}}}};\n"
