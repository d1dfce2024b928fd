"""A trained network of this project, read back from its run folder for the test and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from cifar.model import Architecture, build, preprocess
from core.backend import Array
from core.training.checkpoint import Tensors, load_checkpoint
from core.training.find import BEST, find_run
from core.training.trained import Trained, check_matrices, load_trained

PROJECT = Path(__file__).resolve().parent

Classifier: TypeAlias = Trained[Architecture]


def load_classifier(run: str) -> Classifier:
    """The best weights of the run called `run`, or of the newest one on CIFAR-10 if that is "".

    Raises UserError when there is no such run, or its checkpoint is damaged or none of this project's.
    """
    command = f"python {PROJECT.name}/training.py"
    weights = find_run(PROJECT / "runs", run, "cifar10", command) / BEST
    return load_trained(weights, command, read_architecture, build)


def read_architecture(about: dict[str, Any], tensors: Tensors) -> Architecture:
    """The architecture that `Architecture.to_dict` described; ValueError unless the saved matrices are its own."""
    architecture = Architecture.from_dict(about["architecture"])
    if len(architecture.widths) + len(architecture.hidden) > 100:
        raise ValueError(f"{architecture} is deeper than any network here")
    check_matrices(architecture, tensors)
    return architecture


def what_it_saw(classifier: Classifier) -> str:
    """A sentence on the images that the weights were learnt from and chosen by."""
    _, metadata = load_checkpoint(classifier.weights)
    trained_on, selected_on = int(metadata["about"]["trained_on"]), int(metadata["about"]["selected_on"])
    chosen = (
        f"the best epoch was chosen on {selected_on:,} others" if selected_on else "the last epoch was taken, unseen"
    )
    return f"It was trained on {trained_on:,} images; {chosen}; neither are among those measured here."


def prepare(classifier: Classifier, images: Array) -> Array:
    """What the network sees of images (N, H, W[, C]), uint8 or float from 0 to 1: float32 (N, H, W, C)."""
    return preprocess(images, classifier.normalize)
