"""Small colour pictures of textured shapes on gradients: stand-ins for CIFAR-10 on machines without a network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from core.backend import Array
from core.data.characters import balanced_labels

SIZE = 32
EDGE = 0.06  # width of the soft edge, in units of half the image
CHUNK = 500


def textured_shapes(n: int, seed: int) -> tuple[Array, Array]:
    """`n` pictures of the classes SHAPE_CLASSES in random colours, places, sizes and angles, and their labels.

    Returns uint8 (n, 32, 32, 3) and int64 (n,), the labels as evenly spread as n allows. Colours, brightness and noise
    are the same for all classes. The same arguments give the same pictures.
    """
    rng = np.random.default_rng([seed, n])
    labels = balanced_labels(n, len(SHAPE_CLASSES), rng)
    images = np.empty((n, SIZE, SIZE, 3), np.uint8)
    for start in range(0, n, CHUNK):
        part = slice(start, start + CHUNK)
        images[part] = paint(labels[part], rng)
    return images, labels


def paint(labels: Array, rng: np.random.Generator) -> Array:
    """One picture for each label, uint8 (n, 32, 32, 3)."""
    n = len(labels)
    x, y = random_coordinates(n, rng)
    cover = np.clip(0.5 - signed_distances(labels, x, y) / EDGE, 0, 1)[..., None]  # (n, 32, 32, 1), 1 inside
    image = cover * gradients(n, rng) + (1 - cover) * gradients(n, rng)
    image += np.float32(0.03) * rng.standard_normal(image.shape, np.float32)
    painted: Array = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    return painted


def random_coordinates(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """The coordinates of every pixel in the frame of its shape, which has a radius of 1; float32 (n, 32, 32) each."""
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
    radius = rng.uniform(0.45, 0.8, (n, 1, 1)).astype(np.float32)
    angle = rng.uniform(-0.4, 0.4, (n, 1, 1)).astype(np.float32)
    right, down = (rng.uniform(-0.25, 0.25, (2, n, 1, 1))).astype(np.float32)
    x, y = axis[None, None, :] - right, axis[None, :, None] - down
    cos, sin = np.cos(angle) / radius, np.sin(angle) / radius
    return x * cos + y * sin, y * cos - x * sin


def gradients(n: int, rng: np.random.Generator) -> Array:
    """Smooth transitions between two random colours, with fine stripes over them; float32 (n, 32, 32, 3)."""
    colours = rng.random((2, n, 1, 1, 3), np.float32)
    angle, phase = 2 * np.pi * rng.random((2, n, 1, 1), np.float32)
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
    along = np.cos(angle) * axis[None, None, :] + np.sin(angle) * axis[None, :, None]  # (n, 32, 32)
    stripes = rng.uniform(0, 0.08, (n, 1, 1)).astype(np.float32) * np.sin(25 * along + phase)
    share = ((along + 1.5) / 3)[..., None]
    mixed: Array = colours[0] * share + colours[1] * (1 - share) + stripes[..., None]
    return mixed


def signed_distances(labels: Array, x: Array, y: Array) -> Array:
    """How far each pixel lies outside the shape of its picture, negative inside; (n, 32, 32)."""
    result = np.empty_like(x)
    for label, shape in enumerate(SHAPES.values()):
        which = labels == label
        result[which] = shape(x[which], y[which])
    return result


def box(x: Array, y: Array) -> Array:
    """The distance from the centre at which squares are the circles."""
    distance: Array = np.maximum(np.abs(x), np.abs(y))
    return distance


def bar(across: Array, along: Array) -> Array:
    """A bar of length 2 about the axis where `across` is 0."""
    distance: Array = np.maximum(np.abs(across) - 0.28, np.abs(along) - 1)
    return distance


# The distance from the outline of each shape of radius 1, negative inside, good enough near the outline.
SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    "disc": lambda x, y: np.hypot(x, y) - 0.9,
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 0.75) - 0.2,
    "square": lambda x, y: box(x, y) - 0.8,
    "frame": lambda x, y: np.abs(box(x, y) - 0.7) - 0.18,
    "triangle": lambda x, y: np.maximum(np.abs(x) * 0.87 + y * 0.5, -y) - 0.5,
    "cross": lambda x, y: np.minimum(bar(x, y), bar(y, x)),
    "star": lambda x, y: np.hypot(x, y) - 0.65 - 0.3 * np.cos(5 * np.arctan2(y, x)),
    "bars": lambda x, y: np.maximum(0.2 - np.abs(np.mod(x, 0.8) - 0.4), box(x, y) - 1),
    "checkers": lambda x, y: np.maximum(np.sin(4.5 * x) * np.sin(4.5 * y) * 0.25, box(x, y) - 1),
    "dots": lambda x, y: np.maximum(
        np.hypot(np.mod(x, 0.66) - 0.33, np.mod(y, 0.66) - 0.33) - 0.22, np.hypot(x, y) - 1.05
    ),
}
SHAPE_CLASSES = tuple(SHAPES)
