"""The batches of a training: gathered, augmented by all workers together, and put where the model is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from core.backend import Array, Device, to_device
from core.data.batches import BatchReader
from core.data.normalize import Normalize
from core.random import Stream
from core.workers import workers

AUGMENT_SALT = 0  # Stream.new_salt begins with 1


@runtime_checkable
class RowAugment(Protocol):
    """An augmentation with so many random numbers a row, such as `core.data.augment.Compose`; see there."""

    def columns(self, shape: Sequence[int]) -> int:
        """How many numbers a sample of this shape needs."""

    def apply(self, images: Array, draws: Array) -> Array:
        """The augmented samples; row i of `draws`, uint16, decides what happens to sample i."""


Augment = RowAugment | Callable[[Array, np.random.Generator], Array]


class Feed:
    """Reads chosen samples of `arrays` (inputs, labels, ...) for the batch that `stream` stands at.

    A RowAugment is applied by every worker to its part of the batch; the draws belong to the sample, so the number of
    workers changes nothing. Any other augmentation is called with the whole batch and a generator.
    """

    def __init__(
        self,
        arrays: Sequence[Array],
        stream: Stream,
        device: Device,
        normalize: Normalize | None = None,
        augment: Augment | None = None,
    ) -> None:
        self._stream, self._device = stream, device
        self._together = isinstance(augment, RowAugment)
        count = workers().count if self._together else 1
        self._parts = [_Part(arrays, stream, normalize, augment) for _ in range(count)]

    def read(self, rows: Array) -> tuple[Array, ...]:
        """The samples at `rows` (n,), in arrays that the next call may overwrite."""
        if not self._together:
            return self._to_device(self._parts[0].read(rows, 0))
        parts: list[tuple[Array, ...]] = [()] * len(self._parts)

        def run(rank: int) -> None:
            first, last = (n * len(rows) // len(parts) for n in (rank, rank + 1))
            parts[rank] = self._parts[rank].read(rows[first:last], first)

        workers().run(run)
        return self._to_device(tuple(np.concatenate(pieces) for pieces in zip(*parts, strict=True)))

    def _to_device(self, batch: tuple[Array, ...]) -> tuple[Array, ...]:
        return batch if self._device == "cpu" else tuple(to_device(array, self._device) for array in batch)


class _Part:
    """One worker's reader, with its own place in the batch."""

    def __init__(
        self, arrays: Sequence[Array], stream: Stream, normalize: Normalize | None, augment: Augment | None
    ) -> None:
        self._whole, self._stream, self._augment = stream, Stream(stream.seed), augment
        self._reader = BatchReader(arrays, normalize, None if augment is None else self._augmented)

    def read(self, rows: Array, first_row: int) -> tuple[Array, ...]:
        self._stream.follow(self._whole, first_row)
        return self._reader.read(rows)

    def _augmented(self, x: Array, batch: int) -> Array:
        if isinstance(self._augment, RowAugment):
            return self._augment.apply(x, self._stream.uint16(AUGMENT_SALT, len(x), self._augment.columns(x.shape[1:])))
        assert self._augment is not None
        return self._augment(x, self._stream.generator(AUGMENT_SALT))
