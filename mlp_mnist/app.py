"""A demo in the browser: draw a digit, and see the answer, what the network sees, and why, while you draw.

    python mlp_mnist/app.py                              # the newest run on MNIST
    python mlp_mnist/app.py --dataset fashion_mnist      # clothes: upload a photograph or click an example
    python mlp_mnist/app.py --run mnist-best --port 8000

It needs the extra `demo`. Where nothing has been trained yet, it offers to do that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from core.cli import main
    from core.data.sources import DATA_SETS
    from core.demo import cards
    from core.demo.begin import Beginning, Plan
    from core.demo.begin_page import begin_page
    from core.demo.canvas import drawing_pad
    from core.demo.examples import DIGITS
    from core.demo.launch import LaunchSettings, require_gradio
    from core.demo.page import LIVE, NOTHING_THERE, facts, html, page, picture_or_reason, setting_of, upload
    from core.demo.picks import find_examples, picked, picture_buttons
    from core.demo.raster import Picture, rasterise
    from core.demo.recogniser import Recogniser
    from core.demo.serve import serve_demo
    from core.demo.strokes import parse_strokes
    from core.demo.upload import digit_of_photo, fashion_style, open_grey
    from core.errors import UserError
    from mlp_mnist.model import DataSet
    from mlp_mnist.trained import Classifier, load_classifier, prepare, probabilities
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

PAD = 280  # units of the drawing pad
TITLES = {"mnist": "Handwritten digits", "fashion_mnist": "Clothes"}
INVITATIONS = {
    "mnist": "Draw a digit from 0 to 9, or click an example.",
    "fashion_mnist": "Upload a photograph of a piece of clothing, or click an example.",
}


@dataclass
class Settings(LaunchSettings):
    """Which network to show, and where."""

    run: str = ""
    """Name or folder of the run; the newest one on --dataset if not given."""
    dataset: DataSet = "mnist"
    """Data set whose newest run is shown, if no --run is given."""


def serve(settings: Settings) -> None:
    """Show the network that `settings` name, or how to get one."""
    serve_demo(make_demo, settings, plan(settings))


def make_demo(settings: Settings, beginning: Beginning | None = None) -> Any:
    """The page as a `gr.Blocks`; without trained weights it says how to get them, or gets them by `beginning`."""
    try:
        classifier = load_classifier(settings.run, settings.dataset)
    except UserError as error:
        if settings.run:  # the visitor asked for these weights: that there are none is a mistake
            raise
        title, what = TITLES[settings.dataset], "A multilayer perceptron, written by hand in NumPy."
        return begin_page(title, what, str(error), beginning or Beginning(plan(settings)))
    make_page = clothes_page if classifier.dataset == "fashion_mnist" else digits_page
    return make_page(classifier, make_recogniser(classifier))


def make_recogniser(classifier: Classifier) -> Recogniser:
    """What answers a picture with the classifier's network."""
    return Recogniser(
        classifier.network, classifier.classes, partial(prepare, classifier), partial(probabilities, classifier)
    )


def plan(settings: Settings) -> Plan:
    """How a visitor without weights gets a small network."""
    source, other = DATA_SETS[settings.dataset], settings.dataset != "mnist"
    return Plan(
        PROJECT,
        settings.dataset,
        title=source.title,
        megabytes=31 if other else 11.3,
        stand_in="rendered digits" + (" in place of clothes" if other else ""),
        choose=("--dataset", settings.dataset) if other else (),
    )


# -- answers: plain functions of what the browser sends -------------------------------------------------------------


def on_drawing(recogniser: Recogniser, value: object) -> str:
    """The answer, as HTML, to what the drawing pad sent."""
    return _answer(recogniser, lambda: rasterise(parse_strokes(value, PAD, PAD)), INVITATIONS["mnist"])


def on_photo(recogniser: Recogniser, dataset: str, path: str | None) -> str:
    """The answer, as HTML, to an uploaded picture; `path` is None when it was taken away."""
    if not path:
        return cards.message(INVITATIONS[dataset])
    style = fashion_style if dataset == "fashion_mnist" else digit_of_photo
    return _answer(recogniser, lambda: style(open_grey(path)))


def on_example(recogniser: Recogniser, images: Picture, value: object) -> str:
    """The answer, as HTML, to a click on one of the example images uint8 (E, 28, 28)."""
    return _answer(recogniser, lambda: images[picked(value, len(images))])


def _answer(recogniser: Recogniser, make: Callable[[], Picture], empty: str = NOTHING_THERE) -> str:
    picture, reason = picture_or_reason(make, empty)
    return reason if picture is None else recogniser.page(recogniser.predict(picture))


# -- pages ------------------------------------------------------------------------------------------------------------


def digits_page(classifier: Classifier, recogniser: Recogniser) -> Any:
    """Draw, or show a photograph."""
    gradio = require_gradio()
    with page(TITLES["mnist"], subtitle(classifier), classifier.notice) as demo:
        with gradio.Row(equal_height=False):
            with gradio.Column(min_width=320), gradio.Tabs():
                with gradio.Tab("Draw"):
                    examples = {str(digit): strokes for digit, strokes in enumerate(DIGITS)}
                    pad = drawing_pad(PAD, PAD, prompt="Draw a digit here", examples=examples)
                with gradio.Tab("Photo"):
                    photo = upload("A digit on plain paper")
            answer = answer_column(classifier)
        pad.input(partial(on_drawing, recogniser), pad, answer, api_name="predict", **LIVE)
        photo.change(partial(on_photo, recogniser, "mnist"), photo, answer, api_name="predict_photo", **LIVE)
    return demo


def clothes_page(classifier: Classifier, recogniser: Recogniser) -> Any:
    """Click an example, or show a photograph."""
    gradio = require_gradio()
    examples = read_examples(classifier)
    with page(TITLES["fashion_mnist"], subtitle(classifier), classifier.notice) as demo:
        with gradio.Row(equal_height=False):
            with gradio.Column(min_width=320):
                photo = upload("A piece of clothing on a plain ground")
                picks = picture_buttons(examples)
            answer = answer_column(classifier)
        photo.change(partial(on_photo, recogniser, "fashion_mnist"), photo, answer, api_name="predict_photo", **LIVE)
        if examples:
            images = np.stack(list(examples.values()))  # (E, 28, 28)
            picks.input(partial(on_example, recogniser, images), picks, answer, api_name="example", **LIVE)
    return demo


def subtitle(classifier: Classifier) -> str:
    """What stands under the title of a page."""
    return f"A {classifier.architecture}: forward, backward and all, by hand in NumPy."


def answer_column(classifier: Classifier) -> Any:
    """A column with the invitation, which answers replace and which is returned, and with what was measured."""
    with require_gradio().Column(min_width=320):
        answer = html(cards.message(INVITATIONS[classifier.dataset]), "answer")
        facts(classifier.weights)
    return answer


def read_examples(classifier: Classifier) -> dict[str, Picture]:
    """A picture uint8 (28, 28) of each class to click, by the name of the class; there may be none."""
    data = Path(setting_of(classifier.weights, "data") or PROJECT / "archive" / classifier.dataset)
    return find_examples(classifier.weights, data, classifier.classes)


if __name__ == "__main__":
    main(serve, Settings, description=__doc__)
