"""A demo in the browser: draw a digit, and see the answer, what the network sees, and why, while you draw.

python mlp_mnist/app.py                              # the newest run on MNIST
python mlp_mnist/app.py --dataset fashion_mnist      # clothes: upload a photograph or click an example
python mlp_mnist/app.py --run mnist-best --port 8000
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from core.cli import main
    from core.demo import cards
    from core.demo.canvas import drawing_pad
    from core.demo.examples import DIGITS
    from core.demo.launch import LaunchSettings, launch, require_gradio
    from core.demo.picks import picked, picture_buttons
    from core.demo.raster import rasterise
    from core.demo.recogniser import Recogniser
    from core.demo.strokes import parse_strokes
    from core.demo.upload import digit_of_photo, fashion_style, open_grey
    from core.errors import UserError
    from mlp_mnist.model import DataSet
    from mlp_mnist.trained import Trained, load_trained
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there")

PAD = 280  # units of the drawing pad
TITLES = {"mnist": "Handwritten digits", "fashion_mnist": "Clothes"}
INVITATIONS = {
    "mnist": "Draw a digit from 0 to 9, or click an example.",
    "fashion_mnist": "Upload a photograph of a piece of clothing, or click an example.",
}
LIVE: dict[str, Any] = {"trigger_mode": "always_last", "show_progress": "hidden"}


@dataclass
class Settings(LaunchSettings):
    """Which network to show, and where."""

    run: str = ""
    """Name or folder of the run; the newest one on --dataset if not given."""
    dataset: DataSet = "mnist"
    """Data set whose newest run is shown, if no --run is given."""


def serve(settings: Settings) -> None:
    """Show the network that `settings` name, or how to get one."""
    require_gradio()  # first, because without it there is nothing to prepare
    launch(make_demo(settings), settings)


def make_demo(settings: Settings) -> Any:
    """The page as a `gr.Blocks`; without trained weights it says how to get them."""
    try:
        trained = load_trained(settings.run, settings.dataset)
    except UserError as error:
        if settings.run:  # the visitor asked for these weights: that there are none is a mistake
            raise
        return empty_page(settings.dataset, str(error))
    recogniser = Recogniser(trained.network, trained.classes, trained.prepare, trained.probabilities)
    return clothes_page(trained, recogniser) if trained.dataset == "fashion_mnist" else digits_page(trained, recogniser)


# -- answers: plain functions of what the browser sends -------------------------------------------------------------


def on_drawing(recogniser: Recogniser, value: object) -> str:
    """The answer, as HTML, to what the drawing pad sent."""
    return _answer(recogniser, "mnist", lambda: rasterise(parse_strokes(value, PAD, PAD)))


def on_photo(recogniser: Recogniser, dataset: str, path: str | None) -> str:
    """The answer, as HTML, to an uploaded picture; `path` is None when it was taken away."""
    prepare = fashion_style if dataset == "fashion_mnist" else digit_of_photo
    return _answer(recogniser, dataset, lambda: prepare(open_grey(path)) if path else np.zeros((28, 28), np.uint8))


def on_example(recogniser: Recogniser, images: np.ndarray, value: object) -> str:
    """The answer, as HTML, to a click on one of the example images uint8 (E, 28, 28)."""
    return _answer(recogniser, "fashion_mnist", lambda: images[picked(value, len(images))])


def _answer(recogniser: Recogniser, dataset: str, image: Callable[[], np.ndarray]) -> str:
    """The answer to an image (28, 28), an invitation if it is empty, or the reason why it could not be had."""
    try:
        shown = image()
    except UserError as error:
        return cards.message(str(error), "error")
    return recogniser.page(recogniser.predict(shown)) if shown.any() else cards.message(INVITATIONS[dataset])


# -- what is known of the model ---------------------------------------------------------------------------------------


def read_report(weights: Path) -> dict[str, Any] | None:
    """What test_model.py measured for these very weights; None if it has not, or has for others."""
    try:
        report = json.loads((weights.parent / "report" / "report.json").read_text("utf-8"))
        same = report["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(report) if same else None


def read_examples(weights: Path, report: dict[str, Any] | None) -> dict[str, np.ndarray]:
    """The example images that the report saved, uint8 (28, 28), by the name of their class."""
    folder = weights.parent / "report"
    names = (report or {}).get("examples", [])
    return {Path(name).stem[3:]: open_grey(folder / name) for name in names if (folder / name).is_file()}


# -- pages ------------------------------------------------------------------------------------------------------------


def digits_page(trained: Trained, recogniser: Recogniser) -> Any:
    """Draw, or show a photograph."""
    gradio = require_gradio()
    with _page(trained) as demo:
        with gradio.Row(equal_height=False):
            with gradio.Column(min_width=320), gradio.Tabs():
                with gradio.Tab("Draw"):
                    pad = drawing_pad(
                        PAD,
                        PAD,
                        prompt="Draw a digit here",
                        examples={str(digit): strokes for digit, strokes in enumerate(DIGITS)},
                    )
                with gradio.Tab("Photo"):
                    photo = _upload("A digit on plain paper")
            with gradio.Column(min_width=320):
                answer = _html(cards.message(INVITATIONS["mnist"]), "answer")
                _facts(trained)
        pad.input(lambda value: on_drawing(recogniser, value), pad, answer, api_name="predict", **LIVE)
        photo.change(lambda path: on_photo(recogniser, "mnist", path), photo, answer, api_name="predict_photo", **LIVE)
    return demo


def clothes_page(trained: Trained, recogniser: Recogniser) -> Any:
    """Click an example, or show a photograph."""
    gradio = require_gradio()
    report = read_report(trained.weights)
    examples = read_examples(trained.weights, report)
    with _page(trained) as demo:
        with gradio.Row(equal_height=False):
            with gradio.Column(min_width=320):
                photo = _upload("A piece of clothing on a plain ground")
                picks = picture_buttons(examples)
            with gradio.Column(min_width=320):
                answer = _html(cards.message(INVITATIONS["fashion_mnist"]), "answer")
                _facts(trained)
        photo.change(
            lambda path: on_photo(recogniser, "fashion_mnist", path), photo, answer, api_name="predict_photo", **LIVE
        )
        if examples:
            images = np.stack(list(examples.values()))  # (E, 28, 28)
            picks.input(lambda value: on_example(recogniser, images, value), picks, answer, api_name="example", **LIVE)
    return demo


def empty_page(dataset: str, reason: str) -> Any:
    """What there is to see before a model has been trained."""
    with require_gradio().Blocks(title=TITLES[dataset], analytics_enabled=False) as demo:
        _html(cards.heading(TITLES[dataset], "A multilayer perceptron, written by hand in NumPy."), "heading")
        _html(how_to_begin(dataset, reason), "empty")
    return demo


def how_to_begin(dataset: str, reason: str) -> str:
    """Why there is no model, and the commands that make one, as HTML."""
    flag = f" --dataset {dataset}" if dataset != "mnist" else ""
    commands = [f"python {PROJECT.name}/{script}.py{flag}" for script in ("setup_data", "training", "test_model")]
    return cards.no_weights(f"{reason[:1].upper()}{reason[1:]}. From nothing to a trained model:", commands)


def _page(trained: Trained) -> Any:
    gradio = require_gradio()
    title = TITLES[trained.dataset]
    demo = gradio.Blocks(title=title, analytics_enabled=False, delete_cache=(3600, 3600))
    with demo:
        _html(cards.heading(title, f"A {trained.describe()}: forward, backward and all, by hand in NumPy."), "heading")
        if trained.notice:
            _html(cards.banner(trained.notice), "notice")
    return demo


def _facts(trained: Trained) -> None:
    _html(cards.model_facts(read_report(trained.weights), {"Run": trained.weights.parent.name}), "facts")


def _html(text: str, elem_id: str) -> Any:
    return require_gradio().HTML(text, elem_id=elem_id, apply_default_css=False)


def _upload(label: str) -> Any:
    return require_gradio().Image(
        label=label, type="filepath", image_mode=None, sources=["upload", "clipboard"], height=300, elem_id="photo"
    )


if __name__ == "__main__":
    main(serve, Settings, description=__doc__)
