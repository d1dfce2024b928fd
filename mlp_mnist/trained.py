"""A trained network of this project, read back from its run folder for the test and the demo."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from core.backend import Array
from core.data.normalize import Normalize
from core.errors import UserError
from core.layers import Sequential
from core.losses import softmax
from core.training.checkpoint import load_checkpoint, load_weights
from core.training.find import BEST, find_run
from mlp_mnist.model import PIXELS, Architecture, build, preprocess

PROJECT = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Trained:
    """A network with its weights, and all that is needed to ask it."""

    network: Sequential
    architecture: Architecture
    normalize: Normalize
    classes: tuple[str, ...]
    dataset: str
    notice: str
    """What must be said of the data that it was trained on; "" for complete official data."""
    weights: Path

    def prepare(self, images: Array) -> Array:
        """What the network sees of images (N, 28, 28), uint8 or float from 0 to 1: float32 (N, 28, 28)."""
        return preprocess(images, self.normalize)

    def probabilities(self, outputs: Array) -> Array:
        """The network's outputs (N, K) as probabilities, which sum to 1; sigmoid scores in proportion."""
        if not self.architecture.sigmoid_output:
            return softmax(outputs)
        shares: Array = outputs / outputs.sum(axis=1, keepdims=True)
        return shares

    def describe(self) -> str:
        """The network in a few words, such as "multilayer perceptron 784-256-128-10, relu"."""
        sizes = "-".join(map(str, (PIXELS, *self.architecture.hidden, self.architecture.classes)))
        return f"multilayer perceptron {sizes}, {self.architecture.activation}"


def load_trained(run: str, dataset: str) -> Trained:
    """The best weights of the run called `run`, or of the newest one on `dataset` if that is "".

    Raises UserError when there is no such run, or its checkpoint is damaged or none of this project's.
    """
    train = f"python {PROJECT.name}/training.py" + (f" --dataset {dataset}" if dataset != "mnist" else "")
    weights = find_run(PROJECT / "runs", run, dataset, train) / BEST
    tensors, metadata = load_checkpoint(weights)
    try:
        about = metadata["about"]
        architecture = Architecture.from_dict(about["architecture"])
        normalize = Normalize(**about["normalize"])
        classes = tuple(map(str, about["classes"]))
        trained_on, notice = str(metadata["data"]["dataset"]), str(metadata["notice"])
        _check_sizes(architecture, classes, tensors)
        network = build(architecture)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{weights} does not hold a network of {PROJECT.name}; train one with `{train}`") from error
    load_weights(network, weights)
    return Trained(network, architecture, normalize, classes, trained_on, notice, weights)


def _check_sizes(architecture: Architecture, classes: tuple[str, ...], tensors: dict[str, Any]) -> None:
    """ValueError unless the sizes fit the saved matrices, before memory is taken for what a file merely claims."""
    sizes = (PIXELS, *architecture.hidden, architecture.classes)
    saved = sorted(tensor.shape for tensor in tensors.values() if tensor.ndim == 2)
    if sorted(pairwise(sizes)) != saved or len(classes) != architecture.classes:
        raise ValueError(f"layers of sizes {sizes} do not fit matrices {saved} and {len(classes)} classes")
