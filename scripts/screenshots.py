#!/usr/bin/env python3
"""Use each demo in a browser as a visitor would, check what it answers, and save the picture that its README shows.

    python scripts/screenshots.py                          # all six, into <project>/demo.png
    python scripts/screenshots.py mlp_mnist --run mnist-default --folder somewhere
    python scripts/screenshots.py music_cuda --song blues.00000.wav

The demos show real networks, so the runs named below must have been trained. A demo that answers wrongly, asks anybody
outside for anything, or logs an error gets no picture.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import environment
from scripts.environment import ROOT, SetupError

WIDTH, MARGIN = 1200, 24  # pixels
COLOURS = 160
SOUND = Path("chord.wav")


class Scene(NamedTuple):
    """What is done with a demo for its picture."""

    run: str
    play: Callable[[Any, Path], None]
    """Takes the open page and a sound file, and returns when the right answer is shown."""


def draw_a_digit(page: Any, _: Path) -> None:
    from core.demo.examples import DIGITS
    from scripts.visit.demos import write

    write(page, DIGITS[3], 100, 100)
    shown(page, "#answer .bn-top", "3")


def write_a_number(page: Any, _: Path) -> None:
    from cnn_mnist100.app import PAD_HEIGHT, PAD_WIDTH
    from cnn_mnist100.drawing import example
    from scripts.visit.demos import write

    write(page, [stroke * 2.2 + (110.0, 30.0) for stroke in example(42)], PAD_WIDTH, PAD_HEIGHT)
    shown(page, "#answer .bn-top", "42")


def play_a_round(page: Any, _: Path) -> None:
    from scripts.visit.demos import write

    for _ in range(500):  # until the game asks for what this can draw
        board = page.locator("#board h1").inner_text()
        if board == "Draw: ice cream":
            break
        page.locator("#next").click()
        page.wait_for_function("before => document.querySelector('#board h1').innerText != before", arg=board)
    write(page, ICE_CREAM, 100, 100)
    shown(page, "#board h1", "Guessed: ice cream!")
    shown(page, "#answer .bn-top", "ice cream")


def write_an_expression(page: Any, _: Path) -> None:
    from emnist.app import PAD_HEIGHT, PAD_WIDTH
    from emnist.drawing import example
    from scripts.visit.demos import write

    write(page, [stroke * 1.6 + (130.0, 40.0) for stroke in example("12+7-3")], PAD_WIDTH, PAD_HEIGHT)
    page.get_by_text("= 16").wait_for()


def play_a_sound(page: Any, sound: Path) -> None:
    page.locator("#audio input[type=file]").first.set_input_files(sound)
    page.locator("#answer img[alt=Spectrogram]").wait_for()


def click_an_example(page: Any, _: Path) -> None:
    page.get_by_role("button", name="Example: horse").click()
    shown(page, "#answer .bn-top", "horse")


TURNS = [2 * math.pi * (0.44 + 0.62 * n / 40) for n in range(41)]
ICE_CREAM = (  # on a pad of 100 x 100
    [(32, 48), (50, 92), (68, 48)],
    [(28, 48), (72, 48)],
    [(50 + 23 * math.cos(turn), 38 + 23 * math.sin(turn)) for turn in TURNS],
)
SCENES = {
    "mlp_mnist": Scene("mnist-best", draw_a_digit),
    "cnn_mnist100": Scene("best", write_a_number),
    "rnn_doodles": Scene("best", play_a_round),
    "emnist": Scene("mlp-best", write_an_expression),
    "music_cuda": Scene("best", play_a_sound),
    "cifar": Scene("cifar10-fast", click_an_example),
}


def main() -> int:
    parser = environment.Parser(__doc__)
    parser.add_argument("names", nargs="*", metavar="PROJECT", help=f"which demos (all): {', '.join(SCENES)}")
    parser.add_argument(
        "--run", help="another run than " + ", ".join(f"{s.run} ({name})" for name, s in SCENES.items())
    )
    parser.add_argument("--folder", type=Path, help="save <project>.png there instead")
    parser.add_argument("--song", type=Path, help="what music_cuda hears (a chord that is made up on the spot)")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(SCENES)):
        raise SetupError(f"no demo is called {', '.join(unknown)}; there are {', '.join(SCENES)}")
    try:
        from scripts.visit.demos import DemoError, chromium
    except ImportError as error:
        raise SetupError(f"{error}; install the project first: pip install -e .") from error

    try:
        with chromium() as browser:
            for name in arguments.names or SCENES:
                path = arguments.folder / f"{name}.png" if arguments.folder else ROOT / name / "demo.png"
                size = take(browser, name, arguments.run or SCENES[name].run, path, arguments.song)
                print(f"{path}: {size / 1000:.0f} kB", flush=True)
    except DemoError as error:
        raise SetupError(str(error)) from error
    return 0


def take(browser: Any, name: str, run: str, path: Path, song: Path | None) -> int:
    """Play a demo's scene with the weights of a run, save the picture, and return its size in bytes."""
    import tempfile

    from scripts.visit.demos import DemoError, served, settled, visit
    from scripts.visit.visitors import some_sound

    with (
        tempfile.TemporaryDirectory() as folder,
        served(ROOT / name / "app.py", "--run", run) as address,
        visit(browser, address, WIDTH) as page,
    ):
        if song is None:
            song = Path(folder) / SOUND
            song.write_bytes(some_sound())
        try:
            SCENES[name].play(page, song)
        except Exception as error:  # Playwright's own, when what should be shown does not come
            answer = page.locator("#answer").inner_text()
            raise DemoError(f"{name} does not answer as it should, but: {answer!r} ({type(error).__name__})") from error
        page.mouse.move(1, 1)  # where nothing lights up
        settled(page)
        height = page.evaluate(
            "Math.max(...[...document.querySelectorAll('#answer, #facts, #pad, #maps, #filters')]"
            ".map(each => each.getBoundingClientRect().bottom + scrollY))"
        )
        page.set_viewport_size({"width": WIDTH, "height": int(height) + MARGIN})
        settled(page)
        return save(page.screenshot(), path)


def shown(page: Any, where: str, text: str) -> None:
    """Wait until the text stands there, and then until nothing changes any more, to see that it stays."""
    from scripts.visit.demos import settled

    page.locator(where, has_text=text).wait_for(timeout=15_000)
    settled(page)
    page.locator(where, has_text=text).wait_for(timeout=100)


def save(png: bytes, path: Path) -> int:
    """Save a screenshot with few colours, so that it stays small; returns its size in bytes."""
    import io

    from PIL import Image

    few = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    path.parent.mkdir(parents=True, exist_ok=True)
    few.save(path, optimize=True)
    return path.stat().st_size


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
