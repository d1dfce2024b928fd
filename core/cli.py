"""From a dataclass of settings to a command line, and from a user's mistake to one line and exit code 2."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from core.errors import UserError

Settings = TypeVar("Settings")

USAGE_ERROR = 2
BOX_CHARACTERS = "╭╮╰╯─│"


def parse(settings: type[Settings], arguments: Sequence[str] | None = None, description: str | None = None) -> Settings:
    """Fill the dataclass `settings` from the command line; each field is a flag whose help is the string below it.

    Raises UserError, in one line, for an unknown flag or a value that does not fit. `--help` exits with code 0.
    """
    import tyro  # late, because it costs a tenth of a second that `import core` need not pay

    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages):
            return tyro.cli(settings, args=arguments, description=description)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UserError(_in_one_line(messages.getvalue())) from None


def _in_one_line(boxed: str) -> str:
    """The sentence inside the box that tyro draws around its first complaint."""
    lines = [line.strip(BOX_CHARACTERS + " ") for line in boxed.splitlines()[1:]]
    sentence = lines[: lines.index("")] if "" in lines else lines
    return " ".join(sentence) + " (--help lists the settings)"


def main(
    function: Callable[[Any], int | None],
    settings: type[Any],
    arguments: Sequence[str] | None = None,
    description: str | None = None,
) -> None:
    """Parse the command line, call `function(settings)` and exit with its return value (None counts as 0)."""
    try:
        code = function(parse(settings, arguments, description))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = USAGE_ERROR
    sys.exit(code or 0)
