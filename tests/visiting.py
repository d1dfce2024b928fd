"""Several visitors of a demo at the same time, each with a question of its own."""

from __future__ import annotations

import base64
import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

ROUNDS = 8
PICTURE = re.compile(r"data:image/png;base64,([\w+/=]+)")
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def ask_at_once(answer: Callable[[Any], str], questions: Sequence[Any], rounds: int = ROUNDS) -> list[int]:
    """The numbers of the questions to which `answer`, HTML, once was another one than for a visitor who was alone."""
    expected = [answer(question) for question in questions]

    def visit(number: int) -> bool:
        return all(are_alike(answer(questions[number]), expected[number]) for _ in range(rounds))

    with often_interrupted(), ThreadPoolExecutor(len(questions)) as visitors:
        right = list(visitors.map(visit, range(len(questions))))
    return [number for number, is_right in enumerate(right) if not is_right]


@contextmanager
def often_interrupted() -> Iterator[None]:
    """Let threads take turns a thousand times as often as usual, so that answers of a millisecond meet, too."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def are_alike(one: str, other: str) -> bool:
    """Whether two answers say and show the same, but for the rounding of sums that are added up in another order."""
    here, there = (_shown(html) for html in (one, other))
    return here.shape == there.shape and np.allclose(here, there, rtol=0.01, atol=2)


def _shown(html: str) -> np.ndarray:
    """All numbers of the text, and all pixels of the pictures."""
    pictures = [Image.open(io.BytesIO(base64.b64decode(png))) for png in PICTURE.findall(html)]
    numbers = [float(number) for number in NUMBER.findall(PICTURE.sub("", html))]
    return np.concatenate([numbers, *(np.asarray(picture, np.float64).ravel() for picture in pictures)])
