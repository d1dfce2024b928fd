"""Train a convolutional network to read two-digit numbers.

    python cnn_mnist100/training.py                      # 16 and 32 filters
    python cnn_mnist100/training.py --preset best        # see README.md for what the presets reach
    python cnn_mnist100/training.py --filters 24 48 --hidden 128 --epochs 5 --name mine

The data must have been prepared by setup_data.py; test_model.py measures the result on the test images.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from cnn_mnist100.model import Architecture, build, preprocess
    from cnn_mnist100.settings import PRESETS, Settings
    from core.backend import Array, select_device, to_device
    from core.cli import main
    from core.data.normalize import Normalize
    from core.data.prepared import load_prepared
    from core.errors import UserError
    from core.layers import Layer, Parallel
    from core.losses import softmax_cross_entropy
    from core.predict import predict
    from core.random import Stream
    from core.training.run import Run
    from core.training.settings import make_optimizer, make_schedule
    from core.workers import set_threads
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there")


def train(settings: Settings) -> None:
    """Train as `settings` say; everything goes to runs/<name>."""
    device = select_device(settings.device)
    set_threads(settings.threads)
    images, labels, folds, info = load(settings)
    rows, held_out = choose_rows(folds, settings.validation)
    normalize = Normalize.fit(images[rows])
    folder = PROJECT / "runs" / settings.run_name

    architecture, stream = settings.architecture(), Stream(settings.seed)
    network = build(architecture, seed=settings.seed, stream=stream).to(device)
    model = Parallel(network)
    model.skip_input_grad()
    optimizer = make_optimizer(settings, model)
    schedule = make_schedule(settings, len(rows))
    augment, smoothing = settings.augmentation(), settings.label_smoothing
    about = describe(architecture, normalize, info)
    x_held_out = to_device(preprocess(images[held_out], normalize), device)
    labels_held_out = to_device(labels[held_out], device)
    pictures = images[..., None]  # (N, 28, 56, 1)

    with Run(settings, model, optimizer, schedule, folder=folder, stream=stream, data_info=info, about=about) as run:
        for _ in run.epochs():
            for x, t in run.batches(pictures, labels, rows=rows, normalize=normalize, augment=augment):
                logits = model.forward(x, train=True)
                loss, dlogits = softmax_cross_entropy(logits, t, smoothing)
                accuracy = (logits.argmax(axis=1) == t).mean()
                model.backward(dlogits)
                run.step(loss, accuracy=accuracy)
            with run.averaged():
                run.validate(**evaluate(model, x_held_out, labels_held_out))


def load(settings: Settings) -> tuple[Array, Array, Array, dict[str, Any]]:
    """The training pairs uint8 (N, 28, 56), their labels int64 (N,), their folds (N,), and the info of the data."""
    folder = Path(settings.data) if settings.data else PROJECT / "archive" / "mnist100"
    prepared = load_prepared(folder, ["train_images", "train_labels", "train_folds"])
    images, labels, folds = prepared.arrays.values()
    if prepared.info["digits_shared"]:
        print("the pairs held out share digits with the others: validation figures will be better than the truth")
    return images, labels.astype(np.int64), folds, prepared.info


def choose_rows(folds: Array, validation: int) -> tuple[Array, Array]:
    """The pairs to train on and those held out: the first `validation` folds, which share no digit with the others."""
    is_held_out = folds < validation
    rows, held_out = np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
    if not (len(rows) and len(held_out)):
        raise UserError(f"{len(folds)} pairs are too few to hold some of them out: prepare more of each number")
    return rows, held_out


def describe(architecture: Architecture, normalize: Normalize, info: dict[str, Any]) -> dict[str, Any]:
    """What the saved weights have to say of themselves, so that test and demo can use them."""
    return {"architecture": architecture.to_dict(), "normalize": normalize.to_dict(), "classes": info["classes"]}


def evaluate(model: Layer, x: Array, labels: Array) -> dict[str, float]:
    """Mean loss and accuracy of the model on prepared images."""
    logits = predict(model, x)
    loss, _ = softmax_cross_entropy(logits, labels)
    return {"loss": float(loss), "accuracy": float((logits.argmax(axis=1) == labels).mean())}


if __name__ == "__main__":
    main(train, Settings, description=__doc__, presets=PRESETS)
