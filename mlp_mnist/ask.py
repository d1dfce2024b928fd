"""Asking the user for a number."""

from __future__ import annotations

import sys

from core.errors import UserError


def how_many(number: int, things: str, default: int) -> int:
    """`number` itself, or, if it is -1, the positive number of `things` that the user types; Enter is the `default`.

    Without a terminal nobody is asked, and -1 is the `default` too. Raises UserError for an answer that is no such
    number, and at the end of the input (Ctrl-D).
    """
    if number != -1:
        return number
    if not sys.stdin.isatty():
        return default
    try:
        answer = input(f"How many {things} (Enter for {default})? ").strip() or str(default)
    except EOFError:
        raise UserError(f"no number of {things} was given") from None
    if not (answer.isascii() and answer.isdecimal()) or int(answer) == 0:
        raise UserError(f"a number of {things} is a positive whole number, not {answer!r}")
    return int(answer)
