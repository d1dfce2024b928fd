"""Batches of images made on a GPU, of a data set that lies there: in a step nothing is sent to it, and nothing waits.

They are the batches that the CPU's workers would make, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core import ops
from core.backend import Array, array_module, free_gpu_memory, to_device
from core.data.augment import Compose, Cutout, HorizontalFlip, RandomCrop, Transform, with_channels
from core.data.normalize import Normalize, unit_of
from core.ops.cpu.augment import AUGMENT_DRAWS, PixelAugment
from core.random import Stream

AUGMENT_SALT = 0  # Stream.new_salt begins with 1
SHARE_OF_MEMORY = 0.5  # of what is free on the GPU: more than this the data may not take from the network
IN_ONE_PASS = (RandomCrop, HorizontalFlip, Cutout)  # any of them, in this order


class DeviceFeed:
    """Gathers, augments and normalises on the GPU what `BatchReader` would on the CPU; see `fits`.

    The arrays are copied there once, so later changes to them go unnoticed.
    """

    def __init__(
        self, arrays: Sequence[Array], stream: Stream, normalize: Normalize | None, augment: object | None
    ) -> None:
        images, *others = map(np.asarray, arrays)  # views also of memory-mapped files
        shape = with_channels(images.shape[1:])
        change = pixel_augment(augment, shape)
        assert change is not None
        self._stream, self._change, self._shape = stream, change, images.shape[1:]
        self._unit, *statistics = factors(normalize or Normalize(), augmented=augment is not None)
        self._mean, self._inverse_std = (to_device(np.broadcast_to(s, shape[-1:]).copy(), "gpu") for s in statistics)
        self._images = to_device(np.ascontiguousarray(images).reshape(len(images), *shape), "gpu")
        self._others = [to_device(a, "gpu", np.int64 if a.dtype.kind in "iu" else None) for a in others]

    @staticmethod
    def fits(arrays: Sequence[Array], normalize: Normalize | None, augment: object | None) -> bool:
        """Whether the inputs are uint8 images, the kernel can do all that is asked for, and the GPU has the memory."""
        from core.kernels.arguments import MOST_ELEMENTS  # late: training on a CPU needs no kernels

        images = arrays[0]
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.size > MOST_ELEMENTS:
            return False
        if normalize is not None and normalize.mean.ndim and normalize.mean.shape != images.shape[3:]:
            return False
        if pixel_augment(augment, with_channels(images.shape[1:])) is None:
            return False
        return sum(array.nbytes for array in arrays) <= SHARE_OF_MEMORY * free_gpu_memory()

    def read(self, rows: Array) -> tuple[Array, ...]:
        """The samples at `rows` (n,), on either device, for the batch that the stream stands at."""
        rows = to_device(rows, "gpu")
        return self._read_images(rows), *(array[rows] for array in self._others)

    def _read_images(self, rows: Array) -> Array:
        xp, op = array_module(rows), ops.of(rows)
        draws = xp.empty((len(rows), AUGMENT_DRAWS), np.uint16)
        op.draw_uint16(self._stream.draws(AUGMENT_SALT, *draws.shape), draws)
        x = xp.empty((len(rows), *self._images.shape[1:]), np.float32)  # (n, H, W, C)
        op.augment_images(self._images, rows, draws, self._change, self._unit, self._mean, self._inverse_std, x)
        return x.reshape(len(rows), *self._shape)  # type: ignore[no-any-return]


def factors(normalize: Normalize, augmented: bool) -> tuple[np.float32, Array, Array]:
    """Unit, mean and inverse deviation of (pixel * unit - mean) * inverse, rounded where `Normalize` rounds.

    The CPU brings pixels to 0 ... 1 before it augments them; without augmentation it normalises them as they are.
    """
    unit, one = np.float32(unit_of(np.empty(0, np.uint8))), np.float32(1)
    if augmented:
        return unit, normalize.mean, one / normalize.std
    return one, normalize.mean / unit, unit / normalize.std


def pixel_augment(augment: object | None, shape: tuple[int, int, int]) -> PixelAugment | None:
    """The augmentation of images (H, W, C) in the kernel's words; None when it is more than the kernel can do."""
    stages: Sequence[Transform] = augment.stages if isinstance(augment, Compose) else []
    if (augment is not None and not isinstance(augment, Compose)) or not in_order(stages):
        return None
    found: dict[str, Any] = {}
    fills, column = set(), 0
    for stage in stages:
        if isinstance(stage, RandomCrop):
            found |= {"padding": stage.padding, "reflect": stage.border == "reflect", "shift_at": column}
            if stage.border == "constant":
                fills.add(stage.fill)
            elif stage.padding >= min(shape[:2]):
                return None  # the CPU says what is wrong
        elif isinstance(stage, HorizontalFlip):
            found |= {"flip": stage.probability, "flip_at": column}
        elif isinstance(stage, Cutout):
            found |= {"cutout": stage.size, "hole_at": column}
            fills.add(stage.fill)
        column += stage.columns(shape)
    return PixelAugment(**found, fill=max(fills, default=0.0)) if len(fills) <= 1 else None


def in_order(stages: Sequence[Transform]) -> bool:
    """Whether these are some of the transforms of IN_ONE_PASS, each once at most, in that order."""
    if not all(type(stage) in IN_ONE_PASS for stage in stages):
        return False
    places = [IN_ONE_PASS.index(type(stage)) for stage in stages]
    return places == sorted(set(places))
