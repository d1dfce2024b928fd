"""The six projects, for the export: how a run is read, what goes in, and the layers that only one of them has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto

import cifar.model
import cifar.trained
import cnn_mnist100.model
import cnn_mnist100.trained
import emnist.model
import emnist.trained
import mlp_mnist.model
import mlp_mnist.trained
import music_cuda.model
import music_cuda.trained
import rnn_doodles.model
import rnn_doodles.trained
from cifar.whitening import Whitening
from cnn_mnist100.model import Halves, TensAndUnits
from core.backend import Array
from core.errors import UserError
from core.layers import Layer, Sequential
from core.losses import softmax
from core.training.checkpoint import TRAINING_STATE, Tensors, load_checkpoint
from core.training.find import BEST
from core.training.trained import Trained, load_trained
from music_cuda.model import NormalScores, preprocess
from music_cuda.table import FEATURES
from scripts.onnx_export.graph import Graph, Rule, Value
from scripts.onnx_export.inputs import Features, Images, Input, Movements
from scripts.onnx_export.layers import RULES, convolution


@dataclass(frozen=True)
class Project:
    """A project folder, as far as the export has to know it."""

    name: str
    input: Input
    read: Callable[[dict[str, Any], Tensors], Any]
    build: Callable[[Any], Sequential]
    probabilities: Callable[[Trained[Any], Array], Array] = lambda trained, outputs: softmax(outputs)


def _grey(what: str) -> str:
    return f"{what}, bright on black, values from 0 (black) to 1 (white); bytes divided by 255"


PROJECTS = (
    Project(
        "mlp_mnist",
        Images(_grey("grey images as MNIST or Fashion-MNIST prepare them"), mlp_mnist.trained.prepare, (28, 28)),
        mlp_mnist.trained.read_architecture,
        mlp_mnist.model.build,
        mlp_mnist.trained.probabilities,
    ),
    Project(
        "cnn_mnist100",
        Images(_grey("two digits side by side, each as MNIST prepares it"), cnn_mnist100.trained.prepare, (28, 56)),
        cnn_mnist100.trained.read_architecture,
        cnn_mnist100.model.build,
    ),
    Project(
        "rnn_doodles",
        Movements(
            "drawings as rnn_doodles/ink.py encodes them: for each point the movement of the pen along x and y (down) "
            "since the one before, in tenths of the longer side of the drawing's box, the first from the middle of "
            "the box, and 1 where the pen is lifted behind the point, else 0; lengths: the number of points of each "
            "drawing, at least 1, behind which nothing is read"
        ),
        rnn_doodles.trained.read_architecture,
        rnn_doodles.model.build,
    ),
    Project(
        "music_cuda",
        Features(f"features of 30 seconds of a song, in this order: {', '.join(FEATURES)}", preprocess, len(FEATURES)),
        music_cuda.trained.read_architecture,
        music_cuda.model.build,
    ),
    Project(
        "emnist",
        Images(_grey("characters upright, as EMNIST scales and centres them"), emnist.trained.prepare, (28, 28)),
        emnist.trained.read_architecture,
        emnist.model.build,
    ),
    Project(
        "cifar",
        Images(
            "images in colour, red, green and blue from 0 to 1; bytes divided by 255, not mirrored and not cropped",
            cifar.trained.prepare,
        ),
        cifar.trained.read_architecture,
        cifar.model.build,
    ),
)


def load(weights: Path) -> tuple[Project, Trained[Any]]:
    """The network in a file of weights, and the project that it belongs to.

    Raises UserError for a file that is missing, damaged, or of none of the projects.
    """
    tensors, metadata = load_checkpoint(weights)
    if metadata.get("kind") == TRAINING_STATE:
        raise UserError(f"{weights} is the state of a training; export the {BEST} beside it")
    for project in PROJECTS:
        if _reads(project, metadata.get("about"), tensors):
            command = f"python {project.name}/training.py"
            return project, load_trained(weights, command, project.read, project.build)
    raise UserError(f"{weights} holds no network of {', '.join(project.name for project in PROJECTS)}")


def _reads(project: Project, about: Any, tensors: Tensors) -> bool:
    try:
        project.read(about, tensors)
    except (KeyError, TypeError, ValueError):
        return False
    return True


# -- layers of one project --------------------------------------------------------------------------------------------


def whitening(graph: Graph, layer: Whitening, x: Value) -> Value:
    return convolution(graph, x, layer.weight, None, layer.windows)


def halves(graph: Graph, layer: Halves, x: Value) -> Value:
    parts = graph.add_many("Split", graph.channels_last(x).name, names=["", ""], axis=2, num_outputs=2)
    second = graph.constant("second_axis", np.array([1]))
    rows = [graph.add("Unsqueeze", graph.add("Flatten", part, axis=1), second) for part in parts]  # (N, 1, D) each
    return Value(graph.add("Concat", *rows, axis=1))


def tens_and_units(graph: Graph, layer: TensAndUnits, x: Value) -> Value:
    tens, units = graph.add_many("Split", x.name, names=["", ""], axis=1, num_outputs=2)  # (N, 1, 10) each
    sums = graph.add("Add", graph.add("Transpose", tens, perm=[0, 2, 1]), units)  # (N, 10, 10)
    return Value(graph.add("Flatten", sums, axis=1))


def normal_scores(graph: Graph, layer: NormalScores, x: Value) -> Value:
    """The mean of the limits from both sides, each a straight line that is chosen by counting the knots below x."""
    by_feature = graph.add("Transpose", x.name, perm=[1, 0])  # (D, N)
    every_knot = graph.constant("knots", layer.knots[:, :, None])  # (D, K, 1)
    at_each = graph.add("Unsqueeze", by_feature, graph.constant("axis_of_knots", np.array([1])))  # (D, 1, N)
    tables = [graph.constant(name, table) for name, table in _straight_lines(layer).items()]
    sides = ("Less", "LessOrEqual")
    limits = [_limit(graph, side, at_each, every_knot, by_feature, tables) for side in sides]
    return Value(graph.add("Transpose", graph.add("Mean", *limits), perm=[1, 0]))


def _straight_lines(layer: NormalScores) -> dict[str, Array]:
    """The line between each two knots, as tables (D, K + 1) of where it starts, at what height, and how steep it is.

    Before the first knot and behind the last one it is flat. Lines between knots that coincide are never chosen.
    """
    knots, scores = layer.knots.astype(np.float64), layer.scores.astype(np.float64)
    widths, rises = np.diff(knots), np.diff(scores)
    slopes = np.divide(rises, widths, out=np.zeros_like(widths), where=widths > 0)
    first = [(0, 0), (1, 0)]
    return {
        "starts": np.pad(knots, first, mode="edge"),
        "heights": np.tile(np.pad(scores, (1, 0), mode="edge"), (len(knots), 1)),
        "slopes": np.pad(slopes, [(0, 0), (1, 1)]),
    }


def _limit(graph: Graph, side: str, at_each: str, knots: str, x: str, tables: Sequence[str]) -> str:
    """The limit from one side, (D, N)."""
    below = graph.add("Cast", graph.add(side, knots, at_each), to=TensorProto.INT64)  # (D, K, N)
    axis = graph.constant(f"axis_{len(graph.nodes)}", np.array([1]))
    line = graph.add("ReduceSum", below, axis, keepdims=0)  # (D, N)
    start, height, slope = (graph.add("GatherElements", table, line, axis=1) for table in tables)
    return graph.add("Add", height, graph.add("Mul", slope, graph.add("Sub", x, start)))


ALL_RULES: dict[type[Layer], Rule] = RULES | {
    Whitening: whitening,
    Halves: halves,
    TensAndUnits: tens_and_units,
    NormalScores: normal_scores,
}
