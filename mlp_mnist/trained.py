"""A trained network of this project, read back from its run folder for the test and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from core.backend import Array
from core.losses import softmax
from core.training.checkpoint import Tensors
from core.training.find import BEST, find_run
from core.training.trained import Trained, check_matrices, load_trained
from mlp_mnist.model import Architecture, build, preprocess

PROJECT = Path(__file__).resolve().parent
LEAST_SCORE = 2.0**-26  # a float32 score is rounded to a multiple of 2^-25, so 0 stands for anything below this

Classifier: TypeAlias = Trained[Architecture]


def load_classifier(run: str, dataset: str) -> Classifier:
    """The best weights of the run called `run`, or of the newest one on `dataset` if that is "".

    Raises UserError when there is no such run, or its checkpoint is damaged or none of this project's.
    """
    command = f"python {PROJECT.name}/training.py" + (f" --dataset {dataset}" if dataset != "mnist" else "")
    weights = find_run(PROJECT / "runs", run, dataset, command) / BEST
    return load_trained(weights, command, read_architecture, build)


def read_architecture(about: dict[str, Any], tensors: Tensors) -> Architecture:
    """The architecture that training saved; ValueError unless it fits the saved matrices and the classes' names."""
    architecture, classes = Architecture.from_dict(about["architecture"]), about["classes"]
    check_matrices(architecture, tensors)
    if len(classes) != architecture.classes:
        raise ValueError(f"{architecture} does not fit {len(classes)} classes")
    return architecture


def prepare(classifier: Classifier, images: Array) -> Array:
    """What the network sees of images (N, 28, 28), uint8 or float from 0 to 1: float32 (N, 28, 28)."""
    return preprocess(images, classifier.normalize)


def probabilities(classifier: Classifier, outputs: Array) -> Array:
    """The network's outputs (N, K) as probabilities, which sum to 1; sigmoid scores in proportion.

    Scores of 0 count as LEAST_SCORE. So an image in which the network sees nothing at all, with a 0 for each class, may
    be any: where all has been rounded away, nothing is left to prefer a class by.
    """
    if not classifier.architecture.sigmoid_output:
        return softmax(outputs)
    scores = np.maximum(outputs, LEAST_SCORE)
    shares: Array = scores / scores.sum(axis=1, keepdims=True)
    return shares
