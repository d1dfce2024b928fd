"""A demo in the browser: show the network a picture, and see what it takes it for, where, and what would change that.

    python cifar/app.py                           # the newest run
    python cifar/app.py --run cifar10-resnet --port 8000

It needs the extra `demo`. Where nothing has been trained yet, it offers to do that.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from cifar.trained import Classifier, load_classifier, prepare
    from core.backend import Array
    from core.cli import main
    from core.demo import cards
    from core.demo.begin import Beginning, Plan
    from core.demo.begin_page import begin_page
    from core.demo.colour_maps import ClassActivation, filter_mosaic, over_picture
    from core.demo.launch import LaunchSettings, require_gradio
    from core.demo.occlusion import Occlusion, occlude
    from core.demo.page import LIVE, facts, html, page, picture_or_reason, setting_of, upload
    from core.demo.picks import find_examples, picked, picture_buttons
    from core.demo.raster import Picture
    from core.demo.saliency import Saliency
    from core.demo.serve import serve_demo
    from core.demo.upload import colour_square, open_colour
    from core.errors import UserError
    from core.frozen import freeze
    from core.losses import softmax
    from core.params import Parameter
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

TITLE = "What is in the picture?"
WHAT = "A convolutional network, written by hand in NumPy."
INVITATION = "Click an example, or show a picture of your own."


@dataclass
class Settings(LaunchSettings):
    """Which network to show, and where."""

    run: str = ""
    """Name or folder of the run; the newest one on CIFAR-10 if not given."""


class Explainer:
    """A classifier that answers one picture at a time, from any thread, and explains itself."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier, self.classes = classifier, classifier.classes
        self.network = freeze(classifier.network)
        self.side = classifier.architecture.shape[0]
        layers = dict(self.network.children())
        self.where: Callable[[Array], Array] = ClassActivation(layers["features"], layers["head"])
        if classifier.architecture.model == "mlp":  # it has no maps, so each pixel's own contribution stands in
            by_pixel = Saliency(self.network)
            self.where = lambda x: by_pixel(x)[0].sum(axis=-1).astype(np.float64)
        self._lock = threading.Lock()  # layers reuse their workspaces, so two answers at once would mix

    def answer(self, picture: Picture) -> str:
        """The top answers and the explanations, as HTML, for a picture uint8 (side, side, 3)."""
        with self._lock:
            probabilities = self._probabilities(picture[None])[0]  # (K,)
            where = self.where(prepare(self.classifier, picture[None]))
            occlusion = occlude(self._probabilities, picture)
        answer = self.classes[int(probabilities.argmax())]
        size = f"{self.side} × {self.side} pixels"
        return cards.answers(self.classes, probabilities) + cards.pictures(
            (picture, "What the network sees", f"Your picture as {size}"),
            (over_picture(picture, where), f"Where it sees {answer}", "Places that speak {for} and {against} it"),
            (over_picture(picture, occlusion.drop), "What it leans on", "Covering what is blue makes it less sure"),
            (occlusion.worst, "What would change its mind", self._mind(answer, occlusion)),
        )

    def filters(self) -> str:
        """The first layer's filters, as HTML; of the perceptron, the strongest ones."""
        network, shape = self.classifier.network, self.classifier.architecture.shape
        first = next(layer.weight for _, layer in network.walk() if hasattr(layer, "weight"))
        weight = first.data if isinstance(first, Parameter) else first  # (k * k * C, F)
        k = self.side if self.classifier.architecture.model == "mlp" else 3
        text = f"The first layer compares each {k} × {k} pixels with these; grey stands for 0"
        picture = filter_mosaic(np.asarray(weight).reshape(k, k, shape[2], -1))
        return cards.pictures((picture, "What the first layer looks for", text))

    def _probabilities(self, pictures: Array) -> Array:
        logits = self.network.forward(prepare(self.classifier, pictures))
        return softmax(logits).astype(np.float64)

    def _mind(self, answer: str, occlusion: Occlusion) -> str:
        """A sentence on what covering parts of the picture does."""
        best = int(occlusion.worst_probabilities.argmax())
        now = f"Covered like this, it says {self.classes[best]} ({occlusion.worst_probabilities[best]:.0%})"
        if not occlusion.changed:
            return f"{now}; no patch of this size makes it say anything but {answer}"
        return f"{now}; {occlusion.changed:.0%} of all places for the patch change the answer"


def serve(settings: Settings) -> None:
    """Show the network that `settings` name, or how to get one."""
    serve_demo(make_demo, settings, plan(settings))


def plan(settings: Settings) -> Plan:
    """How a visitor without weights gets a small network."""
    return Plan(
        PROJECT,
        "cifar10",
        title="CIFAR-10",
        megabytes=170,
        stand_in="textured shapes",
        small=("--epochs", "2"),
    )


def make_demo(settings: Settings, beginning: Beginning | None = None) -> Any:
    """The page as a `gr.Blocks`; without trained weights it says how to get them, or gets them by `beginning`."""
    try:
        classifier = load_classifier(settings.run)
    except UserError as error:
        if settings.run:  # the visitor asked for these weights: that there are none is a mistake
            raise
        return begin_page(TITLE, WHAT, str(error), beginning or Beginning(plan(settings)))
    if classifier.architecture.shape[2] != 3:
        raise UserError(f"{classifier.weights} was trained on {classifier.dataset}; this demo shows colour pictures")
    return pictures_page(classifier, Explainer(classifier))


def on_picture(explainer: Explainer, path: str | None) -> str:
    """The answer, as HTML, to an uploaded picture; `path` is None when it was taken away."""
    if not path:
        return cards.message(INVITATION)
    return _answer(explainer, lambda: colour_square(open_colour(path), explainer.side))


def on_example(explainer: Explainer, images: Picture, value: object) -> str:
    """The answer, as HTML, to a click on one of the example images uint8 (E, side, side, 3)."""
    return _answer(explainer, lambda: images[picked(value, len(images))])


def _answer(explainer: Explainer, make: Callable[[], Picture]) -> str:
    picture, reason = picture_or_reason(make)
    return reason if picture is None else explainer.answer(picture)


def pictures_page(classifier: Classifier, explainer: Explainer) -> Any:
    """Click an example, or show a picture."""
    gradio = require_gradio()
    examples = read_examples(classifier)
    network = str(classifier.architecture)
    subtitle = f"{network[0].upper()}{network[1:]}: forward, backward and all, by hand in NumPy."
    with page(TITLE, subtitle, classifier.notice) as demo:
        with gradio.Row(equal_height=False):
            with gradio.Column(min_width=320):
                photo = upload("A picture of your own")
                html(f'<p class="bn-missing">It knows only: {escape(", ".join(classifier.classes))}.</p>', "classes")
                picks = picture_buttons(examples)
            with gradio.Column(min_width=320):
                answer = html(cards.message(INVITATION), "answer")
                facts(classifier.weights)
        html(explainer.filters(), "filters")
        photo.change(partial(on_picture, explainer), photo, answer, api_name="predict", **LIVE)
        if examples:
            images = np.stack(list(examples.values()))  # (E, side, side, 3)
            picks.input(partial(on_example, explainer, images), picks, answer, api_name="example", **LIVE)
    return demo


def read_examples(classifier: Classifier) -> dict[str, Picture]:
    """A picture uint8 (side, side, 3) of each class to click, by the name of the class; there may be none."""
    side, weights = classifier.architecture.shape[0], classifier.weights
    data = Path(setting_of(weights, "data") or PROJECT / "archive" / classifier.dataset)
    examples = find_examples(weights, data, classifier.classes, colour=True)
    return {name: colour_square(picture, side) for name, picture in examples.items()}


if __name__ == "__main__":
    main(serve, Settings, description=__doc__)
