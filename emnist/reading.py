"""From what the network finds probable for each symbol to a text, and to the value of the text if it is arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.backend import Array
from core.errors import UserError
from emnist.classes import sign
from emnist.expression import as_text, evaluate

ARITHMETIC = {**{digit: digit for digit in "0123456789"}, "plus": "+", "minus": "−", "slash": "/", "dot": "·"}
TIMES = ("X", "x")  # between two numbers, a cross
CROSSES = ("t", "T", "f", *TIMES)  # letters that a plus looks like
BARS = ("1", "I", "i", "L", "l", "slash")  # a single stroke
LEANING = 0.35  # width over height, from which on a bar that leans to the right is a slash and no 1
PENALTY = 0.01  # how much less probable than as text a symbol may be in an expression


@dataclass(frozen=True)
class Answers:
    """What the network finds probable for the S symbols of a line, and what their strokes tell beside it."""

    as_characters: Array
    """Probabilities (S, K) of the classes, for the symbols drawn as EMNIST shows characters."""
    as_signs: Array
    """The same for the symbols drawn as BHMSDS shows signs."""
    lean: Sequence[float]
    """How far each leans to the right: width over height (S,)."""
    low: Sequence[bool]
    """Which stand at the foot of the line (S,)."""


@dataclass(frozen=True)
class Reading:
    """A line as it was read: a class for each symbol, the text, and its value or why it has none ("" for words)."""

    classes: tuple[str, ...]
    text: str
    value: str = ""
    trouble: str = ""


def read_line(answers: Answers, classes: Sequence[str]) -> Reading:
    """Read a line as an expression if it can be one, else as words.

    Many characters look alike: 1 and I, 0 and O. So the line is read twice, with all classes and with digits and signs
    only. The second reading is taken where no symbol is much less probable by it, and it has a digit.
    """
    words = tuple(classes[k] for k in answers.as_characters.argmax(axis=1))
    terms = [_as_term(row, word, answers, classes) for row, word in enumerate(words)]
    found = tuple(term for term in terms if term)
    if len(found) < len(words) or not any(name.isdigit() for name in found):
        return Reading(words, "".join(map(sign, words)))
    text = "".join(_character(name, foot) for name, foot in zip(found, answers.low, strict=True))
    try:
        return Reading(found, text, value=as_text(evaluate(text)))
    except UserError as error:
        return Reading(found, text, trouble=str(error))


def _as_term(row: int, word: str, answers: Answers, classes: Sequence[str]) -> str:
    """The digit or sign that a symbol, which is `word` in a text, may be in an expression; "" for none.

    A slash and a 1 differ only in how far they lean, and a plus is a t to whoever knows letters; so for these the lean
    decides, and the answer to the picture of a sign.
    """
    terms = [k for k, name in enumerate(classes) if name in ARITHMETIC]
    if not terms:  # the network knows letters only
        return ""
    inside = 0 < row < len(answers.lean) - 1
    if word in BARS:
        return "slash" if answers.lean[row] > LEANING else "1"
    if inside and word in CROSSES and classes[answers.as_signs[row].argmax()] == "plus":
        return "plus"
    if inside and word in TIMES:
        return word
    found = answers.as_characters[row]
    best = max(terms, key=lambda k: float(found[k]))
    return classes[best] if found[best] >= PENALTY * found.max() else ""


def _character(name: str, foot: bool) -> str:
    """A digit or sign; a dot at the foot of the line is a decimal point, and higher up it multiplies."""
    if name == "dot" and foot:
        return "."
    return "×" if name in TIMES else ARITHMETIC[name]
