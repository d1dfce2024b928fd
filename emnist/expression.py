"""What an arithmetic expression is worth: a small parser and exact fractions, and never a look at what Python thinks.

expression = term { ("+" | "-") term }
term       = factor { ("*" | "/") factor }
factor     = { "+" | "-" } ( number | "(" expression ")" )
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact
from fractions import Fraction

from core.errors import UserError

LONGEST = 200  # characters; what the pad can hold is far less
DEEPEST = 20  # brackets inside each other, which the parser follows by calling itself
DIGITS_SHOWN = 15
TOKEN = re.compile(r"\s*(?:(?P<number>\d+(?:\.\d*)?|\.\d+)|(?P<sign>[-+*/()]))")
SPELLINGS = str.maketrans({"−": "-", "–": "-", "·": "*", "×": "*", ":": "/", "÷": "/", ",": "."})


def evaluate(text: str) -> Fraction:
    """The exact value of an expression of numbers, + - * / (also − · × ÷) and brackets.

    Raises UserError, in a line that a visitor can read, for everything else, and for a division by zero.
    """
    if len(text) > LONGEST:
        raise UserError(f"this is longer than {LONGEST} characters")
    parser = _Parser(_tokens(text.translate(SPELLINGS)))
    value = parser.expression()
    if parser.next:
        raise UserError(f"this is no arithmetic: {_shown(parser.next)} has nothing to do with what stands before it")
    return value


def as_text(value: Fraction) -> str:
    """A value as people write it: exact where DIGITS_SHOWN digits are enough, else rounded and marked with ≈."""
    if value.denominator == 1 and abs(value) < 10**DIGITS_SHOWN:
        return str(value).replace("-", "−")
    digits = Context(prec=DIGITS_SHOWN, traps=[])
    decimal = digits.divide(Decimal(value.numerator), Decimal(value.denominator))
    if not digits.flags[Inexact] and 1e-6 <= abs(decimal) < 10**DIGITS_SHOWN:
        return f"{decimal:f}".replace("-", "−")
    rounded = f"{float(value):.{DIGITS_SHOWN - 9}g}" if abs(value) < 10**300 else _power_of_ten(value)
    mark = "" if "e" not in rounded and Fraction(rounded) == value else "≈ "
    return mark + rounded.replace("-", "−")


def _power_of_ten(value: Fraction) -> str:
    """Values that no float can hold, as 1.23e+456."""
    whole = str(abs(value.numerator // value.denominator))
    return f"{'-' if value < 0 else ''}{whole[0]}.{whole[1:6]}e+{len(whole) - 1}"


def _tokens(text: str) -> list[str]:
    tokens, place = [], 0
    while place < len(text.rstrip()):
        found = TOKEN.match(text, place)
        if not found:
            raise UserError(f"this is no arithmetic: {text[place:].strip()[0]!r} is neither a number nor a sign")
        tokens.append(found["number"] or found["sign"])
        place = found.end()
    return tokens


class _Parser:
    """Recursive descent over the tokens; each method reads its rule of the grammar and returns the value."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.place = self.depth = 0

    @property
    def next(self) -> str:
        """The next token, "" at the end."""
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self) -> str:
        token = self.next
        self.place += 1
        return token

    def expression(self) -> Fraction:
        value = self.term()
        while self.next in ("+", "-"):
            value = value + self.term() if self.take() == "+" else value - self.term()
        return value

    def term(self) -> Fraction:
        value = self.factor()
        while self.next in ("*", "/"):
            if self.take() == "*":
                value *= self.factor()
                continue
            divisor = self.factor()
            if not divisor:
                raise UserError("nothing can be divided by zero")
            value /= divisor
        return value

    def factor(self) -> Fraction:
        sign = 1
        while self.next in ("+", "-"):
            sign = -sign if self.take() == "-" else sign
        token = self.take()
        if token == "(":
            return sign * self.bracket()
        if not token or token in "*/)":
            raise UserError(f"this is no arithmetic: a number is missing before {_shown(token)}")
        return sign * Fraction(token)

    def bracket(self) -> Fraction:
        self.depth += 1
        if self.depth > DEEPEST:
            raise UserError(f"brackets are nested more than {DEEPEST} deep")
        value = self.expression()
        if self.take() != ")":
            raise UserError("this is no arithmetic: a bracket is not closed")
        self.depth -= 1
        return value


def _shown(token: str) -> str:
    return f"'{token}'" if token else "the end"
