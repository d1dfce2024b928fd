"""A trained network of this project, read back from its run folder for the test and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from core.training.checkpoint import Tensors
from core.training.find import BEST, find_run
from core.training.trained import Trained, load_trained
from rnn_doodles.model import Architecture, build

PROJECT = Path(__file__).resolve().parent
DATASET = "quickdraw"

Guesser: TypeAlias = Trained[Architecture]


def load_guesser(run: str) -> Guesser:
    """The best weights of the run called `run`, or of the newest one if that is "".

    Raises UserError when there is no such run, or its checkpoint is damaged or none of this project's.
    """
    command = f"python {PROJECT.name}/training.py"
    weights = find_run(PROJECT / "runs", run, DATASET, command) / BEST
    return load_trained(weights, command, read_architecture, build)


def read_architecture(about: dict[str, Any], tensors: Tensors) -> Architecture:
    """The architecture that was saved with the weights; ValueError unless they are its own."""
    architecture = Architecture(**about["architecture"])
    recurrent = sorted(tensor.shape for tensor in tensors.values() if tensor.ndim == 3)
    if not 0 < architecture.layers <= len(recurrent) or architecture.recurrent_shapes() != recurrent:
        raise ValueError(f"{architecture} does not fit weights {recurrent}")
    if tensors["head.weight"].shape != architecture.head_shape() or architecture.classes != len(about["classes"]):
        raise ValueError(f"{architecture.classes} classes do not fit the weights")
    return architecture
