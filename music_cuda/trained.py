"""A trained network of this project, read back from its run folder for the test, the demo and the terminal tool."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from core.backend import Array
from core.data.sources import GTZAN
from core.frozen import freeze
from core.training.checkpoint import Tensors
from core.training.find import BEST, find_run
from core.training.trained import Trained, check_matrices, load_trained
from music_cuda.model import Architecture, build, preprocess, probabilities_of
from music_cuda.songs import PROJECT, Data
from music_cuda.table import FEATURES, GENRES

Listener: TypeAlias = Trained[Architecture]
FARTHEST = 4.0  # deviations, beyond which a song's feature is not taken for still stranger


def load_listener(run: str) -> Listener:
    """The best weights of the run called `run`, or of the newest one if that is "".

    Raises UserError when there is no such run, or its checkpoint is damaged or none of this project's.
    """
    command = f"python {PROJECT.name}/training.py"
    weights = find_run(PROJECT / "runs", run, GTZAN.name, command) / BEST
    return load_trained(weights, command, read_architecture, build)


def read_architecture(about: dict[str, Any], tensors: Tensors) -> Architecture:
    """The architecture that was saved with the weights; ValueError unless they are its own."""
    architecture = Architecture.from_dict(about["architecture"])
    if not 1 <= architecture.members <= len(tensors):  # before a list is made for what a file merely claims
        raise ValueError(f"{architecture.members} members do not fit {len(tensors)} arrays")
    check_matrices(architecture, tensors)
    if tuple(about["classes"]) != GENRES:
        raise ValueError(f"{about['classes']} are other classes than {GENRES}")
    if np.shape(about["normalize"]["mean"]) != (len(FEATURES),):
        raise ValueError("the normalisation is not that of these features")
    return architecture


def listen(listener: Listener, features: Array) -> Array:
    """The probabilities (N, 10) of the genres for songs with features (N, 57)."""
    return probabilities_of(listener.network, listener.normalize, features)


class Judge:
    """The network as a judge of songs, from any thread."""

    def __init__(self, listener: Listener) -> None:
        self.listener, self.network = listener, freeze(listener.network)
        self._lock = threading.Lock()  # layers reuse their workspaces, so two answers at once would mix

    def listen(self, features: Array) -> Array:
        """The probabilities (N, 10) of the genres for songs with features (N, 57)."""
        with self._lock:
            return probabilities_of(self.network, self.listener.normalize, features)


class Neighbour(NamedTuple):
    """A song that sounds alike, as far as the features say."""

    name: str
    genre: str
    distance: float


def nearest(listener: Listener, data: Data, features: Array, count: int = 5) -> list[Neighbour]:
    """The songs of `data` whose features are most like those of one song (57,), the nearest first.

    The distance is the root mean square over the features, in standard deviations of the training songs.
    """
    here, there = (
        np.clip(preprocess(rows, listener.normalize), -FARTHEST, FARTHEST) for rows in (features[None], data.features)
    )
    distances = np.sqrt(np.square(there - here).mean(axis=1))  # (N,)
    order = np.argsort(distances, kind="stable")[:count]
    return [Neighbour(data.names[row], GENRES[data.labels[row]], float(distances[row])) for row in order]
