"""Small pairs of rendered digits as prepared data, and a run folder as training leaves it."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
from learning import learn

from cnn_mnist100.model import Architecture, build, preprocess
from cnn_mnist100.pairs import CLASSES, FOLDS, make_pairs
from core.data.normalize import Normalize
from core.data.prepared import Arrays, save_prepared
from core.data.synthetic import digits
from core.layers import Layer
from core.training.checkpoint import save_checkpoint

NOTICE = "SYNTHETIC data: made by a test"
TINY = Architecture(filters=(4, 8), hidden=(16,))


@lru_cache(maxsize=1)
def make_arrays() -> Arrays:
    """400 training pairs and 100 test pairs."""
    images, labels = digits(400, seed=0)
    train = make_pairs(images[:300], labels[:300], 4, seed=0, folds=FOLDS)
    test = make_pairs(images[300:], labels[300:], 1, seed=0)
    names = ("train_images", "train_labels", "train_folds", "test_images", "test_labels")
    return dict(zip(names, (*train, *test[:2]), strict=True))


def make_archive(folder: Path, parts: tuple[str, ...] = ("train", "test"), **changes: object) -> Path:
    """Write prepared data that holds the given parts only, so that whoever opens another one fails."""
    info = {
        "dataset": "mnist100",
        "origin": "synthetic",
        "complete": False,
        "notice": NOTICE,
        "classes": list(CLASSES),
        "command": "python cnn_mnist100/setup_data.py --synthetic",
        "digits_shared": False,
    }
    arrays = {name: array for name, array in make_arrays().items() if name.startswith(parts)}
    save_prepared(folder, arrays, info | changes)
    return folder


def make_run(folder: Path, architecture: Architecture = TINY, weights: Layer | None = None, **changes: object) -> Path:
    """Write best.safetensors, with weights as they were drawn, and config.json; `changes` replace parts of them."""
    description = {
        "kind": "weights",
        "data": {"dataset": "mnist100"},
        "notice": NOTICE,
        "about": {
            "architecture": architecture.to_dict(),
            "normalize": {"mean": 0.13, "std": 0.31},
            "classes": list(CLASSES),
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / "best.safetensors", (weights or build(architecture)).state_dict(), description | changes)
    (folder / "config.json").write_text(json.dumps({"data": {"dataset": "mnist100"}}))
    return folder


def make_trained_run(folder: Path) -> Path:
    """A run that has learned to read numbers."""
    architecture = Architecture(filters=(8, 16), hidden=(64,), dropout=0.0, head="digits")
    normalize = Normalize(0.13, 0.31)
    images, labels, _ = make_pairs(*digits(6000, seed=0), per_class=30, seed=0)
    network = build(architecture)
    learn(network, lambda rows: preprocess(images[rows], normalize), labels.astype(np.int64), steps=250)
    return make_run(folder, architecture, network)


def some_pictures(n: int) -> np.ndarray:
    """Test pairs uint8 (n, 28, 56)."""
    return make_arrays()["test_images"][:n]
