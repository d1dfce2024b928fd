"""Augmentation: train on images that might have been drawn, instead of on the same images again.

    augment = Compose([Affine(rotate=10, scale=0.1, shift=2), Elastic(alpha=34, sigma=4)])
    x = augment(images, rng)                                  # float32 of 0 to 1, (N, H, W) or (N, H, W, C)

A transform is a recipe without state. It says how many random numbers an image needs (`columns`) and what to do with
them (`apply`), so the draws of a batch are one table with a row for each image. Worker threads that share a batch take
the rows of their images, and the result does not depend on who computes which:

    draws = stream.uint16(salt, len(shard), augment.columns(shard.shape[1:]))
    x = augment.apply(shard, draws)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from core.backend import Array
from core.data.colour import ColourJitter
from core.data.pixels import Cutout, HorizontalFlip, RandomCrop
from core.data.thread_buffers import ThreadBuffers
from core.data.warp import Affine, Elastic, Warp

__all__ = ["Affine", "ColourJitter", "Compose", "Cutout", "Elastic", "HorizontalFlip", "RandomCrop", "Transform"]

CHUNK = 2**16  # values; images go through all transforms in groups of this size, which stay in the cache


class Transform(Protocol):
    """What `Compose` asks of a transform. Affine and Elastic are put together into a Warp first."""

    def columns(self, shape: tuple[int, int, int]) -> int:
        """How many numbers an image of `shape` (H, W, C) draws."""

    def apply(self, images: Array, draws: Array, out: Array) -> None:
        """Write the transformed images into `out`; both are (n, H, W, C) float32 and may be the same array.

        `draws` (n, columns) is float32, uniform in [0, 1); row i decides what happens to image i.
        """


class Compose:
    """Several transforms, one after the other.

    Neighbouring Affines with at most one Elastic after them become a single interpolation, which is faster and blurs
    once instead of several times. May be called from several threads: each has buffers of its own.
    """

    def __init__(self, transforms: Sequence[Transform | Affine | Elastic]) -> None:
        self.transforms = tuple(transforms)
        self.stages = join_warps(self.transforms)
        self._work = ThreadBuffers()

    def __repr__(self) -> str:
        return f"Compose({list(self.transforms)})"

    def columns(self, shape: Sequence[int]) -> int:
        """How many numbers an image of `shape` (H, W) or (H, W, C) draws."""
        return sum(stage.columns(with_channels(shape)) for stage in self.stages)

    def __call__(self, images: Array, rng: np.random.Generator) -> Array:
        """Transform a batch with numbers from `rng`, the first row for the first image; see `apply`."""
        return self.apply(images, rng.random((len(images), self.columns(images.shape[1:])), np.float32))

    def apply(self, images: Array, draws: Array) -> Array:
        """Transform float32 images (N, H, W) or (N, H, W, C), pixel values from 0 to 1, which stay as they are.

        `draws` (N, columns) is uniform: float32 in [0, 1), or uint16, which stands for 65536 times as much. Returns
        float32 of the same shape in a buffer that this thread's next call overwrites. Raises TypeError for another
        dtype (an accidental float64 would be slow), ValueError for shapes that do not fit.
        """
        if images.dtype != np.float32:
            raise TypeError(f"Compose expected float32 images, got {images.dtype}")
        if images.ndim not in (3, 4):
            raise ValueError(f"Compose expected images (N, H, W) or (N, H, W, C), got {images.shape}")
        shape = with_channels(images.shape[1:])
        expected = (len(images), self.columns(shape))
        if draws.shape != expected:
            raise ValueError(f"Compose expected draws {expected} for images {images.shape}, got {draws.shape}")
        out = self._work.array("out", images.shape)
        before, after = images.reshape(-1, *shape), out.reshape(-1, *shape)
        step = max(1, CHUNK // max(1, int(np.prod(shape))))
        for start in range(0, len(images), step):
            part = slice(start, start + step)
            self._apply_chunk(before[part], uniform(draws[part]), after[part])
        return out

    def _apply_chunk(self, images: Array, draws: Array, out: Array) -> None:
        if not self.stages:
            out[...] = images
        first = 0
        for stage in self.stages:
            last = first + stage.columns(images.shape[1:])
            stage.apply(images, draws[:, first:last], out)
            images, first = out, last


def join_warps(transforms: Sequence[Transform | Affine | Elastic]) -> list[Transform]:
    """Replace each run `Affine, Affine ..., Elastic` by one Warp; an Elastic ends a run, so does another border."""
    stages: list[Transform] = []
    run: list[Affine | Elastic] = []

    def end_run() -> None:
        if run:
            stages.append(Warp(run))
            run.clear()

    for transform in transforms:
        if not isinstance(transform, Affine | Elastic):
            end_run()
            stages.append(transform)
            continue
        if run and (run[-1].border, run[-1].fill) != (transform.border, transform.fill):
            end_run()
        run.append(transform)
        if isinstance(transform, Elastic):
            end_run()
    end_run()
    return stages


def with_channels(shape: Sequence[int]) -> tuple[int, int, int]:
    """(H, W) as (H, W, 1), and (H, W, C) as it is."""
    H, W, C = (*shape, 1) if len(shape) == 2 else shape
    return H, W, C


def uniform(draws: Array) -> Array:
    """Draws as float32 in [0, 1)."""
    if draws.dtype == np.uint16:
        draws = np.multiply(draws, np.float32(2**-16), dtype=np.float32)
    return draws
