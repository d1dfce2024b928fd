"""Train a network to recognise handwritten characters and math symbols.

    python emnist/training.py                            # the classic 784-256-128-51; see README.md for the presets
    python emnist/training.py --preset cnn
    python emnist/training.py --hidden 512 --activation gelu --class-weights root --name mine

The data must have been prepared by setup_data.py; test_model.py measures the result on the test images. Settings that
have been trained on the same data before are not trained again: their weights are taken from that run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from core.backend import Array, select_device, to_device
    from core.cli import main
    from core.data.normalize import Normalize
    from core.data.prepared import check_samples, load_prepared
    from core.data.splits import split_indices
    from core.layers import Parallel, measure_statistics
    from core.losses import accuracy, loss_and_accuracy, softmax_cross_entropy
    from core.predict import predict
    from core.random import Stream
    from core.training.history import Row
    from core.training.run import Run, Watch
    from core.training.settings import make_optimizer, make_schedule
    from core.workers import set_threads
    from emnist.cache import fingerprint, note_finished, take_from_cache
    from emnist.model import SIDE, build, preprocess
    from emnist.settings import PRESETS, Settings, WeightingName
    from emnist.trained import DATASET
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

PLAIN_IMAGES = 8000  # training images without distortions that set the statistics of BatchNorm before a validation


def start(settings: Settings) -> None:
    """Train, unless these settings have been trained on these data before."""
    train(settings)


def train(settings: Settings, *, watch: Watch | None = None) -> Row:
    """Train as `settings` say; everything goes to runs/<name>. Returns the best epoch's row of the history."""
    device = select_device(settings.device)
    set_threads(settings.threads)
    images, labels, info = load(settings)
    folder, key = PROJECT / "runs" / settings.run_name, fingerprint(settings, info)
    if not (settings.retrain or settings.resume) and (found := take_from_cache(PROJECT / "runs", folder, key)):
        if info["notice"]:
            print(f"NOTICE: {info['notice']}")
        return found

    rows, held_out = split_indices(labels, settings.validation, settings.seed)
    normalize = Normalize.fit(images[rows])
    architecture, stream = settings.architecture(len(info["classes"])), Stream(settings.seed)
    network = build(architecture, seed=settings.seed, stream=stream).to(device)
    model = Parallel(network)
    model.skip_input_grad()
    optimizer = make_optimizer(settings, model)
    schedule = make_schedule(settings, len(rows))
    weights = weigh_classes(labels[rows], architecture.classes, settings.class_weights)
    weights = weights if weights is None else to_device(weights, device)
    about = {"architecture": architecture.to_dict(), "normalize": normalize.to_dict(), "classes": info["classes"]}
    some = np.random.default_rng(settings.seed).permutation(rows)[:PLAIN_IMAGES]
    x_plain = to_device(preprocess(images[some], normalize), device)
    x_held_out = to_device(preprocess(images[held_out], normalize), device)
    labels_held_out = to_device(labels[held_out], device)
    pictures, augment, smoothing = images[..., None], settings.augmentation(), settings.label_smoothing

    with Run(
        settings, model, optimizer, schedule, folder=folder, stream=stream, data_info=info, about=about, watch=watch
    ) as run:
        for _ in run.epochs():
            for x, t in run.batches(pictures, labels, rows=rows, normalize=normalize, augment=augment):
                logits = model.forward(x, train=True)
                loss, dlogits = softmax_cross_entropy(logits, t, smoothing, class_weights=weights)
                model.backward(dlogits)
                run.step(loss, accuracy=accuracy(logits, t))
            with run.averaged():
                measure_statistics(network, x_plain)  # those of the augmented images are others
                run.validate(**loss_and_accuracy(predict(model, x_held_out), labels_held_out))
    note_finished(folder, key, run.best)
    return run.best


def load(settings: Settings) -> tuple[Array, Array, dict[str, Any]]:
    """The training images uint8 (N, 28, 28), their labels int64 (N,), and the info of the data."""
    folder = Path(settings.data) if settings.data else PROJECT / "archive" / DATASET
    prepared = load_prepared(folder, ["train_images", "train_labels"])
    check_samples(folder, prepared.arrays["train_images"], (SIDE, SIDE))
    return prepared.arrays["train_images"], prepared.arrays["train_labels"].astype(np.int64), prepared.info


def weigh_classes(labels: Array, classes: int, weighting: WeightingName) -> Array | None:
    """How much a sample of each class counts, float32 (classes,) with a mean of 1 over the samples; None for all alike.

    "balanced" gives every class the same weight in total; "root" lies, by the geometric mean, half-way there.
    """
    if weighting == "none":
        return None
    share = np.maximum(np.bincount(labels, minlength=classes), 1) / len(labels)
    weights = 1 / (share if weighting == "balanced" else np.sqrt(share))
    normalized: Array = (weights / weights[labels].mean()).astype(np.float32)
    return normalized


if __name__ == "__main__":
    main(start, Settings, description=__doc__, presets=PRESETS)
