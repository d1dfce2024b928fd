"""Train a convolutional network to read two-digit numbers.

    python cnn_mnist100/training.py                      # 16 and 32 filters
    python cnn_mnist100/training.py --preset best        # see README.md for what the presets reach
    python cnn_mnist100/training.py --filters 24 48 --hidden 128 --epochs 5 --name mine

    python cnn_mnist100/training.py --lr-find                             # which learning rate? A plot
    python cnn_mnist100/training.py --sweep lr=1e-4,3e-4,1e-3 --epochs 3  # a table, CSV and plot
    python cnn_mnist100/training.py --search 20 --epochs 3                # started twice, both share one search
    python cnn_mnist100/training.py --auto                                # search, train on the best, test

The data must have been prepared by setup_data.py; test_model.py measures the result on the test images.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from cnn_mnist100.model import Architecture, build, preprocess
    from cnn_mnist100.pairs import exchange
    from cnn_mnist100.settings import PRESETS, Settings
    from cnn_mnist100.trained import DATASET
    from core.backend import Array, select_device, to_device
    from core.cli import main
    from core.data.normalize import Normalize
    from core.data.prepared import load_prepared
    from core.errors import UserError
    from core.layers import Parallel
    from core.losses import LossFunction, accuracy, loss_and_accuracy, softmax_cross_entropy
    from core.optim import Optimizer
    from core.predict import predict
    from core.random import Stream
    from core.training.history import Row
    from core.training.run import Run, Watch
    from core.training.settings import make_optimizer, make_schedule
    from core.workers import set_threads
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C


def start(settings: Settings) -> None:
    """Train, or look for better settings first, as the flags say."""
    if settings.lr_find or settings.sweep or settings.search:
        from cnn_mnist100 import tuning  # late, because it calls `train`

        tuning.tune(settings)
    else:
        train(settings)


def train(settings: Settings, *, watch: Watch | None = None) -> Row:
    """Train as `settings` say; everything goes to runs/<name>. Returns the best epoch's row of the history."""
    pairs = load(settings)
    model, optimizer, stream = make_model(settings)
    schedule = make_schedule(settings, len(pairs.rows))
    augment, loss_of = settings.augmentation(), make_loss(settings)
    folder, about = PROJECT / "runs" / settings.run_name, describe(settings.architecture(), pairs)
    device = select_device(settings.device)
    x_held_out = to_device(preprocess(pairs.images[pairs.held_out], pairs.normalize), device)
    labels_held_out = to_device(pairs.labels[pairs.held_out], device)
    pictures = pairs.images[..., None]  # (N, 28, 56, 1)

    with Run(
        settings,
        model,
        optimizer,
        schedule,
        folder=folder,
        stream=stream,
        data_info=pairs.info,
        about=about,
        watch=watch,
    ) as run:
        for _ in run.epochs():
            batches = run.batches(pictures, pairs.labels, rows=pairs.rows, normalize=pairs.normalize, augment=augment)
            for x, t in exchange(batches, stream) if settings.exchange else batches:
                logits = model.forward(x, train=True)
                loss, dlogits = loss_of(logits, t)
                model.backward(dlogits)
                run.step(loss, accuracy=accuracy(logits, t))
            with run.averaged():
                run.validate(**loss_and_accuracy(predict(model, x_held_out), labels_held_out))
    return run.best


class Pairs(NamedTuple):
    """The prepared training pairs, and which of them are trained on."""

    images: Array
    """uint8 (N, 28, 56)."""
    labels: Array
    """int64 (N,)."""
    rows: Array
    """Indices of the pairs to train on."""
    held_out: Array
    """Indices of the pairs that validate; they share no digit with the others."""
    normalize: Normalize
    """The statistics of the pairs to train on."""
    info: dict[str, Any]
    """What the prepared data says of itself."""


def load(settings: Settings) -> Pairs:
    """The prepared training pairs; the test pairs stay closed."""
    folder = Path(settings.data) if settings.data else PROJECT / "archive" / DATASET
    prepared = load_prepared(folder, ["train_images", "train_labels", "train_folds"])
    images, labels, folds = prepared.arrays.values()
    if prepared.info["digits_shared"]:
        print("the pairs held out share digits with the others: validation figures will be better than the truth")
    rows, held_out = choose_rows(folds, settings.validation)
    return Pairs(images, labels.astype(np.int64), rows, held_out, Normalize.fit(images[rows]), prepared.info)


def choose_rows(folds: Array, validation: int) -> tuple[Array, Array]:
    """The pairs to train on and those held out: the first `validation` folds, which share no digit with the others."""
    is_held_out = folds < validation
    rows, held_out = np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
    if not (len(rows) and len(held_out)):
        raise UserError(f"{len(folds)} pairs are too few to hold some of them out: prepare more of each number")
    return rows, held_out


def make_model(settings: Settings) -> tuple[Parallel, Optimizer, Stream]:
    """The network on its device, its optimizer, and the stream that its dropout draws from."""
    set_threads(settings.threads)
    stream = Stream(settings.seed)
    network = build(settings.architecture(), seed=settings.seed, stream=stream).to(select_device(settings.device))
    model = Parallel(network)
    model.skip_input_grad()
    return model, make_optimizer(settings, model), stream


def make_loss(settings: Settings) -> LossFunction:
    """The loss as a function of logits (N, 100) and labels (N,)."""
    return partial(softmax_cross_entropy, label_smoothing=settings.label_smoothing)


def describe(architecture: Architecture, pairs: Pairs) -> dict[str, Any]:
    """What the saved weights have to say of themselves, so that test and demo can use them."""
    about = {"architecture": architecture.to_dict(), "normalize": pairs.normalize.to_dict()}
    return about | {"classes": pairs.info["classes"]}


if __name__ == "__main__":
    main(start, Settings, description=__doc__, presets=PRESETS)
