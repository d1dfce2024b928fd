"""The six demos: what each is called and does, and how good the newest network is that it would show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.environment import ROOT


@dataclass(frozen=True)
class Demo:
    """A demo, and what a stranger should know before opening it."""

    project: str
    """Its folder, by which it is opened."""
    dataset: str
    """What its networks were trained on, as their runs name it."""
    title: str
    emoji: str
    """A single one, which stands for the demo where there is no picture."""
    sentence: str
    """At most 60 characters, because the hub of Hugging Face shows no more."""

    @property
    def folder(self) -> Path:
        return ROOT / self.project

    @property
    def picture(self) -> Path:
        """What the page looks like; not every project has one."""
        return self.folder / "demo.png"


DEMOS = (
    Demo("mlp_mnist", "mnist", "Handwritten digits", "🔢", "Draw a digit: a perceptron reads it and shows why"),
    Demo("cnn_mnist100", "mnist100", "Two-digit numbers", "💯", "Write 00 to 99: a convolutional network reads it"),
    Demo("rnn_doodles", "quickdraw", "Doodles", "🎨", "Draw what you are told: a recurrent network guesses"),
    Demo("music_cuda", "gtzan", "Genres of music", "🎵", "Play a song: a small perceptron hears its genre"),
    Demo("emnist", "emnist", "Handwritten arithmetic", "➗", "Write 12+7-3: a network reads it and works it out"),
    Demo("cifar", "cifar10", "What is in the picture?", "🐸", "Show a picture: a network says what it is, and where"),
)
VARIANTS = (Demo("mlp_mnist", "fashion_mnist", "Clothes", "👕", "Show a piece of clothing: a perceptron names it"),)
BY_NAME = {demo.project: demo for demo in DEMOS}


@dataclass(frozen=True)
class Model:
    """The network that a demo shows."""

    weights: Path
    metadata: dict[str, Any]
    """What training saved with the weights."""
    report: dict[str, Any] | None
    """What test_model.py measured for these very weights, if it has."""

    @property
    def notice(self) -> str:
        """What must be said of the data that it was trained on; "" for complete official data."""
        return str(self.metadata["notice"])

    @property
    def measured(self) -> str:
        """How good it is, in one line."""
        if self.report is None:
            return "not measured yet, test_model.py does that"
        share, samples = self.report["accuracy"], self.report.get("samples", "images")
        return (
            f"{share['value']:.2%} of {self.report['images']:,} test {samples} right "
            f"(95 % interval {share['low']:.1%} to {share['high']:.1%}), measured {self.report['date'][:10]}"
        )


def find_model(demo: Demo, run: str = "") -> Model:
    """The network of the run called `run`, or of the newest one on the demo's data set.

    Raises core.errors.UserError, with the command that trains one, when there is none or its file is damaged.
    """
    from core.demo.page import read_report
    from core.errors import UserError
    from core.training.checkpoint import load_checkpoint
    from core.training.find import BEST, find_run

    flag = f" --dataset {demo.dataset}" if demo in VARIANTS else ""
    weights = find_run(demo.folder / "runs", run, demo.dataset, f"python {demo.project}/training.py{flag}") / BEST
    _, metadata = load_checkpoint(weights)
    if not {"about", "data", "notice"} <= metadata.keys():
        raise UserError(f"{weights} does not say what it was trained on; train again")
    return Model(weights, metadata, read_report(weights))
