"""An environment with the project in it, made and kept up to date by the standard library alone.

`prepare` is what `quickstart.py` and `run_tests.py` call first: the active environment, or `.venv` in the clone, with
the project installed editable at the versions of `constraints.txt`. Nothing is installed again while nothing changed.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
STAMP_NAME = "barenets-install.json"
LOG_NAME = "barenets-install.log"
INTERRUPTED, PIPE_CLOSED = 130, 141  # exit codes, as shells report a process that SIGINT or SIGPIPE has ended
DISK_REFUSES = {  # the same as in core.cli, which needs NumPy
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM,
    errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.EEXIST,
}  # fmt: skip

# What installers say when they fail, most telling first, and what a person can do about it.
DIAGNOSES = (
    (
        r"externally-managed-environment",
        "this Python belongs to the operating system and takes no packages: run this again without --here",
    ),
    (r"No space left on device|Disk quota exceeded", "the disk is full: free about 1 GB and run this again"),
    (
        r"editable mode currently requires|unknown option.*--editable",
        "this pip is too old: run 'python -m pip install --upgrade pip' with the same Python, then this again",
    ),
    (
        r"NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|ConnectionError"
        r"|Connection (?:refused|reset|aborted)|Network is unreachable|[Nn]ame resolution|dns error|sending request",
        "no package index could be reached: connect to the internet, or name a mirror (PIP_INDEX_URL=...) or a folder "
        "of wheels (PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER), then run this again",
    ),
    (
        r"No matching distribution|No solution found|from versions:",
        "the package index has no fitting build for this Python: use CPython 3.10 to 3.13, the tested ones",
    ),
    (
        r"Permission denied|EnvironmentError|Read-only file system",
        "this clone or its environment cannot be written to: run this in a copy of your own",
    ),
)

# As environment variables, because an old pip ignores those that it does not know; the user's own go before them.
PIP_SETTINGS = {
    "PIP_RETRIES": "2",
    "PIP_NO_INPUT": "1",
    "PIP_PROGRESS_BAR": "off",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}

# Runs in the target interpreter: exit code 0 if every requirement of the project, with these extras, is installed.
PROBE = """
import importlib.metadata as metadata, re, sys
extras = set(sys.argv[1:])
for line in metadata.requires("barenets"):
    name, extra = re.match(r"[\\w.-]+", line)[0], re.search(r"extra == ['\\"]([\\w-]+)", line)
    if extra is None or extra[1] in extras:
        metadata.version(name)
import core
"""


class SetupError(Exception):
    """Something the user can mend, said in one line."""


@dataclass(frozen=True)
class Environment:
    """A Python environment: its folder, and the interpreter in it."""

    folder: Path
    python: Path

    def works(self) -> bool:
        """Whether the interpreter starts and is new enough (its base Python may have been removed since)."""
        code = "import sys; sys.exit(sys.version_info < (3, 10))"
        try:
            return subprocess.run([self.python, "-c", code], capture_output=True).returncode == 0
        except OSError:
            return False


def prepare(extras: Iterable[str] = (), here: bool = False) -> Environment:
    """Find or make the environment, install the project with `extras` unless that is done; raises SetupError."""
    environment = find(here)
    if not environment.works():
        make(environment.folder)
    wanted = set(extras)
    if not is_installed(environment, wanted):
        install(environment, wanted)
    return environment


def find(here: bool = False) -> Environment:
    """The environment of the running interpreter if one is active (or `here` says so), else `.venv` in the clone."""
    if here or sys.prefix != sys.base_prefix or (Path(sys.prefix) / "conda-meta").is_dir():
        return Environment(Path(sys.prefix), Path(sys.executable))
    folder = ROOT / ".venv"
    return Environment(folder, folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def make(folder: Path) -> None:
    """Make, or make anew, the virtual environment `folder`; a folder that is something else is left alone."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists():
        raise SetupError(f"{folder} is in the way: it is not a virtual environment; move it away and run this again")
    command = [sys.executable, "-m", "venv", "--clear", str(folder)]
    if importlib.util.find_spec("ensurepip") is None:  # Debian and Ubuntu split it off
        command.insert(3, "--without-pip")
    say(f"making {shown(folder)} with Python {sys.version.split()[0]}")
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode != 0:
        raise SetupError(f"could not make {folder}: {diagnose((made.stderr + made.stdout).splitlines())}")


def is_installed(environment: Environment, extras: set[str]) -> bool:
    """Whether this very clone is installed with at least `extras`, and nothing of it has gone since."""
    try:
        stamp = json.loads((environment.folder / STAMP_NAME).read_text(encoding="utf-8"))
        fits = stamp["fingerprint"] == _fingerprint() and extras <= set(stamp["extras"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    probe = [str(environment.python), "-c", PROBE, *sorted(extras)]
    return fits and subprocess.run(probe, capture_output=True, cwd=environment.folder).returncode == 0


def install(environment: Environment, extras: set[str]) -> None:
    """Install the project editable, at the tested versions; raises SetupError with one line that says what to do."""
    what = "." + (f"[{','.join(sorted(extras))}]" if extras else "")
    say(f"installing the project and what it needs into {shown(environment.folder)} (the first time takes a minute)")
    command = [*_installer(environment.python), "--constraint", CONSTRAINTS.name, "--editable", what]
    code, lines = _run_with_progress(command)
    if code != 0:
        raise SetupError(f"the installation failed: {diagnose(lines)}{_save_log(environment, lines)}")
    stamp = {"fingerprint": _fingerprint(), "extras": sorted(extras)}
    (environment.folder / STAMP_NAME).write_text(json.dumps(stamp), encoding="utf-8")


def diagnose(lines: Sequence[str]) -> str:
    """Turn the output of a tool that failed into one line: a known cause with its cure, or its own last error."""
    text = "\n".join(lines)
    for pattern, advice in DIAGNOSES:
        if re.search(pattern, text):
            return advice
    errors = [line for line in lines if line.lower().startswith("error")] or list(lines)
    return next((line.strip() for line in reversed(errors) if line.strip()), "it gave no reason")


class Parser(argparse.ArgumentParser):
    """Reads the command line of a script, whose description the help shows as it stands."""

    def __init__(self, description: str | None, **options: Any) -> None:
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """A mistake, in one line where argparse would print the usage too."""
        raise SetupError(f"{message} (--help lists the flags)")


def guarded(main: Callable[[], int]) -> int:
    """Run a command's `main`; what the user can mend, a disk that refuses too, ends with one line and exit code 2.

    Ctrl-C ends it with 130, a reader of the output who has left, as in `... | head`, with 141, and the failure of a
    command that it called with `check=True`, and that has said why, with that command's code.
    """
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()  # here a closed pipe can still be noticed
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed at the end
        return PIPE_CLOSED
    except OSError as error:
        if error.errno not in DISK_REFUSES:
            raise
        path = error.filename2 or error.filename  # of a file that was to be renamed its new name
        print(f"error: {path}: {error.strerror}" if path else f"error: {error.strerror}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        return _exit_code(error.returncode)


def run(command: Sequence[str | Path]) -> int:
    """Run a command in the clone, and let it end in its own way on Ctrl-C or SIGTERM; returns its exit code.

    Raises KeyboardInterrupt where Ctrl-C ended it.
    """
    with subprocess.Popen(command, cwd=ROOT) as process:
        # A terminal sends Ctrl-C to the command too; it may need time to save its work, so it is waited for.
        before = {
            signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
            signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
        }
        try:
            code = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    if code in (INTERRUPTED, -signal.SIGINT):
        raise KeyboardInterrupt
    return _exit_code(code)


def say(text: str) -> None:
    print(text, flush=True)


def shown(path: Path) -> str:
    """A path as a reader likes it: from the clone's root, where it lies below."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def expect_no_loss(path: Path, names: Callable[[Any], Iterable[str]], measured: Iterable[str], instead: str) -> None:
    """SetupError where the file holds results that it would lose to those of what is measured now.

    `names` finds the names of the results in the file's content, which begin with what was `measured`.
    """
    if not path.is_file():
        return
    try:
        found = set(names(json.loads(path.read_text(encoding="utf-8"))))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SetupError(f"{shown(path)} is no result file: give {instead}") from None
    if lost := sorted(name for name in found if not name.startswith(tuple(measured))):
        words = f"{shown(path)} also holds {', '.join(lost)}, which would be lost"
        raise SetupError(f"{words}: give {instead}, or --no-save")


def _exit_code(code: int) -> int:
    """What a shell reports of a process with this return code, which is -N where signal N has ended it."""
    return 128 - code if code < 0 else code


def _installer(python: Path) -> list[str]:
    """The first installer at hand: the environment's own pip, uv, or the running Python's pip from outside."""
    if subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return [str(python), "-m", "pip", "install"]
    if shutil.which("uv"):
        return ["uv", "pip", "install", "--python", str(python)]
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--python", str(python), "install"]
    raise SetupError(
        "this Python has neither pip nor ensurepip: install them (Debian, Ubuntu: apt install python3-venv), "
        "or install uv, then run this again"
    )


def _run_with_progress(command: Sequence[str]) -> tuple[int, list[str]]:
    """Run an installer in the clone, its newest line on the terminal's last line; returns exit code and all lines."""
    lines: list[str] = []
    live = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns - 4
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**PIP_SETTINGS, **os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            if live:
                print(f"\r\033[K  {line.strip()[:width]}", end="", flush=True)
    if live:
        print("\r\033[K", end="", flush=True)
    return process.returncode, lines


def _save_log(environment: Environment, lines: Sequence[str]) -> str:
    """Keep an installer's full output; returns the words that point to it, empty where it could not be written."""
    path = environment.folder / LOG_NAME
    try:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError:
        return ""
    return f" (all it said: {shown(path)})"


def _fingerprint() -> str:
    """Changes whenever an installation would: with the clone's place, the requirements and the pinned versions."""
    parts = (str(ROOT).encode(), (ROOT / "pyproject.toml").read_bytes(), CONSTRAINTS.read_bytes())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
