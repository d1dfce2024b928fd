"""Pictures of the data: a grid of images with captions, and the gallery of the worst mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from core.report.metrics import check, worst_mistakes
from core.report.style import BLUE, GREY, ORANGE, new_figure, styled

PAGE = 8.0  # inches: the width that a grid of small images fills
GAP = 0.12  # of an image, between images
LINE = 0.16  # inches, for each line of a caption


def as_pictures(images: ArrayLike) -> NDArray[np.uint8]:
    """Images (N, H, W), (N, H, W, 1) or (N, H, W, 3) as uint8 (N, H, W, 3).

    What is not uint8 is scaled from its range to black and white; a value that is no number becomes black.
    """
    pictures = np.asarray(images)
    if pictures.ndim == 3:
        pictures = pictures[..., None]
    if pictures.ndim != 4 or pictures.shape[-1] not in (1, 3):
        raise ValueError(f"expected images (N, H, W), (N, H, W, 1) or (N, H, W, 3), got {np.shape(images)}")
    if pictures.dtype != np.uint8:
        pictures = pictures.astype(np.float64)
        finite = np.isfinite(pictures)
        low, high = (pictures[finite].min(), pictures[finite].max()) if finite.any() else (0.0, 1.0)
        pictures = ((np.where(finite, pictures, low) - low) / ((high - low) or 1.0) * 255).round().astype(np.uint8)
    return np.broadcast_to(pictures, (*pictures.shape[:3], 3))  # (N, H, W, 3)


@styled
def image_grid(
    images: ArrayLike,
    captions: Sequence[Sequence[tuple[str, str]]] | None = None,
    columns: int = 5,
    title: str = "",
    notice: str = "",
) -> Figure:
    """Images (N, H, W[, 1 or 3]) in rows of `columns`; under each its caption: one (text, colour) for each line."""
    pictures = as_pictures(images)
    n, height, width = pictures.shape[:3]
    columns = max(1, min(columns, n))
    lines = max((len(caption) for caption in captions), default=0) if captions else 0
    rows = -(-n // columns)
    side = float(np.clip(PAGE / (columns * (1 + GAP)), 1.25 if lines else 0.6, 2.5))  # inches, of an image's width
    line = LINE / side
    cell_width, cell_height = 1 + GAP, height / width + 2 * GAP + line * lines  # in widths of an image
    top = 0.55 if title else 0.0
    figure = new_figure(columns * cell_width * side + 0.3, rows * cell_height * side + top + 0.3, notice)
    axes = figure.subplots()
    axes.axis("off")
    axes.set(xlim=(0, columns * cell_width), ylim=(rows * cell_height, 0), aspect="equal")
    if title:
        axes.set_title(title)
    for i, picture in enumerate(pictures):
        x, y = (i % columns) * cell_width, (i // columns) * cell_height
        axes.imshow(picture, extent=(x, x + 1, y + height / width, y), interpolation="nearest")
        for row, (text, colour) in enumerate(captions[i] if captions else ()):
            middle = y + height / width + line * (row + 0.75)
            axes.text(x + 0.5, middle, text, color=colour, ha="center", va="center", fontsize=8)
    axes.set(xlim=(0, columns * cell_width), ylim=(rows * cell_height, 0))
    return figure


@styled
def mistakes_gallery(
    images: ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    notice: str = "",
    limit: int = 25,
    samples: str = "images",
) -> Figure:
    """The wrong answers the model was surest of: each image with the true class, the answer and its confidence.

    `samples` is what was classified, in the plural.
    """
    y, p = check(labels, probabilities)
    worst = worst_mistakes(y, p, limit)
    if not len(worst):
        figure = new_figure(6, 2, notice)
        figure.text(0.5, 0.4, f"No mistake in {len(y):,} {samples}", ha="center", fontsize=13, color=GREY)
        return figure
    captions = [
        [
            (f"true: {classes[y[i]]}", BLUE),
            (f"answer: {classes[p[i].argmax()]}", ORANGE),
            (f"{p[i].max():.1%} sure", GREY),
        ]
        for i in worst
    ]
    title = f"The {len(worst)} mistakes it was surest of" if len(worst) > 1 else "The mistake it was surest of"
    return image_grid(np.asarray(images)[worst], captions, title=title, notice=notice)
