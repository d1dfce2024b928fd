"""The prepared training images, and which of them are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cifar.model import as_colour
from core.backend import Array
from core.data.normalize import Normalize
from core.data.prepared import load_prepared
from core.data.splits import split_indices
from core.errors import UserError

PROJECT = Path(__file__).resolve().parent


class TrainingImages(NamedTuple):
    """The training images; those that test_model.py measures on stay closed."""

    images: Array
    """uint8 (N, H, W, C)."""
    labels: Array
    """int64 (N,)."""
    rows: Array
    """Indices of the images to train on."""
    held_out: Array
    """Indices of the images that choose the best epoch; there may be none."""
    normalize: Normalize
    """The statistics of each channel of the images to train on."""
    info: dict[str, Any]
    """What the prepared data says of itself."""


def data_folder(dataset: str, data: str) -> Path:
    """The folder of the prepared data: `data`, or archive/<data set> in the project."""
    return Path(data) if data else PROJECT / "archive" / dataset


def load_training_images(dataset: str, data: str, validation: int) -> TrainingImages:
    """Read them, and hold out `validation` of them in the proportions of the classes, always the same ones.

    Raises UserError for a missing folder, another data set, or too few images.
    """
    folder = data_folder(dataset, data)
    prepared = load_prepared(folder, ["train_images", "train_labels"], setup_flags=f"--dataset {dataset}")
    if prepared.info["dataset"] != dataset:
        raise UserError(f"{folder} holds {prepared.info['dataset']}: --dataset {dataset} needs other data")
    images, labels = as_colour(prepared.arrays["train_images"]), prepared.arrays["train_labels"].astype(np.int64)
    rows, held_out = np.arange(len(labels)), np.arange(0)
    if validation:
        if validation >= len(labels):
            raise UserError(f"--validation {validation:,} leaves nothing of {len(labels):,} images to train on")
        rows, held_out = split_indices(labels, validation / len(labels), seed=0)
    return TrainingImages(images, labels, rows, held_out, Normalize.fit(images[rows], per_channel=True), prepared.info)
