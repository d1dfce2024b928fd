"""What goes into an exported network: images, features of songs, or drawings as movements of the pen.

Each kind writes the beginning of the graph, from the input that a user has at hand to what the network's first layer
sees, and brings samples to try it on, which go both ways: `see` is our own preparation, `feed` what the graph is fed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from onnx import TensorProto

from core.backend import Array
from core.data.normalize import Normalize
from core.data.prepared import check_samples, load_prepared
from core.data.quickdraw import Drawings
from core.layers import Sequences
from core.training.trained import Trained
from rnn_doodles.ink import FEATURES as PEN
from rnn_doodles.ink import Ink, encode
from scripts.onnx_export.graph import Form, Graph, Steps, Value

Feeds: TypeAlias = dict[str, Array]
Tensor: TypeAlias = tuple[str, int, list[str | int]]  # name, type of ONNX, axes: "N" is the batch
LONGEST = 40  # steps of a random drawing


class Input(Protocol):
    """A kind of input; `samples` are whatever its `see` and `feed` take, and have a length and slices."""

    @property
    def meaning(self) -> str:
        """What a user must know to fill the tensors."""

    def tensors(self, trained: Trained[Any]) -> list[Tensor]:
        """The inputs of the graph."""

    def begin(self, graph: Graph, trained: Trained[Any]) -> Form:
        """Write the graph up to what the network's first layer sees."""

    def see(self, trained: Trained[Any], samples: Any) -> Any:
        """What our network sees of the samples."""

    def feed(self, samples: Any) -> Feeds:
        """The inputs of the graph for the samples."""

    def random(self, trained: Trained[Any], count: int, rng: np.random.Generator) -> Any:
        """Samples drawn at random."""

    def tested(self, trained: Trained[Any], folder: Path, count: int) -> Any:
        """The first test samples of prepared data, without their labels; UserError where there are none that fit."""


@dataclass(frozen=True)
class Images:
    """Images with values from 0 to 1; the samples are uint8. Grey ones have no axis of channels."""

    meaning: str
    prepare: Callable[[Any, Array], Array]
    """The project's own preparation of uint8 images."""
    shape: tuple[int, ...] = ()
    """Height and width; () for those that the architecture names, with channels."""

    def shape_of(self, trained: Trained[Any]) -> tuple[int, ...]:
        return self.shape or tuple(trained.architecture.shape)

    def tensors(self, trained: Trained[Any]) -> list[Tensor]:
        return [("images", TensorProto.FLOAT, ["N", *self.shape_of(trained)])]

    def begin(self, graph: Graph, trained: Trained[Any]) -> Value:
        x = normalized(graph, trained.normalize, "images")
        if len(self.shape_of(trained)) == 2:
            x = graph.add("Unsqueeze", x, graph.constant("axis_of_channels", np.array([3])))
        return Value(x)  # (N, H, W, C)

    def see(self, trained: Trained[Any], samples: Array) -> Array:
        return self.prepare(trained, samples)

    def feed(self, samples: Array) -> Feeds:
        return {"images": samples.astype(np.float32) / 255}

    def random(self, trained: Trained[Any], count: int, rng: np.random.Generator) -> Array:
        return rng.integers(0, 256, (count, *self.shape_of(trained)), np.uint8)

    def tested(self, trained: Trained[Any], folder: Path, count: int) -> Array:
        return first_of(folder, "test_images", count, self.shape_of(trained))


@dataclass(frozen=True)
class Features:
    """The features of songs, as they stand in the table."""

    meaning: str
    prepare: Callable[[Array, Normalize], Array]
    count: int

    def tensors(self, trained: Trained[Any]) -> list[Tensor]:
        return [("features", TensorProto.FLOAT, ["N", self.count])]

    def begin(self, graph: Graph, trained: Trained[Any]) -> Value:
        return Value(normalized(graph, trained.normalize, "features"))

    def see(self, trained: Trained[Any], samples: Array) -> Array:
        return self.prepare(samples, trained.normalize)

    def feed(self, samples: Array) -> Feeds:
        return {"features": samples}

    def random(self, trained: Trained[Any], count: int, rng: np.random.Generator) -> Array:
        scores = rng.standard_normal((count, self.count), np.float32)
        return scores * trained.normalize.std + trained.normalize.mean

    def tested(self, trained: Trained[Any], folder: Path, count: int) -> Array:
        return first_of(folder, "test_features", count, (self.count,))


@dataclass(frozen=True)
class Movements:
    """Drawings as `rnn_doodles/ink.py` encodes them; the samples are `Sequences`."""

    meaning: str

    def tensors(self, trained: Trained[Any]) -> list[Tensor]:
        return [("movements", TensorProto.FLOAT, ["N", "T", PEN]), ("lengths", TensorProto.INT64, ["N"])]

    def begin(self, graph: Graph, trained: Trained[Any]) -> Steps:
        return Steps(graph.add("Transpose", "movements", perm=[1, 0, 2]), "lengths")

    def see(self, trained: Trained[Any], samples: Sequences) -> Sequences:
        return samples

    def feed(self, samples: Sequences) -> Feeds:
        """What stands behind the end of a sequence must not matter: here it is far from any movement."""
        return {"movements": samples.to_padded(fill=1000.0), "lengths": samples.lengths}

    def random(self, trained: Trained[Any], count: int, rng: np.random.Generator) -> Sequences:
        lengths = rng.integers(1, LONGEST + 1, count)
        return Sequences.pack(rng.standard_normal((lengths.sum(), PEN), np.float32), lengths)

    def tested(self, trained: Trained[Any], folder: Path, count: int) -> Sequences:
        points, lengths = load_prepared(folder, ["test_points", "test_lengths"]).arrays.values()
        return encode(Ink.of(Drawings(points, lengths)[:count]))


def normalized(graph: Graph, normalize: Normalize, x: str) -> str:
    """(x - mean) / std in the same two float32 operations as `Normalize`, which a step function may depend on."""
    centred = graph.add("Sub", x, graph.constant("mean", normalize.mean))
    return graph.add("Mul", centred, graph.constant("inverse_std", 1 / normalize.std))


def first_of(folder: Path, name: str, count: int, shape: tuple[int, ...]) -> Array:
    """The first rows of an array of prepared data; UserError unless they have this shape."""
    array: Array = load_prepared(folder, [name]).arrays[name][:count]
    check_samples(folder, array, shape)
    return array
