#!/usr/bin/env python3
"""How soon the demos answer, how many visitors they bear, and that no value disturbs them.

    python scripts/bench_apps.py                           # the server's part of an answer, for each drawing demo
    python scripts/bench_apps.py --start                   # from the command to the first page
    python scripts/bench_apps.py --browser                 # from the pen's lifting to the answer on the screen
    python scripts/bench_apps.py --clients 20 --seconds 60 # programs that ask each demo at the same time
    python scripts/bench_apps.py --hostile 1000            # values that nobody draws; it must answer a drawing after

Each takes the newest run of a demo, or `--run NAME` with one demo's name, such as `rnn_doodles --run best`.

A drawing of three strokes and 120 points grows stroke by stroke, as somebody would draw it. Without a flag it goes to
the function that answers the browser; with one, the demo runs as a process of its own, as a visitor finds it.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import environment
from scripts.environment import ROOT, SetupError

ROUNDS, WARM_UP = 40, 5
VISITS = 6  # drawings in the browser, after one to warm up


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
OTHERS = ("music_cuda", "cifar")  # without a pad


def main() -> int:
    parser = environment.Parser(__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"demos (all that fit): {', '.join((*DEMOS, *OTHERS))}"
    )
    parser.add_argument("--run", default="", help="the run whose weights answer (the newest)")
    parser.add_argument("--start", action="store_true", help="time the way from the command to the first page")
    parser.add_argument("--browser", action="store_true", help="time the answers in a browser")
    parser.add_argument("--clients", type=int, default=0, metavar="N", help="let N programs ask at the same time")
    parser.add_argument("--seconds", type=float, default=60, metavar="S", help="for how long (60)")
    parser.add_argument("--hostile", type=int, default=0, metavar="N", help="send N values that nobody draws")
    parser.add_argument("--save", action="store_true", help="keep the figures in scripts/results/demos.json")
    arguments = parser.parse_args()
    known = (*DEMOS, *OTHERS) if arguments.clients or arguments.start else tuple(DEMOS)
    if unknown := sorted(set(arguments.names) - set(known)):
        raise SetupError(
            f"there is no such demo, or none with a pad: {', '.join(unknown)}; choose from {', '.join(known)}"
        )
    if min(arguments.clients, arguments.hostile) < 0 or not 0 < arguments.seconds < math.inf:
        raise SetupError("--clients, --hostile and --seconds take numbers above 0")
    wanted = [f"--{kind}" for kind in ("start", "browser", "clients", "hostile") if getattr(arguments, kind)]
    if len(wanted) > 1:
        raise SetupError(f"{' and '.join(wanted)} are different measurements: choose one of them")
    try:
        from core.errors import UserError
        from scripts.projects import BY_NAME, find_model
        from scripts.visit.demos import DemoError
        from scripts.visit.results import record
    except ImportError as error:
        raise SetupError(f"{error}; install the project first: pip install -e .") from error

    figures = {}
    for name in arguments.names or known:
        try:
            run = find_model(BY_NAME[name], arguments.run).weights.parent
            figures[name] = {"run": run.name} | measure(name, str(run), arguments)
        except UserError as error:
            print(f"{name}: left out: {error}")
        except DemoError as error:
            raise SetupError(f"{name}: {error}") from error
        else:
            print(f"{name}: " + ", ".join(f"{what} {value}" for what, value in figures[name].items()), flush=True)
    if not figures:
        raise SetupError("nothing was measured")
    if arguments.save:
        record(figures)
    return 0


def start_time(name: str, run: str) -> float:
    """Seconds from the command to the first page of a demo. DemoError when it does not start."""
    import requests

    from scripts.visit import demos

    begun = time.perf_counter()
    with demos.served(ROOT / name / "app.py", "--run", run) as address:
        requests.get(address, timeout=30).raise_for_status()
        return round(time.perf_counter() - begun, 2)


def measure(name: str, run: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """What the flags ask for, of one demo with the weights of a run. DemoError when it fails."""
    if arguments.start:
        return {"seconds_to_first_page": start_time(name, run)}
    if name in DEMOS:
        answer, width, height = DEMOS[name](run)
        drawings = growing_drawing(width, height)
    if not (arguments.browser or arguments.clients or arguments.hostile):
        return summary(time_answers(answer, [json.dumps(drawing) for drawing in drawings]))

    from scripts.visit import demos, hostile, visitors

    with demos.served(ROOT / name / "app.py", "--run", run) as address:
        texts = [json.dumps(drawing) for drawing in drawings] if name in DEMOS else []
        if arguments.clients:
            return visitors.visit_together(address, name, texts, arguments.clients, arguments.seconds)
        if arguments.hostile:
            return visitors.send_hostile(address, name, hostile.values(arguments.hostile), texts[-1])
        with demos.chromium() as browser, demos.visit(browser, address) as page:
            shares = [[(x / width, y / height) for x, y in stroke] for stroke in drawings[-1]]
            return summary(visitors.answer_times(page, shares, VISITS))


def summary(times: Sequence[float]) -> dict[str, Any]:
    """The median and the slowest of some times in milliseconds."""
    return {"median_ms": round(statistics.median(times), 1), "slowest_ms": round(max(times), 1), "answers": len(times)}


def growing_drawing(width: float, height: float) -> list[list[list[list[float]]]]:
    """The drawing after each of its strokes: a circle, a line, and a zigzag."""
    turn = [2 * math.pi * n / 39 for n in range(40)]
    strokes = [
        [[width / 4 + height / 5 * math.cos(a), height / 2 + height / 3 * math.sin(a)] for a in turn],
        [[width / 2, height * (0.1 + 0.02 * n)] for n in range(40)],
        [[width * (0.6 + 0.008 * n), height * (0.5 + 0.2 * (n // 8 % 2))] for n in range(40)],
    ]
    return [strokes[:count] for count in (1, 2, 3)]


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
    sys.exit(environment.guarded(main))
