"""A demo in the browser: write an expression such as 12+7, and see how it is read and what it is worth.

    python emnist/app.py                           # the newest run
    python emnist/app.py --run cnn --port 8000

It needs the extra `demo`. Where nothing has been trained yet, it offers to do that.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from core.backend import Array
    from core.cli import main
    from core.data.ink import Picture
    from core.demo import cards
    from core.demo.begin import Beginning, Plan
    from core.demo.begin_page import begin_page
    from core.demo.canvas import drawing_pad
    from core.demo.launch import LaunchSettings
    from core.demo.page import LIVE, facts, html, page
    from core.demo.saliency import Saliency, as_overlay
    from core.demo.serve import serve_demo
    from core.demo.strokes import Stroke, parse_strokes
    from core.errors import UserError
    from core.frozen import freeze
    from core.losses import softmax
    from emnist.drawing import example, part
    from emnist.line_card import STYLE, line_card
    from emnist.reading import Answers, Reading, read_line
    from emnist.trained import DATASET, Reader, load_reader, prepare
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

TITLE = "Handwritten arithmetic"
WHAT = "A network written by hand in NumPy."
PAD_WIDTH, PAD_HEIGHT, PEN = 840, 240, 8  # units of the drawing pad, and of the line that it shows
EXAMPLES = ("12+7", "36/4", "5-8", "2*3+10", "9/0")
INVITATION = "Write an expression such as 12+7-3, or a word, with some space between the characters."


@dataclass
class Settings(LaunchSettings):
    """Which network to show, and where."""

    run: str = ""
    """Name or folder of the run; the newest one if not given."""


class LineReader:
    """Reads lines of writing, from any thread."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.network = reader, freeze(reader.network)
        self.explain = Saliency(self.network)
        self._lock = threading.Lock()  # layers reuse their workspaces, so two answers at once would mix

    def read(self, strokes: list[Stroke]) -> tuple[Reading, list[Picture], Array]:
        """The reading, the pictures uint8 (28, 28) of the symbols, and the probabilities (S, K) of their classes."""
        symbols = part(strokes, PEN)
        pictures = [symbol.as_character for symbol in symbols]
        both = np.stack([*pictures, *(symbol.as_sign for symbol in symbols)])  # (2 S, 28, 28)
        with self._lock:
            logits = self.network.forward(prepare(self.reader, both))
            as_characters, as_signs = softmax(logits).astype(np.float64).reshape(2, len(symbols), -1)  # (S, K) each
        lean, low = [symbol.lean for symbol in symbols], [symbol.is_low for symbol in symbols]
        reading = read_line(Answers(as_characters, as_signs, lean, low), self.reader.classes)
        return reading, pictures, as_characters

    def why(self, pictures: Sequence[Picture]) -> list[Picture]:
        """What in each picture uint8 (28, 28) speaks for the network's own first guess and what against, as colours."""
        with self._lock:
            x = prepare(self.reader, np.stack(pictures))  # (S, 28, 28, 1)
            black = prepare(self.reader, np.zeros((1, *pictures[0].shape), np.uint8))
            contributions = self.explain(x, black)[..., 0].astype(np.float64)  # (S, 28, 28)
        return [as_overlay(picture, part) for picture, part in zip(pictures, contributions, strict=True)]


def serve(settings: Settings) -> None:
    """Show the network that `settings` name, or how to get one."""
    serve_demo(make_demo, settings, plan(settings))


def plan(settings: Settings) -> Plan:
    """How a visitor without weights gets a small network."""
    return Plan(
        PROJECT,
        DATASET,
        title="EMNIST and BHMSDS",
        megabytes=36,
        stand_in="rendered characters and signs",
        small=("--epochs", "8"),
    )


def make_demo(settings: Settings, beginning: Beginning | None = None) -> Any:
    """The page as a `gr.Blocks`; without trained weights it says how to get them, or gets them by `beginning`."""
    try:
        reader = load_reader(settings.run)
    except UserError as error:
        if settings.run:  # the visitor asked for these weights: that there are none is a mistake
            raise
        return begin_page(TITLE, WHAT, str(error), beginning or Beginning(plan(settings)))
    return expression_page(reader, LineReader(reader))


def on_drawing(reader: LineReader, value: object) -> str:
    """The answer, as HTML, to what the drawing pad sent."""
    try:
        strokes = parse_strokes(value, PAD_WIDTH, PAD_HEIGHT)
    except UserError as error:
        return cards.message(str(error), "error")
    if not strokes:
        return cards.message(INVITATION)
    reading, pictures, probabilities = reader.read(strokes)
    return line_card(reading, pictures, reader.why(pictures), probabilities, reader.reader.classes)


def expression_page(reader: Reader, line_reader: LineReader) -> Any:
    """A wide pad above what was read."""
    network = str(reader.architecture)
    subtitle = f"{network[0].upper()}{network[1:]}: forward, backward and all, by hand in NumPy."
    with page(TITLE, subtitle, reader.notice) as demo:
        html(STYLE, "style")
        drawn = {text: example(text) for text in EXAMPLES}
        pad = drawing_pad(PAD_WIDTH, PAD_HEIGHT, prompt="Write here", examples=drawn, display=1000, pen=PEN)
        answer = html(cards.message(INVITATION), "answer")
        facts(reader.weights, "characters")
        pad.input(lambda value: on_drawing(line_reader, value), pad, answer, api_name="predict", **LIVE)
    return demo


if __name__ == "__main__":
    main(serve, Settings, description=__doc__)
