"""Augmentation on a GPU, of a data set that lies there; see `core/kernels/augment.cu`."""

from __future__ import annotations

from core.backend import Array
from core.kernels import THREADS, blocks_for, launch
from core.ops.cpu.augment import AUGMENT_DRAWS, PixelAugment
from core.random import UINT16_PER_BLOCK, Draws

__all__ = ["AUGMENT_DRAWS", "PixelAugment", "augment_images", "draw_uint16", "mirror_images"]


def draw_uint16(draws: Draws, out: Array) -> None:
    """See `core.ops.cpu.augment`, as for all below."""
    launch(
        "uniform_draws",
        blocks_for(draws.rows * -(-draws.width // UINT16_PER_BLOCK)),
        THREADS,
        out=out,
        seed=draws.seed,
        salt=draws.salt,
        first_block=draws.first_block,
        batch=draws.batch,
        epoch=draws.epoch,
    )


def augment_images(
    images: Array,
    rows: Array,
    draws: Array,
    change: PixelAugment,
    unit: float,
    mean: Array,
    inverse_std: Array,
    y: Array,
) -> None:
    """Fill y (N, H, W, C) with normalised images, changed as drawn."""
    launch(
        "augment_forward",
        blocks_for(y.size),
        THREADS,
        images=images,
        rows=rows,
        draws=draws,
        mean=mean,
        inverse_std=inverse_std,
        y=y,
        padding=change.padding,
        reflect=change.reflect,
        flip=change.flip,
        cutout=change.cutout,
        fill=change.fill,
        shift_at=change.shift_at,
        flip_at=change.flip_at,
        hole_at=change.hole_at,
        unit=unit,
    )


def mirror_images(x: Array, chosen: Array) -> None:
    """See `core.ops.cpu.augment`. By a mask as an index, CuPy would wait for the GPU to count what is chosen."""
    launch("mirror_images", blocks_for(x.size // 2), THREADS, x=x, chosen=chosen)
