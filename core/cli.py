"""From a dataclass of settings to a command line and back, and from a user's mistake to one line and exit code 2."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import io
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from core.errors import UserError

Settings = TypeVar("Settings")

USAGE_ERROR = 2
INTERRUPTED = 128 + 2  # as shells report a process that SIGINT or SIGPIPE has ended
PIPE_CLOSED = 128 + 13
DISK_REFUSES = {  # what the user can mend: a disk that is full or may not be written, and a path that cannot be
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM,
    errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.EEXIST,
}  # fmt: skip
BOX_CHARACTERS = "╭╮╰╯─│"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def parse(
    settings: type[Settings],
    arguments: Sequence[str] | None = None,
    description: str | None = None,
    presets: Mapping[str, Settings] | None = None,
    choose_preset: Callable[[Sequence[str]], str] | None = None,
) -> Settings:
    """Fill the dataclass `settings` from the command line; each field is a flag whose help is the string below it.

    With `presets`, the flag --preset (a field of the settings too) names the values that all other flags start from, or
    `choose_preset(arguments)` does.
    Raises UserError, in one line, for an unknown flag, for a value that does not fit, and for a list that has no values
    without the flag either. `--help` exits with code 0.
    """
    try:
        import tyro  # late, because it costs a tenth of a second that `import core` need not pay
    except ImportError as error:
        raise UserError(f"{error}; run `python -m pip install -e .` in the folder that holds core/") from None
    arguments = sys.argv[1:] if arguments is None else arguments
    default = (presets or {}).get((choose_preset or _preset_of)(arguments))
    start: dict[str, Any] = {} if default is None else {"default": default}
    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages):
            filled: Settings = tyro.cli(settings, args=arguments, description=description, **start)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UserError(_in_one_line(messages.getvalue())) from None
    _refuse_empty_lists(filled, settings if default is None else default, arguments)
    return filled


def flag_of(arguments: Sequence[str], flag: str, default: str) -> str:
    """The value of --<flag>, if it is among the arguments; whether it makes sense is for the full parser to say."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(f"--{flag}", dest="value", nargs="?", const=default, default=default)
    return str(parser.parse_known_args(arguments)[0].value)


def _preset_of(arguments: Sequence[str]) -> str:
    return flag_of(arguments, "preset", "default")


def _refuse_empty_lists(filled: Any, start: Any, arguments: Sequence[str]) -> None:
    """UserError for the flag of a list that is as empty as before: whoever writes it means some values."""
    for field in dataclasses.fields(filled):
        flag = f"--{field.name.replace('_', '-')}"
        if flag in arguments and getattr(filled, field.name) == () == getattr(start, field.name, None):
            raise UserError(f"{flag} takes at least one value")


def _in_one_line(boxed: str) -> str:
    """The sentence inside the box, coloured on a terminal, that tyro draws around its first complaint."""
    lines = [line.strip(BOX_CHARACTERS + " ") for line in COLOURS.sub("", boxed).splitlines()[1:]]
    sentence = lines[: lines.index("")] if "" in lines else lines
    return " ".join(sentence) + " (--help lists the settings)"


def main(
    function: Callable[[Any], int | None],
    settings: type[Any],
    arguments: Sequence[str] | None = None,
    description: str | None = None,
    presets: Mapping[str, Any] | None = None,
    choose_preset: Callable[[Sequence[str]], str] | None = None,
) -> None:
    """Parse the command line, call `function(settings)` and exit as `guarded` says."""
    sys.exit(guarded(lambda: function(parse(settings, arguments, description, presets, choose_preset))))


def guarded(program: Callable[[], int | None]) -> int:
    """Run a program; returns its exit code, which is what it returns (None counts as 0) if nothing goes wrong.

    A UserError ends with its one line and code 2, and so does a disk that is full or may not be written, a path that
    cannot be, and a network too large for the memory; Ctrl-C ends with code 130, and a reader of the output who has
    left, as in `... | head`, with code 141. What the output's encoding lacks, such as an arrow, is printed as a
    question mark.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        try:
            return program() or 0
        finally:
            sys.stdout.flush()  # here a closed pipe can still be noticed
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed at the end
        return PIPE_CLOSED
    except OSError as error:
        if error.errno not in DISK_REFUSES:
            raise
        path = error.filename2 or error.filename  # of a file that was to be renamed its new name
        print(f"error: {path}: {error.strerror}" if path else f"error: {error.strerror}", file=sys.stderr)
        return USAGE_ERROR
    except MemoryError as error:
        print(f"error: out of memory: {error or 'a smaller network or batch needs less'}", file=sys.stderr)
        return USAGE_ERROR


def as_flags(values: Mapping[str, Any]) -> str:
    """Settings as a command line takes them, such as "--lr 0.003 --hidden 256 128 --no-flip"; of a path only its name.

    The folders of a path are left out because such lines travel to other machines.
    """
    words: list[str] = []
    for name, value in values.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            several = value if isinstance(value, tuple) else (value,)
            words += [f"--{flag}", *(one.name if isinstance(one, Path) else str(one) for one in several)]
    return shlex.join(words)


def command_line(script: Path, settings: Any, leave_out: Sequence[str] = ()) -> str:
    """The command that calls <project>/<script> with these settings: a flag for each that is not at its default."""
    fields = [field for field in dataclasses.fields(settings) if field.name not in leave_out]
    values = {field.name: getattr(settings, field.name) for field in fields}
    flags = as_flags({field.name: values[field.name] for field in fields if values[field.name] != field.default})
    return f"python {script.parent.name}/{script.name} {flags}".rstrip()
