"""The networks that `benchmark.py` times: ours, and the same in PyTorch in each configuration worth a try.

To add a network, write its `Case` into `CASES`. All contenders start from the same weights; where nothing is drawn at
random, the losses of their first steps must agree before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

import cnn_mnist100.model
import emnist.model
import mlp_mnist.model
import rnn_doodles.model
from core import optim
from core.backend import Array
from core.data.prepared import load_prepared
from core.layers import ConvReLUPool, Flatten, Layer, Linear, Parallel, ReLU, Sequences, Sequential
from core.losses import softmax_cross_entropy
from core.predict import predict
from core.random import Stream
from mlp_mnist.settings import PRESETS
from scripts.bench_torch import AT_ONCE, Rival

Action = Callable[[], Any]
Batch: TypeAlias = tuple[Array | Sequences, Array]
OURS = "ours"
LEARNING_RATE = 1e-3
# While timed, the networks see one batch thousands of times; with a real learning rate they would come to know it by
# heart, and their gradients would vanish, which no training does.
TIMED_LEARNING_RATE = 1e-7

OPTIMIZERS: dict[str, tuple[Callable[..., optim.Optimizer], Callable[..., torch.optim.Optimizer]]] = {
    "adam": (optim.Adam, torch.optim.Adam),
    "sgd": (partial(optim.SGD, momentum=0.9), partial(torch.optim.SGD, momentum=0.9)),
}
DENSE = (Rival("default Adam"), Rival("fused Adam", fused=True))
IMAGES = (Rival("default"), Rival("channels last, fused", fused=True, channels_last=True))


@dataclass(frozen=True)
class Case:
    """One network: how to build it, batches for it, and the batch sizes to time."""

    name: str
    what: str
    build: Callable[[Stream], Layer]
    batch: Callable[[int], Batch]  # inputs and labels of so many rows
    training_batch: int
    rivals: tuple[Rival, ...] = DENSE
    inference_batches: tuple[int, ...] = (256, 1)
    optimizer: str = "adam"
    weight_decay: float = 0.0
    parallel: bool = False  # whether the workers share the batch (core.layers.Parallel) instead of the layers' products
    random: bool = False  # whether training draws, as dropout does, so that losses differ from one to the next

    def training(self, rows: int, lr: float = TIMED_LEARNING_RATE) -> Mapping[str, Action]:
        """One training step for each contender; each action returns the loss."""
        return {name: build() for name, build in self.contenders(self.batch(rows), lr).items()}

    def contenders(self, batch: Batch, lr: float = TIMED_LEARNING_RATE) -> Mapping[str, Callable[[], Action]]:
        """For each contender, what builds its network and returns its training step on this batch."""
        theirs = partial(OPTIMIZERS[self.optimizer][1], lr=lr, weight_decay=self.weight_decay)
        builders: dict[str, Callable[[], Action]] = {OURS: lambda: self._our_step(*batch, lr)}
        for rival in self.rivals:
            builders[_label(rival)] = partial(self._their_step, rival, theirs, batch)
        return builders

    def _their_step(self, rival: Rival, optimizer: Callable[..., torch.optim.Optimizer], batch: Batch) -> Action:
        return rival.training_step(self.build(Stream(0)), optimizer, *batch)

    def inference(self, rows: int) -> Mapping[str, Action]:
        """The outputs of each contender for so many rows."""
        x, _ = self.batch(rows)
        network = self.build(Stream(0))
        ours: Layer = Parallel(network) if self.parallel else network
        actions: dict[str, Action] = {OURS: lambda: predict(ours, x, AT_ONCE) if len(x) > AT_ONCE else ours.forward(x)}
        layouts = {(rival.channels_last, rival.padded): rival for rival in reversed(self.rivals)}
        for rival in layouts.values():
            actions[_label(rival) if len(layouts) > 1 else "PyTorch"] = rival.inference(network, x)
        return actions

    def agreeing(self, actions: Mapping[str, Action]) -> Mapping[str, Action]:
        """Those of the actions that must have the same results."""
        others = [_label(rival) for rival in self.rivals if not rival.agrees]
        return {name: action for name, action in actions.items() if not name.startswith(tuple(others))}

    def _our_step(self, x: Array | Sequences, labels: Array, lr: float) -> Action:
        stream = Stream(0)
        network = self.build(stream)
        model: Layer = Parallel(network) if self.parallel else network
        model.skip_input_grad()
        optimizer = OPTIMIZERS[self.optimizer][0](model.parameters(), weight_decay=self.weight_decay)

        def step() -> Any:
            stream.seek(0, optimizer.steps)
            loss, dlogits = softmax_cross_entropy(model.forward(x, train=True), labels)
            model.backward(dlogits)
            optimizer.step(lr)
            return loss

        return step


def _label(rival: Rival) -> str:
    return f"PyTorch, {rival.name}"


# -- batches ----------------------------------------------------------------------------------------------------------


def noise(*sample: int, classes: int) -> Callable[[int], Batch]:
    """Batches of random numbers from 0 to 1 and random labels; the same ones each time."""

    def batch(rows: int) -> Batch:
        rng = np.random.default_rng(1)
        return rng.random((rows, *sample), dtype=np.float32), rng.integers(0, classes, rows)

    return batch


DRAWINGS = Path(rnn_doodles.model.__file__).parent / "archive" / "quickdraw"


def drawings(rows: int) -> Batch:
    """A batch of prepared drawings, picked at random: as ragged as in training. Needs rnn_doodles/setup_data.py."""
    from core.data.quickdraw import Drawings
    from rnn_doodles.ink import Ink, encode

    points, lengths, labels = load_prepared(DRAWINGS, ["train_points", "train_lengths", "train_labels"]).arrays.values()
    chosen = np.random.default_rng(1).permutation(len(labels))[:rows]
    return encode(Ink.of(Drawings(points, lengths)[chosen])), labels[chosen].astype(np.int64)


def equal_sequences(rows: int) -> Batch:
    """Random sequences of 64 steps each."""
    x, labels = noise(64, 3, classes=20)(rows)
    return Sequences.pack_padded(np.asarray(x)), labels


# -- networks ---------------------------------------------------------------------------------------------------------


def cifar_cnn(stream: Stream) -> Sequential:
    """Convolutions of 32, 64 and 128 filters, the first two with pooling, and 512 hidden units."""
    rng = np.random.default_rng(0)
    return Sequential(
        ConvReLUPool(3, 32, 3, padding=1, rng=rng),
        ConvReLUPool(32, 64, 3, padding=1, rng=rng),
        ConvReLUPool(64, 128, 3, padding=1, pool=1, rng=rng),
        Flatten(),
        Linear(8 * 8 * 128, 512, rng=rng),
        ReLU(),
        Linear(512, 10, rng=rng),
    )


MLP_MNIST = Case(
    name="mlp_mnist",
    what="MLP 784-256-128-10, Adam",
    build=lambda stream: mlp_mnist.model.build(mlp_mnist.model.Architecture(), stream=stream),
    batch=noise(28, 28, classes=10),
    training_batch=128,
)
PRESET = PRESETS["default"]
DOODLES = Case(
    name="rnn_doodles",
    what="bidirectional GRU 2 x 192, sequences of 64 steps, Adam",
    build=lambda stream: rnn_doodles.model.build(
        rnn_doodles.model.Architecture(dropout=0.0, classes=20), stream=stream
    ),
    batch=equal_sequences,
    training_batch=256,
    rivals=(Rival("default Adam", padded=True), Rival("fused Adam", fused=True, padded=True)),  # nothing is padded
)
CASES = (
    MLP_MNIST,
    replace(
        MLP_MNIST,
        name="mlp_mnist_default",
        what=f"the same with the dropout ({PRESET.input_dropout:g}, {PRESET.dropout:g}) and L2 of the default preset",
        build=lambda stream: mlp_mnist.model.build(PRESET.architecture(10), stream=stream),
        training_batch=PRESET.batch_size,
        weight_decay=PRESET.weight_decay,
        random=bool(PRESET.dropout or PRESET.input_dropout),
    ),
    Case(
        name="emnist",
        what="MLP 784-256-128-51, Adam",
        build=lambda stream: emnist.model.build(emnist.model.Architecture(51), stream=stream),
        batch=noise(28, 28, classes=51),
        training_batch=32,
    ),
    Case(
        name="cnn_mnist100",
        what="convolutions 16, 32 with pooling, 256 hidden units, dropout 0.4, 28 x 56 pixels, Adam",
        build=lambda stream: cnn_mnist100.model.build(cnn_mnist100.model.Architecture(), stream=stream),
        batch=noise(28, 56, 1, classes=100),
        training_batch=256,
        rivals=IMAGES,
        inference_batches=(10_000, 256, 1),
        parallel=True,
        random=True,
    ),
    Case(
        name="cifar_cnn",
        what="convolutions 32, 64, 128, 512 hidden units, 32 x 32 pixels in colour, SGD with momentum",
        build=cifar_cnn,
        batch=noise(32, 32, 3, classes=10),
        training_batch=256,
        rivals=IMAGES,
        optimizer="sgd",
        parallel=True,
    ),
    DOODLES,
    replace(
        DOODLES,
        name="rnn_doodles_ragged",
        what="the same on drawings, 6 to 250 steps each",
        batch=drawings,
        rivals=(Rival("packed", fused=True), Rival("padded", fused=True, padded=True, agrees=False)),
    ),
)
