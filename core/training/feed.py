"""The batches of a training: gathered, augmented by all workers together, and put where the model is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from core.backend import Array, Device, to_device
from core.data.batches import BatchReader, epoch_order, sample_numbers
from core.data.normalize import Normalize
from core.random import Stream
from core.training.device_feed import AUGMENT_SALT, DeviceFeed
from core.training.settings import steps_per_epoch
from core.workers import workers


@runtime_checkable
class RowAugment(Protocol):
    """An augmentation with so many random numbers a row, such as `core.data.augment.Compose`; see there."""

    def columns(self, shape: Sequence[int]) -> int:
        """How many numbers a sample of this shape needs."""

    def apply(self, images: Array, draws: Array) -> Array:
        """The augmented samples; row i of `draws`, uint16, decides what happens to sample i."""


@runtime_checkable
class RowOrder(Protocol):
    """Rows that come in an order of their own: `rows` (n,) holds all that may come."""

    rows: Array

    def __len__(self) -> int: ...

    def __getitem__(self, order: Array) -> Array:
        """The rows (n,) of an epoch, for its order: a permutation of 0 ... n - 1."""


Augment = RowAugment | Callable[[Array, np.random.Generator], Array]


class Feed:
    """The batches of `arrays` (inputs, labels, ...), or of their `rows` (n,), in an order decided by the stream's seed.

    Rows are integers from 0 to N - 1, IndexError for any others; a RowOrder may arrange those of an epoch.

    Inputs become float32, uint8 as 0 to 1, pass through `augment` and then through `normalize`. A RowAugment is applied
    by every worker to its part of the batch; the draws belong to the sample, so the number of workers changes nothing.
    Any other augmentation is called with the whole batch and a generator.

    With `numbers` each batch ends with those of its samples, int64 (n,), on the host. For a GPU, images are kept and
    augmented there where that is possible; see `core.training.device_feed`.
    """

    def __init__(
        self,
        arrays: Sequence[Array],
        stream: Stream,
        device: Device,
        normalize: Normalize | None = None,
        augment: Augment | None = None,
        rows: ArrayLike | RowOrder | None = None,
        numbers: bool = False,
    ) -> None:
        self._stream, self._device = stream, device
        self._rows = _checked(np.arange(len(arrays[0])) if rows is None else rows, len(arrays[0]))
        self._numbers, self._together = numbers, isinstance(augment, RowAugment)
        self._on_gpu: DeviceFeed | None = None
        if device == "gpu" and DeviceFeed.fits(arrays, normalize, augment):
            self._on_gpu = DeviceFeed(arrays, stream, normalize, augment)
        count = workers().count if self._together else 1
        self._parts = [_Part(arrays, stream, normalize, augment) for _ in range(count)]

    def __len__(self) -> int:
        return len(self._rows)

    def epoch(self, epoch: int, batch_size: int, first: int = 0) -> Iterator[tuple[Array, ...]]:
        """The batches of an epoch from the `first` on, in arrays that the next one may overwrite; moves the stream."""
        order = self._rows[epoch_order(len(self), self._stream.seed, epoch)]
        rows = to_device(order, self._device) if self._on_gpu else order  # sent at once, not batch by batch
        for batch in range(first, steps_per_epoch(len(self), batch_size)):
            self._stream.seek(epoch, batch)
            part = slice(batch * batch_size, (batch + 1) * batch_size)
            read = self.read(rows[part])
            yield (*read, order[part]) if self._numbers else read

    def endless(self, batch_size: int) -> Iterator[tuple[Array, ...]]:
        """The batches of one epoch after the other, without end."""
        for epoch in itertools.count():
            yield from self.epoch(epoch, batch_size)

    def read(self, rows: Array) -> tuple[Array, ...]:
        """The samples at `rows` (n,), for the batch that the stream stands at."""
        if self._on_gpu:
            return self._on_gpu.read(rows)
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


def _checked(rows: ArrayLike | RowOrder, samples: int) -> Array | RowOrder:
    """The rows, an array unless they order themselves; IndexError unless they are integers from 0 to samples - 1."""
    if isinstance(rows, RowOrder):
        sample_numbers(rows.rows, samples, "Feed")
        return rows
    return sample_numbers(rows, samples, "Feed")


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
