"""A trained network, read back from its run folder for the test and the demo."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from core.data.normalize import Normalize
from core.errors import UserError
from core.layers import Sequential
from core.training.checkpoint import Tensors, load_checkpoint, load_weights

Architecture = TypeVar("Architecture")


class HasMatrices(Protocol):
    """An architecture that knows the shapes of all its weights that are matrices."""

    def matrices(self) -> Sequence[tuple[int, int]]:
        """These shapes, in any order."""


@dataclass(frozen=True)
class Trained(Generic[Architecture]):
    """A network with its weights, and what is known of them."""

    network: Sequential
    architecture: Architecture
    normalize: Normalize
    classes: tuple[str, ...]
    dataset: str
    notice: str
    """What must be said of the data that it was trained on; "" for complete official data."""
    weights: Path
    learned_from: Mapping[str, str] = field(default_factory=dict)
    """The SHA-256 of each array of the prepared training data; empty where the checkpoint does not tell."""


def load_trained(
    weights: Path,
    train_command: str,
    read: Callable[[dict[str, Any], Tensors], Architecture],
    build: Callable[[Architecture], Sequential],
) -> Trained[Architecture]:
    """The network whose weights, saved by `Run` with `about` architecture, normalize and classes, are in a file.

    `read` makes the architecture of what was saved about the network, and raises ValueError unless the saved arrays fit
    it: then no memory is taken for what a file merely claims. Raises UserError, with the command that trains a network,
    for a file that is missing, damaged, or of another project.
    """
    tensors, metadata = load_checkpoint(weights)
    try:
        about = metadata["about"]
        architecture = read(about, tensors)
        trained = Trained(
            network=build(architecture),
            architecture=architecture,
            normalize=Normalize.from_dict(about["normalize"]),
            classes=tuple(map(str, about["classes"])),
            dataset=str(metadata["data"]["dataset"]),
            notice=str(metadata["notice"]),
            weights=weights,
            learned_from=dict(metadata["data"].get("arrays", {})),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{weights} holds no network of this project; train one with `{train_command}`") from error
    load_weights(trained.network, weights)
    return trained


def check_matrices(architecture: HasMatrices, tensors: Tensors) -> None:
    """ValueError unless the saved matrices are those of the architecture."""
    saved = sorted(tensor.shape for tensor in tensors.values() if tensor.ndim == 2)
    if sorted(architecture.matrices()) != saved:
        raise ValueError(f"{architecture} does not fit matrices {saved}")
