"""How long it takes to make some batches: ours, as in training, and the same work with PyTorch.

PyTorch has two ways: operations on whole batches in this process, which may use all its threads, and a DataLoader with
two processes of one thread each that make whole batches. A turn is an epoch of `BATCHES`, at the end of which nothing
is left in the making; else a DataLoader would work while others are timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

import cifar.settings
import cnn_mnist100.settings
import emnist.settings
import mlp_mnist.settings
from core.data.augment import Compose
from core.data.normalize import Normalize
from core.data.prepared import load_prepared
from core.data.quickdraw import Drawings
from core.random import Stream
from core.training.feed import Feed
from rnn_doodles.augment import Augment
from rnn_doodles.ink import UNIT, Ink, encode
from scripts.bench.torch_data import TorchBatches
from scripts.environment import ROOT

Action = Callable[[], Any]
PROCESSES = 2
BATCHES = 16  # of a turn


@dataclass(frozen=True)
class Loading:
    """Batches of one project's training data; `augment` distorts them (None: they are only normalised)."""

    folder: str
    what: str
    batch: int
    augment: Compose | Augment | None = None
    inputs: str = "images"


def _images(folder: str, what: str, settings: Any) -> Loading:
    return Loading(folder, what, settings.batch_size, settings.augmentation())


LOADINGS: Mapping[str, Loading] = {
    "mlp_mnist": _images("mlp_mnist/archive/mnist", "no distortion", mlp_mnist.settings.PRESETS["default"]),
    "mlp_mnist_default": _images("mlp_mnist/archive/mnist", "preset best", mlp_mnist.settings.PRESETS["best"]),
    "emnist": _images("emnist/archive/emnist", "preset cnn", emnist.settings.PRESETS["cnn"]),
    "cnn_mnist100": _images(
        "cnn_mnist100/archive/mnist100", "preset default", cnn_mnist100.settings.PRESETS["default"]
    ),
    "cifar_cnn": _images("cifar/archive/cifar10", "preset cnn", cifar.settings.PRESETS["cnn"]),
    "cifar_resnet": _images("cifar/archive/cifar10", "preset resnet", cifar.settings.PRESETS["resnet"]),
    "rnn_doodles_ragged": Loading(
        "rnn_doodles/archive/quickdraw",
        "turned, stretched, mirrored, shaken",
        256,
        Augment(rotate=15, stretch=0.25, jitter=0.01, flip=True),
        inputs="drawings",
    ),
    "music_cuda": Loading("music_cuda/archive/gtzan", "normalised", 64, inputs="features"),
}


@contextmanager
def contenders(loading: Loading) -> Iterator[Mapping[str, Action]]:
    """For each contender, what makes the next `BATCHES` batches, and returns the last one.

    Raises UserError for data that are not prepared.
    """
    make = _drawings if loading.inputs == "drawings" else _arrays
    next_batch, theirs, rows = make(loading)
    sampler = RandomSampler(range(rows), num_samples=BATCHES * loading.batch)
    epoch = BatchSampler(sampler, loading.batch, drop_last=True)
    loader = DataLoader(
        theirs, sampler=epoch, batch_size=None, num_workers=PROCESSES, prefetch_factor=4, persistent_workers=True
    )
    yield {
        "ours": lambda: [next_batch() for _ in range(BATCHES)][-1],
        "PyTorch, whole batches": lambda: [theirs[chosen] for chosen in epoch][-1],
        "PyTorch, DataLoader": lambda: list(loader)[-1],
    }


def _arrays(loading: Loading) -> tuple[Action, Any, int]:
    """Images, or rows of features."""
    inputs, labels = _prepared(loading, f"train_{loading.inputs}", "train_labels")
    inputs = inputs[..., None] if inputs.ndim == 3 else inputs
    assert not isinstance(loading.augment, Augment)
    normalize = Normalize.fit(inputs[:5000], per_channel=True)
    feed = Feed((inputs, labels), Stream(0), "cpu", normalize, loading.augment)
    batches = feed.endless(loading.batch)
    transforms = loading.augment.transforms if loading.augment else ()
    theirs = TorchBatches(inputs, labels, transforms, normalize)
    return lambda: next(batches), theirs, len(labels)


def _drawings(loading: Loading) -> tuple[Action, Any, int]:
    """Drawings, packed as the recurrent network wants them."""
    points, lengths, labels = _prepared(loading, "train_points", "train_lengths", "train_labels")
    augment = loading.augment
    assert isinstance(augment, Augment)
    drawings, stream = Drawings(points, lengths), Stream(0)
    feed = Feed((labels, labels), stream, "cpu", rows=None, numbers=True)
    batches = feed.endless(loading.batch)

    def ours() -> Any:
        *_, labels, numbers = next(batches)
        return encode(augment(Ink.of(drawings[numbers]), stream.generator(0))), labels

    return ours, TorchDrawings(drawings, labels, augment), len(labels)


class TorchDrawings:
    """The same with PyTorch: drawing by drawing, since they have different lengths, and then packed."""

    def __init__(self, drawings: Drawings, labels: Any, augment: Augment) -> None:
        lengths = torch.from_numpy(drawings.lengths.astype(np.int64)).tolist()
        self.drawings = torch.split(torch.from_numpy(np.array(drawings.points)), lengths)
        self.labels = torch.from_numpy(np.array(labels, np.int64))
        self.augment = augment

    def __getitem__(self, rows: Sequence[int]) -> tuple[Any, Any]:
        return pack_sequence([self._one(row) for row in rows], enforce_sorted=False), self.labels[torch.as_tensor(rows)]

    def _one(self, row: int) -> torch.Tensor:
        about, points = self.augment, self.drawings[row]
        angle, stretch, mirror = (torch.rand(3) * 2 - 1).tolist()
        cos, sin = np.cos(angle * np.deg2rad(about.rotate)), np.sin(angle * np.deg2rad(about.rotate))
        stretch, sign = (1 + about.stretch) ** (stretch / 2), -1.0 if about.flip and mirror < 0 else 1.0
        matrix = torch.tensor([[cos * stretch * sign, sin * stretch * sign], [-sin / stretch, cos / stretch]])
        xy = points[:, :2].float()
        low, high = xy.amin(0), xy.amax(0)
        xy = (xy - (low + high) / 2) @ matrix.float()
        xy += torch.randn(xy.shape) * (about.jitter * (high - low).max())
        low, high = xy.amin(0), xy.amax(0)
        features = torch.empty(len(points), 3)
        features[1:, :2] = xy[1:] - xy[:-1]
        features[0, :2] = xy[0] - (low + high) / 2
        features[:, :2] /= (high - low).max().clamp(min=1e-6) * UNIT
        features[:, 2] = points[:, 2]
        features[-1, 2] = 1
        return features


def _prepared(loading: Loading, *names: str) -> list[Any]:
    return list(load_prepared(ROOT / loading.folder, names).arrays.values())
