"""From what the network finds probable for each symbol to a text, and to the value of the text if it is arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.backend import Array
from core.errors import UserError
from emnist.classes import sign
from emnist.expression import as_text, evaluate

ARITHMETIC = {**{digit: digit for digit in "0123456789"}, "plus": "+", "minus": "−", "slash": "/", "dot": "·"}
TIMES = ("X", "x")  # between two numbers, a cross
PENALTY = 0.01  # how much less probable than as text a symbol may be in an expression


@dataclass(frozen=True)
class Reading:
    """A line as it was read: a class for each symbol, the text, and its value or why it has none ("" for words)."""

    classes: tuple[str, ...]
    text: str
    value: str = ""
    trouble: str = ""


def read_line(probabilities: Array, low: Sequence[bool], classes: Sequence[str]) -> Reading:
    """Read a line from the probabilities (S, K) of its symbols; `low` (S,) tells which stand at the foot of the line.

    Many characters look alike: 1 and I, 0 and O. So the line is read twice, with all classes and with digits and signs
    only. The second reading is taken where no symbol loses more than PENALTY by it, and it has a digit and a sign or
    nothing but digits.
    """
    as_words = tuple(classes[k] for k in probabilities.argmax(axis=1))
    numeric = np.array([name in ARITHMETIC for name in classes])
    as_sum = _with_crosses(probabilities, numeric, as_words, classes)
    chosen = np.array([probabilities[row, list(classes).index(name)] for row, name in enumerate(as_sum)])
    if not (chosen >= PENALTY * probabilities.max(axis=1)).all() or not any(name.isdigit() for name in as_sum):
        return Reading(as_words, "".join(map(sign, as_words)))
    text = "".join(_character(name, foot) for name, foot in zip(as_sum, low, strict=True))
    try:
        return Reading(as_sum, text, value=as_text(evaluate(text)))
    except UserError as error:
        return Reading(as_sum, text, trouble=str(error))


def _with_crosses(
    probabilities: Array, numeric: Array, words: Sequence[str], classes: Sequence[str]
) -> tuple[str, ...]:
    """The most probable digit or sign of each symbol; a cross between two others stays one."""
    best = np.where(numeric, probabilities, -1).argmax(axis=1)
    inside = range(1, len(words) - 1)
    return tuple(name if row in inside and name in TIMES else classes[best[row]] for row, name in enumerate(words))


def _character(name: str, foot: bool) -> str:
    """A digit or sign; a dot at the foot of the line is a decimal point, and higher up it multiplies."""
    if name == "dot" and foot:
        return "."
    return "×" if name in TIMES else ARITHMETIC[name]
