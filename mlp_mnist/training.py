"""Train a multi-layer perceptron on handwritten digits, or on pictures of clothes.

    python mlp_mnist/training.py                      # 784-256-128-10, about 98.4 % in ten seconds
    python mlp_mnist/training.py --preset best        # see README.md for all presets and what they reach
    python mlp_mnist/training.py --hidden 512 --activation gelu --epochs 5 --name mine

The data must have been prepared by setup_data.py; test_model.py measures the result on the test images.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from core.backend import Array, array_module, select_device, to_device
    from core.cli import main
    from core.data.normalize import Normalize
    from core.data.prepared import check_samples, load_prepared
    from core.data.splits import choose_indices, split_indices
    from core.errors import UserError
    from core.losses import (
        LossFunction,
        accuracy,
        focal_loss,
        loss_and_accuracy,
        mean_squared_error,
        softmax_cross_entropy,
    )
    from core.predict import predict
    from core.random import Stream
    from core.training.run import Run
    from core.training.settings import make_optimizer, make_schedule
    from core.workers import set_threads
    from mlp_mnist import debug
    from mlp_mnist.ask import how_many
    from mlp_mnist.model import SIDE, build, preprocess
    from mlp_mnist.settings import PRESETS, Settings
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

DEFAULT_SAMPLES = 400


def train(settings: Settings) -> None:
    """Train as `settings` say; everything goes to runs/<name>."""
    device = select_device(settings.device)
    set_threads(settings.threads)
    images, labels, classes, info = load(settings)
    rows, held_out = choose_rows(settings, labels)
    normalize = Normalize.fit(images[rows])
    folder = PROJECT / "runs" / settings.run_name

    architecture, stream = settings.architecture(len(classes)), Stream(settings.seed)
    model = build(architecture, seed=settings.seed, stream=stream)
    model.to(device).skip_input_grad()
    optimizer = make_optimizer(settings, model)
    schedule = make_schedule(settings, len(rows))
    loss_of, augment = make_loss(settings), settings.augmentation()
    about = {"architecture": architecture.to_dict(), "normalize": normalize.to_dict(), "classes": list(classes)}
    x_held_out = to_device(preprocess(images[held_out], normalize), device)
    labels_held_out = to_device(labels[held_out], device)

    with Run(settings, model, optimizer, schedule, folder=folder, stream=stream, data_info=info, about=about) as run:
        if settings.show_images:
            debug.save_images(folder / "images.png", images[rows], labels[rows], classes, augment, info["notice"])
        backward = debug.GradientLog(folder / "gradients.log", model) if settings.log_gradients else model.backward
        for _ in run.epochs():
            for x, t in run.batches(images, labels, rows=rows, normalize=normalize, augment=augment):
                outputs = model.forward(x, train=True)
                t = array_module(t).tile(t, settings.members)  # every member of a committee answers for itself
                loss, doutputs = loss_of(outputs, t)
                backward(doutputs)
                run.step(loss, accuracy=accuracy(outputs, t))
            with run.averaged():
                run.validate(**loss_and_accuracy(predict(model, x_held_out), labels_held_out, loss_of))


def load(settings: Settings) -> tuple[Array, Array, list[str], dict[str, Any]]:
    """The training images uint8 (N, 28, 28), their labels int64 (N,), the classes' names, and the info of the data."""
    folder = Path(settings.data) if settings.data else PROJECT / "archive" / settings.dataset
    prepared = load_prepared(folder, ["train_images", "train_labels"], setup_flags=f"--dataset {settings.dataset}")
    images, labels = prepared.arrays["train_images"], prepared.arrays["train_labels"].astype(np.int64)
    check_samples(folder, images, (SIDE, SIDE))
    return images, labels, list(prepared.info["classes"]), prepared.info


def choose_rows(settings: Settings, labels: Array) -> tuple[Array, Array]:
    """The rows to train on and those held out, both in the proportions of the classes."""
    samples = how_many(settings.train_samples, "training images", DEFAULT_SAMPLES)
    if settings.validation >= len(labels):
        raise UserError(f"--validation {settings.validation} leaves nothing of {len(labels)} images to train on")
    rows, held_out = split_indices(labels, settings.validation / len(labels), settings.seed)
    if samples > len(rows):
        raise UserError(f"--train-samples {samples}: only {len(rows)} of the images are not held out")
    if 0 < samples < len(rows):
        rows = rows[choose_indices(labels[rows], samples, settings.seed)]
    return rows, held_out


def make_loss(settings: Settings) -> LossFunction:
    """The loss that the settings name, as a function of the network's outputs (N, C) and labels (N,)."""
    if settings.loss == "mean_squared_error":
        return squared_error_of_labels
    if settings.loss == "focal":
        return focal_loss
    return partial(softmax_cross_entropy, label_smoothing=settings.label_smoothing)


def squared_error_of_labels(scores: Array, labels: Array) -> tuple[Any, Array]:
    """The mean squared error of scores (N, C) whose target is 1 for the label and 0 for the other classes."""
    xp = array_module(scores)
    target = xp.zeros_like(scores)
    target[xp.arange(len(labels)), labels] = 1
    return mean_squared_error(scores, target)


if __name__ == "__main__":
    main(train, Settings, description=__doc__, presets=PRESETS)
