#!/usr/bin/env python3
"""How often the digit demo reads a stranger's handwriting: MNIST's test digits, traced and drawn again.

    python scripts/stranger.py                                   # 1,000 digits, the run mnist-best
    python scripts/stranger.py --run mnist-default --digits 2000
    python scripts/stranger.py --held-out                        # training images that were held out, to choose by

Each picture is traced to the strokes that a hand would have made. They are drawn on the demo's pad, small and large and
in all corners, and on paper with pens of several widths, which is then photographed; each goes through the very handler
that answers a visitor. The network never saw the digits, and nobody chose anything by how well it reads them here.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import environment
from scripts.environment import SetupError

ROOT = Path(__file__).resolve().parent.parent
SIZES = (60, 140, 240)  # units of the pad, which is 280 wide
CORNERS = {"top left": (0, 0), "top right": (1, 0), "middle": (0.5, 0.5), "bottom left": (0, 1), "bottom right": (1, 1)}
SHEET, MARGIN, ON_PAPER = 400, 30, 240  # pixels of a photograph, of its edge, and of the digit on it
PENS = (6, 14, 24, 36)  # pixels; MNIST's own pen would be 29
PAPER, INK = 225, 60  # grey levels


def main() -> int:
    parser = environment.Parser(__doc__)
    parser.add_argument("--run", default="mnist-best", help="the run of mlp_mnist whose weights read (mnist-best)")
    parser.add_argument("--digits", type=int, default=1000, help="how many (1000)")
    parser.add_argument("--held-out", action="store_true", help="training images held out instead of test images")
    parser.add_argument("--pictures", metavar="FILE", help="save the misread ones, the originals above, as a PNG")
    parser.add_argument("--save", action="store_true", help="keep the figures in scripts/results/demos.json")
    arguments = parser.parse_args()
    try:
        from core.errors import UserError
        from mlp_mnist import app
        from mlp_mnist.trained import load_classifier
        from scripts.visit.results import record
    except ImportError as error:
        raise SetupError(f"{error}; install the project first: pip install -e .") from error
    try:
        recogniser = app.make_recogniser(load_classifier(arguments.run, "mnist"))
        images, labels = choose(arguments.digits, arguments.held_out)
        figures = examine(recogniser, images, labels, arguments.pictures)
    except UserError as error:
        raise SetupError(str(error)) from error
    if arguments.save:
        record(figures)
    return 0


def choose(count: int, held_out: bool) -> tuple[Any, Any]:
    """That many pictures uint8 (n, 28, 28) and their labels (n,), spread over the whole set."""
    import numpy as np

    from core.data.prepared import load_prepared
    from core.data.splits import split_indices
    from core.errors import UserError
    from mlp_mnist.settings import Settings

    part = "train" if held_out else "test"
    prepared = load_prepared(ROOT / "mlp_mnist" / "archive" / "mnist", [f"{part}_images", f"{part}_labels"])
    images, labels = prepared.arrays[f"{part}_images"], prepared.arrays[f"{part}_labels"]
    rows = np.arange(len(labels))
    if held_out:  # those that no preset trains on
        settings = Settings()
        rows = np.sort(split_indices(labels, settings.validation / len(labels), settings.seed)[1])
    if not 1 <= count <= len(rows):
        raise UserError(f"--digits must lie in 1..{len(rows)}, got {count}")
    chosen = rows[np.linspace(0, len(rows) - 1, count).astype(int)]
    return np.array(images[chosen]), np.array(labels[chosen])


def examine(recogniser: Any, images: Any, labels: Any, pictures: str | None) -> dict[str, Any]:
    """Draw each digit in each way; print how many are read, and why some are not, and return the same as figures."""
    from scripts.visit.tracing import trace

    traced = [trace(image) for image in images]
    originals = [answer_to(recogniser, image) for image in images]
    tally = Tally()
    misread = set()
    for number, label in enumerate(labels):
        tally.count("the original pictures", originals[number] == label)
        for ways, answer in on_the_pad(recogniser, traced[number], number):
            tally.count("drawn on the pad", answer == str(label), *ways)
            if answer != str(label):
                misread.add(number)
        way, answer = on_paper(recogniser, traced[number], number)
        tally.count("drawn on paper", answer == str(label), way)
    figures: dict[str, Any] = tally.figures()
    for name, share in figures.items():
        print(f"{name}: {share['right']:,} of {share['of']:,} = {share['right'] / share['of']:.2%}")

    reasons = Counter(reason(recogniser, traced[n], labels[n], originals[n]) for n in misread)
    print(f"{len(misread)} digits were misread on the pad, in one size or in all:")
    for why, count in reasons.most_common():
        print(f"  {count} {why}")
    if pictures and misread:
        save(images[sorted(misread)], [traced[n] for n in sorted(misread)], pictures)
    return figures | {"misread on the pad": dict(reasons)}


class Tally:
    """Right answers and all answers, by the way in which the digits were drawn."""

    def __init__(self) -> None:
        self.counts: dict[str, list[int]] = {}

    def count(self, kind: str, right: bool, *ways: str) -> None:
        for name in (kind, *(f"{kind}, {way}" for way in ways)):
            one = self.counts.setdefault(name, [0, 0])
            one[0] += int(right)  # NumPy's own whole numbers are none to JSON
            one[1] += 1

    def figures(self) -> dict[str, dict[str, int]]:
        return {name: {"right": right, "of": of} for name, (right, of) in sorted(self.counts.items())}


def on_the_pad(recogniser: Any, strokes: list[Any], number: int) -> Iterator[tuple[tuple[str, str], str]]:
    """The demo's answers to a digit drawn in each size, in corners that take turns, and how it was drawn."""
    from core.demo.strokes import as_json
    from mlp_mnist import app

    for turn, size in enumerate(SIZES):
        corner = list(CORNERS)[(number + turn) % len(CORNERS)]
        drawing = placed(strokes, size, app.PAD, CORNERS[corner])
        yield (f"size {size} of {app.PAD}", corner), top(app.on_drawing(recogniser, as_json(drawing)))


def on_paper(recogniser: Any, strokes: list[Any], number: int) -> tuple[str, str]:
    """The demo's answer to a photograph of a digit drawn with one of the pens, in turn, and which one it was."""
    from PIL import Image

    from core.demo.raster import draw
    from mlp_mnist import app

    pen = PENS[number % len(PENS)]
    ink = draw(strokes, pen / 4, ON_PAPER / 4, oversampling=4)  # the pen's width is part of the digit's size
    x, y = list(CORNERS.values())[number % len(CORNERS)]
    room_x, room_y = (SHEET - 2 * MARGIN - side for side in ink.shape[::-1])
    sheet = Image.new("L", (SHEET, SHEET), PAPER)
    sheet.paste(INK, (MARGIN + round(x * room_x), MARGIN + round(y * room_y)), Image.fromarray(ink))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.png"
        sheet.save(path)
        return f"pen {pen} for a digit of {ON_PAPER}", top(app.on_photo(recogniser, "mnist", str(path)))


def placed(strokes: list[Any], size: float, room: float, corner: tuple[float, float]) -> list[Any]:
    """Strokes (P, 2) scaled to `size` on their longer side, and moved to a corner of a square of `room`."""
    import numpy as np

    points = np.concatenate(strokes)
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    scale = size / extent.max()
    offset = np.array(corner) * (room - extent * scale)
    return [(stroke - low) * scale + offset for stroke in strokes]


def reason(recogniser: Any, strokes: list[Any], label: int, original: int) -> str:
    """Why a digit was misread: because of the network, of the pen, or of the tracing."""
    from core.demo.raster import PEN, rasterise

    if original != label:
        return "are misread in the original, too"
    if any(answer_to(recogniser, rasterise(strokes, PEN * share)) == label for share in (0.7, 0.85, 1.2, 1.4)):
        return "would be read with a thinner or thicker pen"
    return "have lost in the tracing what told them apart, such as a small loop that was filled with ink"


def answer_to(recogniser: Any, image: Any) -> int:
    return int(recogniser.predict(image).probabilities.argmax())


def top(html: str) -> str:
    """The class that an answer gives in large letters; "" where it gives none."""
    return html.partition('<div class="bn-top">')[2].partition("</div>")[0]


def save(images: Any, traced: list[list[Any]], path: str) -> None:
    """A PNG with each original above what the network was shown, twenty in a row."""
    import numpy as np
    from PIL import Image

    from core.demo.raster import rasterise
    from core.files import replacing

    pairs = [np.vstack([image, rasterise(strokes)]) for image, strokes in zip(images, traced, strict=True)]
    pairs += [np.zeros_like(pairs[0])] * (-len(pairs) % 20)
    rows = [np.hstack(pairs[first : first + 20]) for first in range(0, len(pairs), 20)]
    with replacing(Path(path)) as file:
        Image.fromarray(np.kron(np.vstack(rows), np.ones((3, 3), np.uint8))).save(file, "png")


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
