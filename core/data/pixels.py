"""Augmentations that move or blank whole pixels, so that no pixel value changes: random crop, flip, cutout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided

from core.backend import Array
from core.data.thread_buffers import ThreadBuffers


@dataclass(frozen=True)
class RandomCrop:
    """Pad each image by `padding` pixels on all sides and cut a window of the original size from a random place.

    border: the padding is of value `fill` ("constant"), or the image mirrored at its border pixels ("reflect"). With a
    constant border this is a shift by whole pixels, up to `padding` along each axis. Raises ValueError for another
    border or a negative padding.
    """

    padding: int
    border: Literal["constant", "reflect"] = "constant"
    fill: float = 0.0
    _work: ThreadBuffers = field(default_factory=ThreadBuffers, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.padding < 0 or self.border not in ("constant", "reflect"):
            raise ValueError(f"RandomCrop expected a padding >= 0 and border constant or reflect, got {self}")

    def columns(self, shape: tuple[int, int, int]) -> int:
        """How many numbers an image of `shape` (H, W, C) draws."""
        return 2

    def apply(self, images: Array, draws: Array, out: Array) -> None:
        """Write the windows into `out`, both (n, H, W, C) float32 and possibly the same array."""
        n, H, W, C = images.shape
        places = 2 * self.padding + 1
        top, left = np.floor(draws * places).astype(np.intp).T
        padded = self._pad(images)
        by_image, by_row, by_column, by_channel = padded.strides
        # Every window of every image, without a copy; a row of a window is one run of W C floats.
        windows = as_strided(
            padded, (n, places, places, H, W * C), (by_image, by_row, by_column, by_row, by_channel), writeable=False
        )
        out.reshape(n, H, W * C)[...] = windows[np.arange(n), top, left]

    def _pad(self, images: Array) -> Array:
        """(n, H + 2 padding, W + 2 padding, C)."""
        n, H, W, C = images.shape
        p = self.padding
        if self.border == "reflect" and p >= min(H, W):
            raise ValueError(f"RandomCrop can reflect at most {min(H, W) - 1} pixels of {H}x{W}, got padding={p}")
        padded = self._work.array("padded", (n, H + 2 * p, W + 2 * p, C))
        if self.border == "constant":
            padded[...] = self.fill
        padded[:, p : p + H, p : p + W] = images
        if self.border == "reflect" and p > 0:
            middle = padded[:, :, p : p + W]
            middle[:, :p], middle[:, p + H :] = images[:, p:0:-1], images[:, -2 : -2 - p : -1]
            padded[:, :, :p], padded[:, :, p + W :] = middle[:, :, p:0:-1], middle[:, :, -2 : -2 - p : -1]
        return padded


@dataclass(frozen=True)
class HorizontalFlip:
    """Exchange left and right in a share `probability` of the images. Raises ValueError for one outside 0 ... 1."""

    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"HorizontalFlip expected a probability from 0 to 1, got {self.probability}")

    def columns(self, shape: tuple[int, int, int]) -> int:
        """How many numbers an image of `shape` (H, W, C) draws."""
        return 1

    def apply(self, images: Array, draws: Array, out: Array) -> None:
        """Write the images, mirrored or not, into `out`, both (n, H, W, C) float32 and possibly the same array."""
        chosen = draws[:, 0] < self.probability
        mirrored = images[chosen][:, :, ::-1]
        if out is not images:
            out[...] = images
        out[chosen] = mirrored


@dataclass(frozen=True)
class Cutout:
    """Blank one square of `size` x `size` pixels, centred on a random pixel and cut off at the image's border.

    fill: the value of the square. DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with
    Cutout" (2017), section 3. Raises ValueError for a negative size.
    """

    size: int
    fill: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"Cutout expected a size >= 0, got {self.size}")

    def columns(self, shape: tuple[int, int, int]) -> int:
        """How many numbers an image of `shape` (H, W, C) draws."""
        return 2

    def apply(self, images: Array, draws: Array, out: Array) -> None:
        """Write the images with a hole into `out`, both (n, H, W, C) float32 and possibly the same array."""
        n, H, W, C = images.shape
        rows = self._inside(draws[:, :1], H)  # (n, H)
        columns = np.repeat(self._inside(draws[:, 1:], W), C, axis=1)  # (n, W * C)
        hole = rows[:, :, None] & columns[:, None, :]  # (n, H, W * C)
        flat = out.reshape(n, H, W * C)
        np.multiply(images.reshape(n, H, W * C), ~hole, out=flat)
        if self.fill != 0:
            flat += np.multiply(hole, np.float32(self.fill))

    def _inside(self, draws: Array, length: int) -> Array:
        """Whether each coordinate of an axis lies in the square, bool (n, length)."""
        first = np.floor(draws * length) - self.size // 2
        coordinates = np.arange(length, dtype=np.float32)
        inside: Array = (coordinates >= first) & (coordinates < first + self.size)
        return inside
