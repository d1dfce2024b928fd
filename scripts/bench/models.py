"""The networks that `benchmark.py` times, and batches for them.

To add a network, write its `Case` into `CASES`. All contenders start from the same weights; where nothing is drawn at
random, the losses of their first steps must agree before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

import cifar.model
import cifar.settings
import cnn_mnist100.model
import emnist.model
import mlp_mnist.model
import music_cuda.model
import rnn_doodles.model
from core.data.prepared import load_prepared
from core.layers import ConvReLUPool, Flatten, Linear, ReLU, Sequences, Sequential
from core.random import Stream
from mlp_mnist.settings import PRESETS
from scripts.bench.case import IMAGES, Batch, Case
from scripts.bench.torch_rivals import Rival

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
    traces=False,
)
RESNET = replace(cifar.settings.PRESETS["resnet"].architecture(), dropout=0.0)
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
    Case(
        name="cifar_resnet",
        what="residual network 32-64-128-256 with BatchNorm, 32 x 32 pixels in colour, SGD with Nesterov momentum",
        build=lambda stream: cifar.model.build(RESNET, stream=stream),
        batch=noise(32, 32, 3, classes=10),
        training_batch=128,
        rivals=IMAGES,
        optimizer="nesterov",
        weight_decay=5e-4,
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
    Case(
        name="music_cuda",
        what="MLP 57-32-16-10, gradient descent",
        build=lambda stream: music_cuda.model.build(music_cuda.model.Architecture(), stream=stream),
        batch=noise(57, classes=10),
        training_batch=1,
        rivals=(Rival("SGD"), Rival("fused SGD", fused=True)),
        optimizer="plain",
    ),
)
