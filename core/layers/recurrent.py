"""Recurrent layers: RNN, GRU and LSTM, stacked and in both directions, for sequences of different lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from core import ops
from core.backend import Array, array_module, device_of
from core.checks import expect_in, expect_whole
from core.layers.base import Layer, expect_floats
from core.layers.recurrent_cells import (
    Direction,
    GRUDirection,
    LSTMDirection,
    RNNDirection,
    backward_steps,
    forward_steps,
)
from core.layers.sequences import Layout, Sequences
from core.memory import aligned
from core.ops.cpu.sequences import ROWS
from core.random import Stream
from core.workers import is_working, workers

SEQUENCES_WORTH_SHARING = 4  # with fewer, the two directions are done sooner one after the other


class Recurrent(Layer):
    """Reads sequences step by step: `Sequences` (N, T, input_size) -> `Sequences` (N, T, C) with `last` (N, C).

    C is hidden_size, or twice that for a bidirectional layer: the states of the direction that reads from the first
    step, then those of the one that reads from the last. `last` is each direction's state at the end of its way. An
    array (N, T, input_size) stands for sequences of equal length; backward then returns such an array.

    `num_layers` layers lie upon each other; between them `dropout` zeroes each feature with that probability, the same
    ones at all steps of a sequence (Gal and Ghahramani 2016, arXiv:1512.05287), drawn from `stream`. `rng` draws the
    initial weights; the parameters are called "l0.weight_ih", "l0_reverse.weight_ih", "l1.weight_ih", ...

    On a CPU the two directions run on two workers, but not inside `Parallel`, where each worker has its own sequences,
    and not for a few sequences, whose steps are so short that the workers would wait for the interpreter's lock.
    """

    cell: ClassVar[type[Direction]]
    stream: Stream  # there only where something is drawn

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        rng: np.random.Generator,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        stream: Stream | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        input_size, hidden_size, num_layers = expect_whole(
            self, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers
        )
        expect_in("[0, 1)", self, dropout=dropout)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.directions = 2 if bidirectional else 1
        self.output_size = hidden_size * self.directions
        self.layers = {
            f"l{level}_reverse" if reverse else f"l{level}": self.cell(
                self.output_size if level else input_size, hidden_size, reverse, rng, dtype
            )
            for level in range(num_layers)
            for reverse in (False, True)[: self.directions]
        }
        self.dropout = dropout if num_layers > 1 else 0.0
        if self.dropout:
            if stream is None:
                raise ValueError(f"{type(self).__name__} expected a stream to draw its dropout from")
            self.stream = stream
            self.salts = [stream.new_salt() for _ in range(num_layers - 1)]

    def directions_of(self, level: int) -> list[Direction]:
        """The directions, one or two, of one of the layers that lie upon each other; the lowest one is 0."""
        return list(self.layers.values())[level * self.directions : (level + 1) * self.directions]

    def forward(self, x: Sequences | Array, train: bool = False) -> Sequences:  # type: ignore[override]
        sequences = x if isinstance(x, Sequences) else Sequences.pack_padded(x)
        rows, layout = sequences.rows, sequences.layout
        if rows is None or rows.shape[1] != self.input_size:
            raise ValueError(f"{type(self).__name__} expected (N, T, {self.input_size}), got {sequences.shape}")
        expect_floats(self, rows)
        masks: list[Array | None] = []
        for level in range(self.num_layers):
            rows, states = self._forward_layer(level, rows, layout, train)
            dropped = train and self.dropout > 0 and level < self.num_layers - 1
            masks.append(self._drop(level, rows, layout) if dropped else None)
        last = self.workspace("last", (len(sequences), self.output_size), like=rows)
        last[layout.order_like(rows)] = array_module(rows).concatenate(states, axis=1)
        self.remember(train, layout, self.output_size, masks, None if isinstance(x, Sequences) else x.shape)
        return Sequences(rows, layout, last)

    def backward(self, dy: Sequences) -> Sequences | Array | None:  # type: ignore[override]
        layout, _, masks, padded_shape = recall_sequences(self, dy)
        drows, dlast = dy.rows, None
        if dy.last is not None:
            dlast = dy.last[layout.order_like(dy.last)]  # (N, C) longest first
        for level in reversed(range(self.num_layers)):
            if drows is not None and masks[level] is not None:
                ops.of(drows).multiply_steps(drows, masks[level], layout.spans)
            drows = self._backward_layer(level, drows, dlast, layout)
            dlast = None
        if drows is None:
            return None
        dx = Sequences(drows, layout)
        return dx if padded_shape is None else dx.to_padded().reshape(padded_shape)  # also of no sequences

    def _forward_layer(self, level: int, rows: Array, layout: Layout, train: bool) -> tuple[Array, list[Array]]:
        """The states of one layer: after every step, (M, C), and each direction's last ones, (N, H) longest first."""
        layer, H = self.directions_of(level), self.hidden_size
        y = self.workspace(f"y{level}", (layout.rows, self.output_size), like=rows)
        states = [y] * self.directions

        def read(places: slice) -> None:
            states[places] = forward_steps(layer[places], rows, layout, _parts(y, H)[places], train)

        self._for_both(read, y, layout)
        return y, states

    def _backward_layer(self, level: int, dy: Array | None, dlast: Array | None, layout: Layout) -> Array | None:
        """The gradient of one layer's input, (M, I)."""
        layer, nothing = self.directions_of(level), [None] * self.directions
        like = layer[0].weight_ih.data
        dlasts = nothing if dlast is None else _parts(dlast, self.hidden_size)
        dys = nothing if dy is None else _parts(dy, self.hidden_size)
        gates = [like] * self.directions

        def read(places: slice) -> None:
            gates[places] = backward_steps(layer[places], dlasts[places], dys[places])

        self._for_both(read, like, layout)
        if level == 0 and not self.input_grad:
            return None
        weights_t = [aligned(direction.weight_ih.data.swapaxes(1, 2)) for direction in layer]
        dx = self.workspace(f"dx{level}", (layout.rows, like.shape[1]), like=like)
        shares = self.directions if device_of(like) == "cpu" else 1  # a GPU makes one large product sooner than two

        def gather(places: slice) -> None:
            for place in range(shares)[places]:
                part = slice(place * len(dx) // shares, (place + 1) * len(dx) // shares)
                scratch = self.workspace(f"scratch{place}", (ROWS, like.shape[1]), like=like)
                ops.of(like).project_backward([gate[:, part] for gate in gates], weights_t, dx[part], scratch)

        self._for_both(gather, like, layout)
        return dx

    def _drop(self, level: int, rows: Array, layout: Layout) -> Array:
        """Zero features of `rows` (M, C) in place; returns the factors, (N, C) longest first."""
        op, xp = ops.of(rows), array_module(rows)
        shape = (len(layout.lengths), rows.shape[1])
        ones, mask = xp.ones(shape, rows.dtype), xp.empty(shape, rows.dtype)
        op.dropout_forward(ones, self.stream.draws(self.salts[level], *shape), self.dropout, mask, ones)
        mask = mask[layout.order_like(mask)]
        op.multiply_steps(rows, mask, layout.spans)
        return mask  # type: ignore[no-any-return]

    def _for_both(self, task: Callable[[slice], None], like: Array, layout: Layout) -> None:
        """Call `task(places)` for all directions, or on two workers, each with one of them, where that pays.

        It does not on one of these workers, nor on a GPU, which takes both directions at once.
        """
        pool = workers()
        pays = self.directions == 2 and len(layout.lengths) >= SEQUENCES_WORTH_SHARING
        if pays and pool.count > 1 and not is_working() and device_of(like) == "cpu":
            pool.run(lambda rank: task(slice(rank, rank + 1)) if rank < 2 else None)
        else:
            task(slice(self.directions))


def _parts(both: Array, hidden: int) -> Sequence[Array]:
    """The columns of each direction, (M, H)."""
    return [both[:, first : first + hidden] for first in range(0, both.shape[1], hidden)]


class RNN(Recurrent):
    """h' = tanh(x W_ih + b_ih + h W_hh + b_hh) (Elman 1990). See `Recurrent`."""

    cell = RNNDirection


class GRU(Recurrent):
    """Gated recurrent units (Cho et al. 2014). See `Recurrent`; the formulas stand in `core/ops/cpu/recurrent.py`."""

    cell = GRUDirection


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997). See `Recurrent`; the formulas stand beside GRU's."""

    cell = LSTMDirection


class LastState(Layer):
    """The last state of what a recurrent layer returns: `Sequences` (N, T, C) -> (N, C)."""

    def forward(self, x: Sequences, train: bool = False) -> Array:  # type: ignore[override]
        expect_sequences(self, x)
        if x.last is None:
            raise ValueError("LastState expected the result of a recurrent layer")
        self.remember(train, x.layout, y=x.last)
        return x.last

    def backward(self, dy: Array) -> Sequences:  # type: ignore[override]
        return Sequences(None, self.recall(dy), last=dy)


class EachStep(Layer):
    """Takes a layer of rows through every step: `Sequences` (N, T, C) -> `Sequences` (N, T, K), without a `last` state.

        Sequential(GRU(3, 64, rng=rng), EachStep(Linear(64, 10, rng=rng)))  # ten scores for each step

    The layer sees packed rows (M, C), as `Sequences` has them. A Dropout inside draws for these rows, so what it drops
    depends on how `Parallel` has split the batch.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Sequences, train: bool = False) -> Sequences:  # type: ignore[override]
        expect_sequences(self, x)
        y = Sequences(self.layer.forward(x.present_rows(), train), x.layout)
        self.remember(train, x.layout, y.shape[2])
        return y

    def backward(self, dy: Sequences) -> Sequences | None:  # type: ignore[override]
        layout, _ = recall_sequences(self, dy)
        drows = self.layer.backward(dy.present_rows())
        return None if drows is None else Sequences(drows, layout)

    def skip_input_grad(self) -> Layer:
        """See `Layer.skip_input_grad`; for the layer inside."""
        self.layer.skip_input_grad()
        return super().skip_input_grad()


class MeanState(Layer):
    """The mean over the steps of each sequence: `Sequences` (N, T, C) -> (N, C)."""

    def forward(self, x: Sequences, train: bool = False) -> Array:  # type: ignore[override]
        expect_sequences(self, x)
        layout, rows = x.layout, x.present_rows()
        xp = array_module(rows)
        order = layout.order_like(rows)
        total = self.workspace("total", (len(x), rows.shape[1]), like=rows)
        y = self.workspace("y", total.shape, like=rows)
        ops.of(rows).sum_steps(rows, total, layout.spans)
        y[order] = total
        y /= xp.asarray(layout.lengths, rows.dtype)[:, None]
        self.remember(train, layout, y=y)
        return y

    def backward(self, dy: Array) -> Sequences:  # type: ignore[override]
        layout: Layout = self.recall(dy)
        xp = array_module(dy)
        share = dy / xp.asarray(layout.lengths, dy.dtype)[:, None]  # (N, C)
        drows = self.workspace("dx", (layout.rows, dy.shape[1]), like=dy)
        ops.of(dy).sum_steps_backward(share[layout.order_like(dy)], drows, layout.spans)
        return Sequences(drows, layout)


def expect_sequences(layer: Layer, x: object) -> None:
    """Raise TypeError for arrays, of which nobody knows where each sequence ends."""
    if not isinstance(x, Sequences):
        raise TypeError(f"{type(layer).__name__} expected Sequences, got {type(x).__name__}: see Sequences.pack_padded")


def recall_sequences(layer: Layer, dy: Sequences) -> Any:
    """What a forward has remembered of its output, first of all the layout and the number of features, see `recall`.

    Raises TypeError for arrays and for integers, and ValueError unless `dy` is of the same sequences and features.
    """
    expect_sequences(layer, dy)
    if layer._remembered is not None:
        layout, size, *_ = layer._remembered
        _expect_like_output(layer, dy, layout, size)
    return layer.recall()


def _expect_like_output(layer: Layer, dy: Sequences, layout: Layout, size: int) -> None:
    if dy.layout is not layout and not np.array_equal(dy.lengths, layout.lengths):
        raise ValueError(
            f"{type(layer).__name__}.backward expected sequences of the lengths {layout.lengths}, got {dy.lengths}"
        )
    for part in (dy.rows, dy.last):
        if part is not None:
            if part.shape[1] != size:
                raise ValueError(f"{type(layer).__name__}.backward expected {size} features, got {part.shape[1]}")
            expect_floats(layer, part)
