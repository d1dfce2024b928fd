"""A small training on made-up data, as the tests use it: in the same process, and as a script that can be killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from core import predict
from core.cli import main, parse
from core.layers import BatchNorm, Dropout, Linear, Parallel, ReLU, Sequential
from core.losses import loss_and_accuracy, softmax_cross_entropy
from core.random import Stream
from core.training.checkpoint import load_checkpoint
from core.training.run import Run
from core.training.settings import TrainingSettings, make_optimizer, make_schedule
from core.workers import set_threads

DATA_INFO = {"dataset": "toy", "files": {"x": "aa"}, "notice": "MADE-UP data"}


@dataclass
class ToySettings(TrainingSettings):
    """Train a small network on made-up data."""

    epochs: int = 4
    """Passes over the data."""
    batch_size: int = 16
    """Samples for each update."""
    lr: float = 0.01
    """Learning rate."""
    threads: int = 1
    """Worker threads."""
    norm: bool = True
    """Whether the network has a BatchNorm layer."""
    dropout: float = 0.2
    """Rate of the dropout."""
    augment: Literal["none", "rows", "batch"] = "rows"
    """How the inputs are augmented."""
    folder: str = "run"
    """Where the run goes."""
    explode: int = -1
    """The step whose loss is not a number."""
    data_hash: str = "aa"
    """Hash of the data, as an archive would give it."""


class AddNoise:
    """An augmentation in the form of `core.data.augment.Compose`: a few random numbers a row."""

    def columns(self, shape):
        return 5

    def apply(self, images, draws):
        return images + (draws.astype(np.float32) / 65536 - 0.5).mean(axis=1, keepdims=True)


def add_noise(x, rng):
    return x + rng.normal(0, 0.1, x.shape).astype(np.float32)


def data(count=150, size=12, classes=3):
    rng = np.random.default_rng(5)
    centres = rng.normal(0, 1, (classes, size))
    labels = rng.integers(0, classes, count)
    return (centres[labels] + rng.normal(0, 1, (count, size))).astype(np.float32), labels


def build(settings):
    stream = Stream(settings.seed)
    rng = np.random.default_rng(settings.seed)
    middle = [BatchNorm(20)] if settings.norm else []
    network = Sequential(
        Linear(12, 20, rng=rng), *middle, ReLU(), Dropout(settings.dropout, stream=stream), Linear(20, 3, rng=rng)
    )
    return Parallel(network.skip_input_grad()), stream


def settings_of(folder, *flags):
    return parse(ToySettings, ["--folder", str(folder), *flags])


def train(settings, watch=None):
    """Train as the settings say; returns the model and the run."""
    set_threads(settings.threads)
    x, labels = data()
    (x, x_held_out), (labels, labels_held_out) = np.split(x, [110]), np.split(labels, [110])
    augment = {"none": None, "rows": AddNoise(), "batch": add_noise}[settings.augment]
    model, stream = build(settings)
    optimizer, schedule = make_optimizer(settings, model), make_schedule(settings, len(x))
    info = DATA_INFO | {"files": {"x": settings.data_hash}}
    with Run(
        settings, model, optimizer, schedule, folder=Path(settings.folder), stream=stream, data_info=info, watch=watch
    ) as run:
        for _ in run.epochs():
            for batch, batch_labels in run.batches(x, labels, augment=augment):
                logits = model.forward(batch, train=True)
                loss, dlogits = softmax_cross_entropy(logits, batch_labels, settings.label_smoothing)
                accuracy = (logits.argmax(axis=1) == batch_labels).mean()
                model.backward(dlogits)
                time.sleep(float(os.environ.get("TOY_PAUSE", 0)))
                run.step(float("nan") if run.state.step == settings.explode else loss, accuracy=accuracy)
            with run.averaged():
                outputs = predict(model, x_held_out)
                loss_of = softmax_cross_entropy  # by this module's name, so that a test may replace it here too
                run.validate(**loss_and_accuracy(outputs, labels_held_out, loss_of))
    return model, run


def weights(folder, name="best"):
    return load_checkpoint(folder / f"{name}.safetensors")[0]


def die_at_write(number):
    """Let this process kill itself just before the `number`-th call that brings something to the disk."""
    calls = 0

    def counted(function):
        def call(*arguments, **settings):
            nonlocal calls
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **settings)

        return call

    for name in ("fsync", "replace", "link"):
        setattr(os, name, counted(getattr(os, name)))


def script(settings):
    die_at_write(int(os.environ.get("TOY_DIE_AT_WRITE", 0)))
    print("ready", flush=True)
    train(settings)


if __name__ == "__main__":
    # A test that itself runs in the background of a shell would hand on "ignore Ctrl-C".
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(script, ToySettings, sys.argv[1:])
