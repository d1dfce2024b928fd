"""Sequences of different lengths in one batch, without padding: packed step by step, the longest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from core.backend import Array, Device, array_module, device_of, to_device
from core.ops.steps import Steps


class Layout:
    """Where the steps of a batch's sequences lie; all packed arrays of that batch share it.

    Packed rows are ordered by step, and within a step from the longest sequence to the shortest. So the sequences that
    still run at a step are the first ones of those that ran at the step before: a recurrent layer works on
    `spans[t] = (first row, number of rows)` at step t, and a sequence that has ended costs nothing.

    `lengths`: integers (N,) of at least 1, in the order of the batch.
    """

    def __init__(self, lengths: ArrayLike) -> None:
        lengths = np.asarray(lengths)
        if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
            raise TypeError(f"lengths expected integers (N,), got {lengths.dtype} {lengths.shape}")
        if len(lengths) and lengths.min() < 1:
            raise ValueError(f"a sequence needs at least one step, number {lengths.argmin()} has {lengths.min()}")
        self.lengths = lengths.astype(np.int64)  # (N,)
        self.order = np.argsort(-self.lengths, kind="stable")  # (N,) sequences of the batch, the longest first
        counts = len(lengths) - np.cumsum(np.bincount(self.lengths))[:-1]  # (T,) sequences that have a step t
        starts = np.cumsum(counts) - counts  # (T,)
        self.spans = Steps(zip(starts.tolist(), counts.tolist(), strict=True))
        self.spans_from_end = Steps(reversed(self.spans))
        self.rows = int(counts.sum())
        self._order_there: Array = self.order

    def order_like(self, like: Array) -> Array:
        """`order` where `like` lives; it is sent to a GPU once."""
        if device_of(self._order_there) != device_of(like):
            self._order_there = array_module(like).asarray(self.order)
        return self._order_there

    def sequence_and_step(self) -> tuple[Array, Array]:
        """Which sequence of the batch, and which of its steps, each packed row holds: int64 (M,) and (M,)."""
        counts = np.array([count for _, count in self.spans], dtype=np.int64)  # (T,)
        starts = np.array([start for start, _ in self.spans], dtype=np.int64)  # (T,)
        rank = np.arange(self.rows) - np.repeat(starts, counts)  # (M,)
        return self.order[rank], np.repeat(np.arange(len(counts)), counts)

    def places(self) -> Array:
        """Where each packed row lies where the sequences are stored one after the other: int64 (M,)."""
        sequence, step = self.sequence_and_step()
        places: Array = (np.cumsum(self.lengths) - self.lengths)[sequence] + step
        return places


class Sequences:
    """A batch of N sequences of different lengths: what (N, T, D) is for equal ones, without the padding.

    `rows` (M, D) holds the M = sum(lengths) steps as `layout` orders them; `pack` and `pack_padded` put them there.
    `len`, slices and indices count sequences, in the order in which they were given, as they do for an array. What a
    recurrent layer returns has also its `last` state (N, C), in that same order.

    Of a gradient `rows` or `last` may be None, which stands for zeros. Arrays of other numbers of rows are a
    ValueError.
    """

    def __init__(self, rows: Array | None, layout: Layout, last: Array | None = None) -> None:
        for name, array, count in (("rows", rows, layout.rows), ("last", last, len(layout.lengths))):
            if array is not None and (array.ndim != 2 or len(array) != count):
                raise ValueError(f"Sequences expected {name} ({count}, C) for these lengths, got {array.shape}")
        self.rows = rows
        self.layout = layout
        self.last = last

    @classmethod
    def pack(cls, values: Array, lengths: ArrayLike) -> Sequences:
        """Sequences that are stored one after the other: values (sum(lengths), D), lengths (N,).

        Raises ValueError where the sizes do not fit or a length is below 1, TypeError for lengths that are no integers.
        """
        layout = Layout(lengths)
        if values.ndim != 2 or len(values) != layout.rows:
            raise ValueError(f"pack expected values ({layout.rows}, D) for these lengths, got {values.shape}")
        return cls(values[array_module(values).asarray(layout.places())], layout)

    @classmethod
    def pack_padded(cls, x: Array, lengths: ArrayLike | None = None) -> Sequences:
        """Sequences from a padded array: x (N, T, D), lengths (N,) of at most T, all of them T by default.

        What stands behind the end of a sequence is never read. Raises as `pack` does.
        """
        if x.ndim != 3:
            raise ValueError(f"pack_padded expected (N, T, D), got {x.shape}")
        layout = Layout(np.full(len(x), x.shape[1]) if lengths is None else lengths)
        longest = layout.lengths.max(initial=0)
        if len(layout.lengths) != len(x) or longest > x.shape[1]:
            raise ValueError(f"pack_padded got {len(layout.lengths)} lengths up to {longest} for {x.shape}")
        xp = array_module(x)
        return cls(x[tuple(map(xp.asarray, layout.sequence_and_step()))], layout)

    @classmethod
    def join(cls, parts: Sequence[Sequences]) -> Sequences:
        """The sequences of several batches, at least one, as one batch of their own memory, in that order."""
        xp = array_module(parts[0].present_rows())
        joined = cls.pack(
            xp.concatenate([part.unpack() for part in parts]), np.concatenate([part.lengths for part in parts])
        )
        states = [part.last for part in parts if part.last is not None]
        joined.last = xp.concatenate(states) if len(states) == len(parts) else None
        return joined

    def unpack(self) -> Array:
        """The steps of the sequences, one sequence after the other: (sum(lengths), D), what `pack` takes."""
        rows = self.present_rows()
        xp = array_module(rows)
        values: Array = xp.empty_like(rows)
        values[xp.asarray(self.layout.places())] = rows
        return values

    @property
    def lengths(self) -> Array:
        """The number of steps of each sequence, int64 (N,)."""
        return self.layout.lengths

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, longest length, D)."""
        return len(self), len(self.layout.spans), self.present_rows().shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        return self.present_rows().dtype

    def __array__(self, *_: Any, **__: Any) -> Array:
        raise TypeError("sequences are no array: to_padded() and unpack() make one of them")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"sequences have no {name}: LastState or MeanState makes an array of them, and EachStep takes a layer of "
            "rows through their steps"
        )

    def __len__(self) -> int:
        return len(self.layout.lengths)

    def __getitem__(self, chosen: slice | Array) -> Sequences:
        """Some of the sequences, by a slice or by indices (n,), as a copy; TypeError for a single index."""
        numbers = np.arange(len(self))[chosen]  # (n,)
        if numbers.ndim != 1:
            raise TypeError(f"sequences are chosen by a slice or by indices (n,), such as [[0]], got {chosen!r}")
        layout = Layout(self.lengths[numbers])
        sequence, step = layout.sequence_and_step()
        rank = np.empty(len(self), dtype=np.int64)  # (N,) place in this batch's packing
        rank[self.layout.order] = np.arange(len(self))
        starts = np.array([start for start, _ in self.layout.spans], dtype=np.int64)  # (T,)
        places = starts[step] + rank[numbers[sequence]]  # (m,)
        rows = None if self.rows is None else self.rows[array_module(self.rows).asarray(places)]
        last = None if self.last is None else self.last[array_module(self.last).asarray(numbers)]
        return Sequences(rows, layout, last)

    def copy(self) -> Sequences:
        """These sequences in memory of their own."""
        rows, last = (None if array is None else array.copy() for array in (self.rows, self.last))
        return Sequences(rows, self.layout, last)

    def to(self, device: Device) -> Sequences:
        """These sequences on `device`; arrays that are there already are shared, not copied."""
        rows, last = (None if array is None else to_device(array, device) for array in (self.rows, self.last))
        return Sequences(rows, self.layout, last)

    def to_padded(self, fill: float = 0.0) -> Array:
        """The sequences as (N, T, D), with `fill` behind the end of each."""
        rows = self.present_rows()
        xp = array_module(rows)
        padded = xp.full(self.shape, fill, rows.dtype)  # (N, T, D)
        padded[tuple(map(xp.asarray, self.layout.sequence_and_step()))] = rows
        return padded  # type: ignore[no-any-return]

    def present_rows(self) -> Array:
        """`rows`, which a gradient may lack: then a ValueError."""
        if self.rows is None:
            raise ValueError("these sequences are a gradient without rows")
        return self.rows
