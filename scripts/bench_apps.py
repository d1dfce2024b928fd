#!/usr/bin/env python3
"""Time what the server does for one stroke in each drawing demo: from the strokes that arrive to the finished answer.

    python scripts/bench_apps.py                      # every demo that has trained weights
    python scripts/bench_apps.py rnn_doodles --run best

A drawing of three strokes and 120 points grows stroke by stroke, as somebody would draw it; each arrives as the browser
sends it. Prints the median and the slowest answer, in milliseconds.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 - which tells an old Python so

ROUNDS, WARM_UP = 40, 5


def mlp_mnist(run: str) -> tuple[Callable[[str], Any], int, int]:
    from mlp_mnist import app
    from mlp_mnist.trained import load_classifier

    recogniser = app.make_recogniser(load_classifier(run, "mnist"))
    return lambda value: app.on_drawing(recogniser, value), app.PAD, app.PAD


def cnn_mnist100(run: str) -> tuple[Callable[[str], Any], int, int]:
    from cnn_mnist100 import app
    from cnn_mnist100.trained import load_reader

    recogniser = app.NumberRecogniser(load_reader(run))
    return lambda value: app.on_drawing(recogniser, value), app.PAD_WIDTH, app.PAD_HEIGHT


def rnn_doodles(run: str) -> tuple[Callable[[str], Any], int, int]:
    from rnn_doodles import app
    from rnn_doodles.game import Player
    from rnn_doodles.trained import load_guesser

    guesser = load_guesser(run)
    folder = Path(app.__file__).parent / "archive" / app.DATASET
    table = app.Table(Player(guesser), app.load_examples(folder, guesser.classes))
    return lambda value: table.on_drawing(None, value), app.PAD, app.PAD


def emnist(run: str) -> tuple[Callable[[str], Any], int, int]:
    from emnist import app
    from emnist.trained import load_reader

    reader = app.LineReader(load_reader(run))
    return lambda value: app.on_drawing(reader, value), app.PAD_WIDTH, app.PAD_HEIGHT


DEMOS = {demo.__name__: demo for demo in (mlp_mnist, cnn_mnist100, rnn_doodles, emnist)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"demos to time (all): {', '.join(DEMOS)}")
    parser.add_argument("--run", default="", help="the run whose weights answer (the newest)")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(DEMOS))
    if unknown:
        parser.error(f"no demo is called {', '.join(unknown)}; there are {', '.join(DEMOS)}")
    try:
        from core.errors import UserError
    except ImportError as error:
        print(f"error: {error}; install the project first: pip install -e .", file=sys.stderr)
        return 2

    for name in arguments.names or DEMOS:
        try:
            answer, width, height = DEMOS[name](arguments.run)
        except UserError as error:
            print(f"{name}: left out: {error}")
            continue
        times = time_answers(answer, growing_drawing(width, height))
        print(f"{name}: median {statistics.median(times):.1f} ms, slowest {max(times):.1f} ms of {len(times)} answers")
    return 0


def growing_drawing(width: float, height: float) -> list[str]:
    """What the browser sends after each of three strokes: a circle, a line, and a zigzag."""
    turn = [2 * math.pi * n / 39 for n in range(40)]
    strokes = [
        [[width / 4 + height / 5 * math.cos(a), height / 2 + height / 3 * math.sin(a)] for a in turn],
        [[width / 2, height * (0.1 + 0.02 * n)] for n in range(40)],
        [[width * (0.6 + 0.008 * n), height * (0.5 + 0.2 * (n // 8 % 2))] for n in range(40)],
    ]
    return [json.dumps(strokes[:count]) for count in (1, 2, 3)]


def time_answers(answer: Callable[[str], Any], drawings: list[str]) -> list[float]:
    """Milliseconds for each answer to these drawings, over and over."""
    times = []
    for _ in range(WARM_UP + ROUNDS):
        for drawing in drawings:
            start = time.perf_counter()
            answer(drawing)
            times.append((time.perf_counter() - start) * 1e3)
    return times[WARM_UP * len(drawings) :]


if __name__ == "__main__":
    sys.exit(main())
