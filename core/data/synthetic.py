"""Stand-ins for the real data sets, made on the spot without any network; nothing trained on them is a real result.

Whoever prepares them must say so: `info["origin"] = "synthetic"` and a notice that names the kind of stand-in. All are
deterministic for a seed, and their labels are as evenly spread over the classes as the number of samples allows.
"""

from __future__ import annotations

import string

import numpy as np

from core.backend import Array
from core.data.characters import balanced_labels, characters
from core.data.drawings import STROKE_CLASSES, strokes
from core.data.shapes import SHAPE_CLASSES, textured_shapes

__all__ = ["SHAPE_CLASSES", "STROKE_CLASSES", "characters", "digits", "features", "strokes", "textured_shapes"]


def digits(n: int, seed: int) -> tuple[Array, Array]:
    """Rendered digits in the format of MNIST: uint8 (n, 28, 28), white on black, and int64 labels (n,), 0 to 9."""
    return characters(string.digits, n, seed)


def features(n: int, seed: int, columns: int = 57, classes: int = 10, spread: float = 3.0) -> tuple[Array, Array]:
    """Rows of Gaussian noise around one centre a class, in columns of very different scales, as audio features are.

    Returns float32 (n, columns) and int64 (n,). The centres lie about `spread` standard deviations of the noise apart,
    and are the same for every seed, so that a training and a test set with different seeds belong together.
    """
    world = np.random.default_rng([columns, classes])
    centres = world.normal(0, spread / np.sqrt(2 * columns), (classes, columns))
    scales, offsets = 10.0 ** world.uniform(-2, 4, columns), world.normal(0, 3, columns)
    rng = np.random.default_rng([seed, n, columns])
    labels = balanced_labels(n, classes, rng)
    rows = (centres[labels] + rng.normal(size=(n, columns)) + offsets) * scales
    return rows.astype(np.float32), labels
