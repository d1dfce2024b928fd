"""The order of an epoch, and its mini-batches: rows gathered, converted to float32, augmented and normalised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from core.backend import Array
from core.data.normalize import Normalize
from core.data.thread_buffers import ThreadBuffers

Augment = Callable[[Array, int], Array]
TO_UNIT = Normalize()  # uint8 to 0 ... 1, floats as they are


def epoch_order(n: int, seed: int, epoch: int) -> Array:
    """The order in which an epoch visits `n` samples, int64 (n,); it depends on nothing but the arguments.

    A resumed run therefore continues with the order that the interrupted one would have used.
    """
    return np.random.default_rng([seed, epoch, n]).permutation(n)


def sample_numbers(numbers: ArrayLike, samples: int, caller: str) -> Array:
    """`numbers` as int64 (n,); IndexError, in the name of the caller, unless they are integers from 0 to samples - 1.

    A mask would pass for the samples 0 and 1, and a number beyond the end for the last sample: see `BatchReader.read`.
    """
    found = np.asarray(numbers)
    if found.ndim != 1 or (found.dtype.kind not in "iu" and len(found)):  # an empty list is one of floats
        hint = "; of a mask, give np.flatnonzero(mask)" if found.dtype == bool else ""
        raise IndexError(f"{caller} expected integers (n,), got {found.dtype} {found.shape}{hint}")
    if len(found) and not 0 <= found.min() <= found.max() < samples:
        raise IndexError(f"{caller} expected indices from 0 to {samples - 1}, got {found.min()} to {found.max()}")
    return found.astype(np.int64, copy=False)


class BatchReader:
    """Gathers chosen samples of several arrays into buffers, which the next call of the same thread overwrites.

    The first array, (N, ...) uint8 or float, holds the inputs: they become float32 (uint8 as 0 to 1), then pass through
    `augment(x, batch)` with the number of the batch, then through `normalize`. The others, such as labels, are passed
    on as they are, integers as int64. Raises ValueError when the lengths differ.
    """

    def __init__(
        self, arrays: Sequence[Array], normalize: Normalize | None = None, augment: Augment | None = None
    ) -> None:
        if not arrays or len({len(array) for array in arrays}) != 1:
            raise ValueError(f"BatchReader expected arrays of one length, got {[len(array) for array in arrays]}")
        self.arrays = [np.asarray(array) for array in arrays]  # a plain view also where the file is memory-mapped
        self.normalize = normalize or TO_UNIT
        self.augment = augment
        self._work = ThreadBuffers()

    def __len__(self) -> int:
        return len(self.arrays[0])

    def read(self, indices: Array, batch: int = 0) -> tuple[Array, ...]:
        """The samples at `indices` (n,), which must lie in 0 ... N - 1: float32 inputs (n, ...), and the others."""
        inputs, *others = (self._gather(place, array, indices) for place, array in enumerate(self.arrays))
        x = inputs if inputs.dtype == np.float32 else self._work.array("x", inputs.shape)
        if self.augment is None:
            return self.normalize(inputs, out=x), *others
        x = self.augment(TO_UNIT(inputs, out=x), batch)
        return self.normalize(x, out=x), *others

    def _gather(self, place: int, array: Array, indices: Array) -> Array:
        rows = self._work.array(f"rows {place}", (len(indices), *array.shape[1:]), array.dtype)
        np.take(array, indices, axis=0, out=rows, mode="clip")  # the other modes make another copy
        return rows.astype(np.int64) if place and rows.dtype.kind in "iu" else rows


def batches(
    arrays: Sequence[Array],
    batch_size: int,
    order: ArrayLike | None = None,
    *,
    normalize: Normalize | None = None,
    augment: Augment | None = None,
    drop_last: bool = False,
) -> Iterator[tuple[Array, ...]]:
    """Go through `arrays` in mini-batches: yields (x, labels, ...) for arrays (inputs, labels, ...).

    `order` says which samples and in which order, as `epoch_order` does; all of them as stored by default. The last
    batch may be smaller; `drop_last` leaves it out. What is yielded is overwritten by the next batch: copy what you
    keep. See `BatchReader` for the rest. Raises ValueError for a batch size below 1 and IndexError for a wrong order.
    """
    reader = BatchReader(arrays, normalize, augment)
    chosen = np.arange(len(reader)) if order is None else sample_numbers(order, len(reader), "batches")
    if batch_size < 1:
        raise ValueError(f"batches expected a batch size of at least 1, got {batch_size}")
    end = len(chosen) - len(chosen) % batch_size if drop_last else len(chosen)
    return (
        reader.read(chosen[start : start + batch_size], batch) for batch, start in enumerate(range(0, end, batch_size))
    )
