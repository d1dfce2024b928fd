"""A trained network of this project, read back from its run folder for the test and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from core.backend import Array
from core.training.checkpoint import Tensors
from core.training.find import BEST, find_run
from core.training.trained import Trained, check_matrices, load_trained
from emnist.model import Architecture, build, preprocess

PROJECT = Path(__file__).resolve().parent
DATASET = "emnist"

Reader: TypeAlias = Trained[Architecture]


def load_reader(run: str) -> Reader:
    """The best weights of the run called `run`, or of the newest one if that is "".

    Raises UserError when there is no such run, or its checkpoint is damaged or none of this project's.
    """
    command = f"python {PROJECT.name}/training.py"
    weights = find_run(PROJECT / "runs", run, DATASET, command) / BEST
    return load_trained(weights, command, read_architecture, build)


def read_architecture(about: dict[str, Any], tensors: Tensors) -> Architecture:
    """The architecture that `Architecture.to_dict` described; ValueError unless the saved matrices are its own."""
    architecture = Architecture.from_dict(about["architecture"])
    check_matrices(architecture, tensors)
    return architecture


def prepare(reader: Reader, images: Array) -> Array:
    """What the network sees of images (N, 28, 28), uint8 or float from 0 to 1: float32 (N, 28, 28, 1)."""
    return preprocess(images, reader.normalize)
