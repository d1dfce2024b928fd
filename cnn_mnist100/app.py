"""A demo in the browser: write a two-digit number, and see while you write what the network makes of it.

    python cnn_mnist100/app.py                           # the newest run
    python cnn_mnist100/app.py --run best --port 8000

It needs the extra `demo`. Where nothing has been trained yet, it offers to do that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    from cnn_mnist100.drawing import example, number_from_photo, number_from_strokes
    from cnn_mnist100.trained import DATASET, Reader, load_reader, prepare
    from core.cli import main
    from core.demo import cards
    from core.demo.begin import Beginning, Plan
    from core.demo.begin_page import begin_page
    from core.demo.canvas import drawing_pad
    from core.demo.feature_maps import FeatureMaps, mosaic
    from core.demo.launch import LaunchSettings, require_gradio
    from core.demo.page import LIVE, NOTHING_THERE, facts, html, page, picture_or_reason, upload
    from core.demo.raster import Picture
    from core.demo.recogniser import Prediction, Recogniser
    from core.demo.serve import serve_demo
    from core.demo.strokes import parse_strokes
    from core.demo.upload import open_grey
    from core.errors import UserError
    from core.losses import softmax
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

TITLE = "Two-digit numbers"
WHAT = "A convolutional network, written by hand in NumPy."
PAD_WIDTH, PAD_HEIGHT = 560, 280  # units of the drawing pad
EXAMPLES = (7, 19, 24, 35, 42, 58, 63, 70, 86, 91)
INVITATION = "Write two digits side by side, or click an example."


@dataclass
class Settings(LaunchSettings):
    """Which network to show, and where."""

    run: str = ""
    """Name or folder of the run; the newest one if not given."""


class NumberRecogniser(Recogniser):
    """A Recogniser that also shows what the filters of each convolution find."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader.network, reader.classes, partial(prepare, reader), softmax)
        self.maps = FeatureMaps(reader.network)

    def predict(self, image: Picture) -> Prediction:
        prediction = super().predict(image)
        return replace(prediction, contribution=prediction.contribution[..., 0])  # (28, 56) of the one channel

    def feature_maps(self, image: Picture) -> str:
        """What each convolution finds in a picture uint8 (28, 56), as HTML."""
        with self._lock:
            found = self.maps(self.prepare(image[None]))
        return cards.pictures(
            *(
                (mosaic(maps), f"Convolution {place}", f"Bright where its {maps.shape[2]} filters find something")
                for place, maps in enumerate(found.values(), start=1)
            )
        )


def serve(settings: Settings) -> None:
    """Show the network that `settings` name, or how to get one."""
    serve_demo(make_demo, settings, plan(settings))


def plan(settings: Settings) -> Plan:
    """How a visitor without weights gets a small network."""
    return Plan(
        PROJECT,
        DATASET,
        title="MNIST",
        megabytes=11.3,
        stand_in="pairs of rendered digits",
        small=("--epochs", "4"),
    )


def make_demo(settings: Settings, beginning: Beginning | None = None) -> Any:
    """The page as a `gr.Blocks`; without trained weights it says how to get them, or gets them by `beginning`."""
    try:
        reader = load_reader(settings.run)
    except UserError as error:
        if settings.run:  # the visitor asked for these weights: that there are none is a mistake
            raise
        return begin_page(TITLE, WHAT, str(error), beginning or Beginning(plan(settings)))
    return number_page(reader, NumberRecogniser(reader))


def on_drawing(recogniser: NumberRecogniser, value: object) -> tuple[str, str]:
    """The answer and the feature maps, as HTML, for what the drawing pad sent."""
    return _answer(recogniser, lambda: number_from_strokes(parse_strokes(value, PAD_WIDTH, PAD_HEIGHT)), INVITATION)


def on_photo(recogniser: NumberRecogniser, path: str | None) -> tuple[str, str]:
    """The same for an uploaded picture; `path` is None when it was taken away."""
    if not path:
        return cards.message(INVITATION), ""
    return _answer(recogniser, lambda: number_from_photo(open_grey(path)))


def _answer(recogniser: NumberRecogniser, make: Callable[[], Picture], empty: str = NOTHING_THERE) -> tuple[str, str]:
    picture, reason = picture_or_reason(make, empty)
    if picture is None:
        return reason, ""
    return recogniser.page(recogniser.predict(picture)), recogniser.feature_maps(picture)


def number_page(reader: Reader, recogniser: NumberRecogniser) -> Any:
    """Write, or show a photograph."""
    gradio = require_gradio()
    subtitle = f"A network of {reader.architecture}: forward, backward and all, by hand in NumPy."
    with page(TITLE, subtitle, reader.notice) as demo:
        with gradio.Row(equal_height=False):
            with gradio.Column(min_width=320), gradio.Tabs():
                with gradio.Tab("Draw"):
                    examples = {f"{number:02d}": example(number) for number in EXAMPLES}
                    pad = drawing_pad(PAD_WIDTH, PAD_HEIGHT, prompt="Write two digits here", examples=examples)
                with gradio.Tab("Photo"):
                    photo = upload("Two digits on plain paper")
            with gradio.Column(min_width=320):
                answer = html(cards.message(INVITATION), "answer")
                facts(reader.weights)
        maps = html("", "maps")
        shown = [answer, maps]
        pad.input(lambda value: on_drawing(recogniser, value), pad, shown, api_name="predict", **LIVE)
        photo.change(lambda path: on_photo(recogniser, path), photo, shown, api_name="predict_photo", **LIVE)
    return demo


if __name__ == "__main__":
    main(serve, Settings, description=__doc__)
