"""The classes of this project: EMNIST's characters, the symbols of BHMSDS, and which of them look alike."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Literal

from core.errors import UserError

SplitName = Literal["balanced", "bymerge", "byclass", "letters", "digits", "mnist"]

# Images that the publisher's archive holds for training and test.
OFFICIAL: dict[str, tuple[int, int]] = {
    "balanced": (112_800, 18_800),
    "bymerge": (697_932, 116_323),
    "byclass": (697_932, 116_323),
    "letters": (124_800, 20_800),
    "digits": (240_000, 40_000),
    "mnist": (60_000, 10_000),
}
# Characters of the stand-in: the 47 of balanced and bymerge, where c, i, j and others have one class for both cases.
MERGED = (*string.digits, *string.ascii_uppercase, *"abdefghnqrt")
SIGNS = {"dot": "·", "plus": "+", "minus": "−", "slash": "/"}  # how symbols with a name look
SYMBOLS = (*SIGNS, "w", "x", "y", "z", *string.digits)

# Characters that many hands write alike, and the two cases of letters that differ in nothing but size.
LOOKALIKES = (
    ("0", "O", "o", "D", "Q"),
    ("1", "I", "i", "L", "l", "slash"),
    ("9", "q", "g"),
    ("5", "S", "s"),
    ("2", "Z", "z"),
    ("F", "f"),
    *((letter, letter.lower()) for letter in "CJKMPUVWXY"),
)


def choose_symbols(text: str) -> tuple[str, ...]:
    """The symbols in "dot,plus,minus", each once, in this order; UserError for one that BHMSDS does not have."""
    chosen = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in chosen if name not in SYMBOLS]
    if unknown:
        raise UserError(f"--symbols {unknown[0]}: BHMSDS has {', '.join(SYMBOLS)}")
    return chosen


def join(symbol: str, classes: Sequence[str]) -> str:
    """The class that a symbol belongs to: the one of that name or of its capital if there is one, else its own."""
    return next((name for name in (symbol, symbol.upper()) if name in classes), symbol)


def sign(name: str) -> str:
    """A class as a reader likes to see it: the symbols with names as signs."""
    return SIGNS.get(name, name)
