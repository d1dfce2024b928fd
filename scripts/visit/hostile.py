"""What somebody could send in the place of a drawing: seeded values, from nearly right to absurd."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator

NUMBERS = (0, -0.0, 1, -1, 0.1, 140.5, 279.9, 280, 1e-320, 1e-9, 1e9, -1e9, 2**31, 2**63, 1e300, -1e300, 10**400)
NO_NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999", "1" * 5000, "0x10", "1_0", "true", "null", '"7"', "{}", "[]")
TEXTS = (
    "", " ", "[", "]", "[[[", "null", "undefined", "{", '"', "\\", "\x00", "\u2028", "\ufeff[]", "\ud800", "𝟙",
    "[[[١,٢]]]", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "{{7*7}}", "'; DROP TABLE drawings; --",
    "../../etc/passwd", "file:///etc/passwd", "http://127.0.0.1:1/", "data:image/png;base64,AAAA", "%s%s%n",
    "[[[1,2]]]x", "[[[1,2]],]", "[[[1 2]]]", "[[[1,2]] [[3,4]]]", "/* */[]", "[[[+1,2]]]", "[[[1.,2]]]", "[[[.5,2]]]",
    "[[[1e,2]]]",
)  # fmt: skip
BRACKETS = ("[" * 5000, "{" * 5000, '{"a":' * 5000, "[" * 50_000 + "]" * 50_000, "[]" * 30_000, "[" * 4 + "]" * 4)


def values(count: int, seed: int = 0) -> Iterator[object]:
    """`count` values for the drawing pad of a demo; the same seed gives the same ones."""
    chance = random.Random(seed)
    kinds: tuple[Callable[[random.Random], object], ...] = (
        drawing, drawing, crowded, broken_drawing, broken_drawing, misspelt, cut, anything, no_text, text, brackets,
    )  # fmt: skip
    for _ in range(count):
        yield chance.choice(kinds)(chance)


def drawing(chance: random.Random) -> str:
    """A drawing as JSON, but of points where no hand would put them: far outside, all in one place, in a thin line."""
    point: Callable[[], list[float]] = chance.choice(
        (
            lambda: [chance.uniform(-1e3, 1e3), chance.uniform(-1e3, 1e3)],
            lambda: [chance.choice(NUMBERS[:-1]), chance.choice(NUMBERS[:-1])],
            lambda: [7, 7],
            lambda: [chance.random() * 280, 100],
            lambda: [50 + chance.random() * 1e-9, 50 + chance.random() * 1e-9],
            lambda: [chance.random() * 280, chance.random() * 280],
        )
    )
    return json.dumps([[point() for _ in range(chance.choice((0, 1, 2, 30)))] for _ in range(chance.randrange(9))])


def crowded(chance: random.Random) -> str:
    """About as many strokes, points or characters as a pad sends at most, or more."""
    strokes, points = chance.choice(((64, 31), (65, 1), (1, 2000), (1, 2001), (64, 32), (2000, 1), (3, 0), (64, 0)))
    digits = chance.choice((0, 1, 12))
    there = lambda: round(chance.random() * 280, digits)  # noqa: E731
    return json.dumps([[[there(), there()] for _ in range(points)] for _ in range(strokes)])


def broken_drawing(chance: random.Random) -> str:
    """A drawing in which something else stands in the place of a number, a point or a stroke."""
    wrong = chance.choice((*NO_NUMBERS, str(chance.choice(NUMBERS))))
    place = chance.choice(
        ("[[[1,2],[{},4]]]", "[[[1,2],{}]]", "[[[1,2]],{}]", "[[[1,2,{}]]]", "[[[{}]]]", "[{}]", "{}")
    )
    return place.replace("{}", wrong)


def misspelt(chance: random.Random) -> str:
    """A drawing with a few characters replaced, repeated or left out."""
    characters = list(drawing(chance))
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(characters))
        characters[place] = chance.choice(("", "[", "]", ",", ".", "-", "e", "9", "\x00", "é", characters[place] * 2))
    return "".join(characters)


def cut(chance: random.Random) -> str:
    """A drawing of which the end is missing."""
    whole = drawing(chance)
    return whole[: chance.randrange(len(whole))]


def anything(chance: random.Random, depth: int = 4) -> str:
    """Any JSON."""
    return json.dumps(_tree(chance, depth))


def _tree(chance: random.Random, depth: int) -> object:
    kind = chance.randrange(7 if depth else 5)
    if kind == 5:
        return [_tree(chance, depth - 1) for _ in range(chance.randrange(5))]
    if kind == 6:
        return {text(chance): _tree(chance, depth - 1) for _ in range(chance.randrange(4))}
    return (None, True, chance.choice(NUMBERS), text(chance), float("nan"))[kind]


def no_text(chance: random.Random) -> object:
    """What JSON can carry in the place of the text in which a drawing arrives."""
    value = _tree(chance, 3)
    return [value] if isinstance(value, str) else value


def text(chance: random.Random) -> str:
    """Any text."""
    return chance.choice((*TEXTS, "".join(chance.choices('[]{},.:"0123456789eE-+ntfé\x07', k=chance.randrange(80)))))


def brackets(chance: random.Random) -> str:
    """Brackets that nest deeper than a parser's stack, or are too many."""
    return chance.choice((*BRACKETS, "[" * chance.randint(4, 70_000)))
