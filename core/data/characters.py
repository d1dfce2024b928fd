"""Rendered characters that look a little like MNIST and EMNIST: stand-ins for machines without a network.

A few prototypes of each character are drawn with the font that comes with Pillow, in several stroke widths, and then
distorted by the transforms of `core.data.warp`, each image differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from core.backend import Array
from core.data.sampling import sample_bilinear
from core.data.thread_buffers import ThreadBuffers
from core.data.warp import Affine, Elastic, Warp

SIZE, BOX = 28, 20  # as in MNIST: the character fits a box of 20 pixels and its centre of mass is the image's centre
FONT_SIZE = 160
STROKE_WIDTHS = (0, 3, 5)  # pixels added all round, in a font of FONT_SIZE
LARGEST_ENLARGEMENT = 1.6  # of a small character such as "-" relative to a digit, lest it fill the box
CHUNK = 256

HANDWRITING = Warp([Affine(rotate=12, scale=0.08, stretch=0.15, shear=15), Elastic(alpha=32, sigma=4)])


def characters(chars: Sequence[str], n: int, seed: int) -> tuple[Array, Array]:
    """`n` images of rendered characters and the index in `chars` of each, in random order.

    Returns uint8 (n, 28, 28), white on black, and int64 (n,); the labels are as evenly spread as n allows. The same
    arguments give the same images. Raises ValueError for an empty `chars` or a negative n.
    """
    if not chars or n < 0:
        raise ValueError(f"characters expected characters to draw and n >= 0, got {len(chars)} and {n}")
    rng = np.random.default_rng([seed, n, len(chars)])
    labels = balanced_labels(n, len(chars), rng)
    shapes = np.stack([prototypes(char) for char in chars])  # (K, V, 28, 28)
    variants = rng.integers(shapes.shape[1], size=n)
    images = np.empty((n, SIZE, SIZE), np.uint8)
    work = ThreadBuffers()
    for start in range(0, n, CHUNK):
        part = slice(start, start + CHUNK)
        images[part] = handwrite(shapes[labels[part], variants[part]], rng, work)
    return images, labels


def handwrite(shapes: Array, rng: np.random.Generator, work: ThreadBuffers) -> Array:
    """Distort, centre and roughen clean shapes; float32 (n, 28, 28) of 0 to 1 in, uint8 out."""
    ink = np.ascontiguousarray(shapes[..., None])  # (n, 28, 28, 1)
    draws = rng.random((len(ink), HANDWRITING.columns((SIZE, SIZE, 1))), np.float32)
    HANDWRITING.apply(ink, draws, out=ink)
    centre_by_mass(ink, work)
    pressure = rng.uniform(1.1, 1.7, (len(ink), 1, 1, 1)).astype(np.float32)
    grain = np.float32(0.06) * rng.standard_normal(ink.shape, np.float32)
    ink *= pressure + grain  # noise on the strokes only: the background of MNIST is clean
    images: Array = (np.clip(ink[..., 0], 0, 1) * 255).astype(np.uint8)
    return images


def centre_by_mass(images: Array, work: ThreadBuffers) -> None:
    """Shift each image (n, H, W, 1), in place, by whole pixels so that its centre of mass is nearest to the centre."""
    n, H, W, _ = images.shape
    mass = images.sum(axis=(1, 2, 3)) + np.float32(1e-6)
    y, x = np.arange(H, dtype=np.float32), np.arange(W, dtype=np.float32)
    down = np.rint(images[..., 0].sum(axis=2) @ y / mass - (H - 1) / 2)
    right = np.rint(images[..., 0].sum(axis=1) @ x / mass - (W - 1) / 2)
    rows = np.broadcast_to((y[:, None] + down[:, None, None]), (n, H, W)).astype(np.float32)
    columns = np.broadcast_to((x + right[:, None, None]), (n, H, W)).astype(np.float32)
    sample_bilinear(images, rows, columns, images, work, border="constant", fill=0.0)


@lru_cache(maxsize=256)
def prototypes(char: str) -> Array:
    """The clean character in all stroke widths, float32 (V, 28, 28) of 0 to 1, centred."""
    font = ImageFont.load_default(FONT_SIZE)
    assert isinstance(font, ImageFont.FreeTypeFont), "this Pillow was built without FreeType"
    _, top, _, bottom = font.getbbox("0")
    digit_height = bottom - top
    return np.stack([draw_character(char, font, width, digit_height) for width in STROKE_WIDTHS])


def draw_character(char: str, font: ImageFont.FreeTypeFont, stroke_width: int, digit_height: float) -> Array:
    """One clean character, shrunk to fit the box of MNIST, float32 (28, 28)."""
    left, top, right, bottom = font.getbbox(char, stroke_width=stroke_width)
    width, height = right - left, bottom - top
    if width <= 0 or height <= 0:
        raise ValueError(f"the font draws nothing for {char!r}")
    large = Image.new("L", (int(width), int(height)))
    ImageDraw.Draw(large).text((-left, -top), char, fill=255, font=font, stroke_width=stroke_width)
    scale = min(BOX / max(width, height), LARGEST_ENLARGEMENT * BOX / digit_height)
    small = large.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.LANCZOS)
    canvas = Image.new("L", (SIZE, SIZE))
    canvas.paste(small, ((SIZE - small.width) // 2, (SIZE - small.height) // 2))
    return np.asarray(canvas, np.float32) / 255


def balanced_labels(n: int, classes: int, rng: np.random.Generator) -> Array:
    """`n` labels, every class floor(n / classes) times or once more, shuffled; int64."""
    return rng.permutation(np.arange(n, dtype=np.int64) % classes)
