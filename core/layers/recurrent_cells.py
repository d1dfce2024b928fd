"""One direction of one recurrent layer: the large matrix products around the step-by-step work of `core.ops`.

The input's contributions to all gates at all steps are one product, and so is the gradient of each weight; only the
product with the state has to wait for the step before. Gates come first in every array: `weight_ih[k]` is the weight of
gate k.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from core import ops
from core.backend import Array, array_module
from core.layers.base import Layer
from core.layers.sequences import Layout
from core.ops.cpu.recurrent import Unrolled
from core.params import Parameter


class Direction(Layer):
    """What all cells have in common; a subclass names its gates and calls its two operations.

    weight_ih (K, I, H), weight_hh (K, H, H), bias_ih and bias_hh (K, H): those of PyTorch with the gates apart and the
    matrices transposed. All start uniform in +-1 / sqrt(H); biases take no weight decay.
    """

    sigmoid_gates: ClassVar[tuple[bool, ...]]  # for each gate whether it is a sigmoid; the others are a tanh
    cached: ClassVar[int]  # how many arrays (M, H) backward needs beside the gates

    def __init__(self, inputs: int, hidden: int, reverse: bool, rng: np.random.Generator, dtype: DTypeLike) -> None:
        super().__init__()
        self.hidden, self.reverse = hidden, reverse
        K, limit = len(self.sigmoid_gates), hidden**-0.5

        def drawn(*shape: int) -> Array:
            return rng.uniform(-limit, limit, shape).astype(dtype)

        self.weight_ih = Parameter(drawn(K, inputs, hidden))
        self.weight_hh = Parameter(drawn(K, hidden, hidden))
        self.bias_ih = Parameter(drawn(K, hidden), decay=False)
        self.bias_hh = Parameter(drawn(K, hidden), decay=False)

    def forward_steps(self, rows: Array, layout: Layout, y: Array, train: bool) -> Array:
        """Fill y (M, H) with the state after every step of rows (M, I); returns the last ones, (B, H) longest first."""
        K, M, B, H = len(self.sigmoid_gates), layout.rows, len(layout.lengths), self.hidden
        halves = _halves(array_module(rows), self.sigmoid_gates, rows.dtype)  # (K,)
        cell = Unrolled(
            gates=self.workspace("gates", (K, M, H), like=rows),
            spans=layout.spans_from_end if self.reverse else layout.spans,
            work=self.workspace("work", (K + 1, B, H), like=rows),
            cache=self.workspace("cache", (self.cached, M, H), like=rows) if train else None,
        )
        bias = (self.bias_ih.data + self.early_bias()) * halves[:, None]  # (K, H)
        ops.of(rows).project(rows, self.weight_ih.data * halves[:, None, None], bias, cell.gates)
        state = self.workspace("state", (B, H), like=rows)
        state[...] = 0
        self.run(ops.of(rows), cell, self.weight_hh.data * halves[:, None, None], state, y)
        self.remember(train, rows, cell)
        return state

    def backward_steps(self, dlast: Array | None, dy: Array | None) -> Array:
        """Add to the parameters' gradients; returns the gradient of the input's contributions, (K, M, H).

        dlast (B, H): the gradient of the last states, longest first; dy (M, H): that of the state after every step;
        None stands for zeros.
        """
        rows, cell = self.recall()
        xp = array_module(rows)
        dstate = self.workspace("state", cell.work.shape[1:], like=rows)
        dstate[...] = 0 if dlast is None else dlast
        weight_t = xp.ascontiguousarray(self.weight_hh.data.swapaxes(1, 2))
        self.run_backward(ops.of(rows), cell, weight_t, dstate, dy)
        ones, before = xp.ones(len(rows), rows.dtype), cell.cache[0]
        self.weight_ih.accumulate(xp.matmul, rows.T, cell.gates)
        self.bias_ih.accumulate(xp.matmul, ones, cell.gates)
        self.weight_hh.accumulate(_products, before.T, *self.state_gradients(cell))
        self.bias_hh.accumulate(_products, ones, *self.state_gradients(cell))
        return cell.gates  # type: ignore[no-any-return]

    def early_bias(self) -> Array:
        """What of `bias_hh` can be added to the input's contributions, (K, H)."""
        return self.bias_hh.data

    def state_gradients(self, cell: Unrolled) -> list[Array]:
        """The gradient of what the state contributes to each gate, K arrays (M, H)."""
        return list(cell.gates)

    def run(self, op: Any, cell: Unrolled, weight: Array, state: Array, y: Array) -> None:
        """Walk all steps."""
        raise NotImplementedError

    def run_backward(self, op: Any, cell: Unrolled, weight_t: Array, dstate: Array, dy: Array | None) -> None:
        """Walk them the other way round."""
        raise NotImplementedError


class RNNDirection(Direction):
    """A tanh of input and state."""

    sigmoid_gates = (False,)
    cached = 1

    def run(self, op: Any, cell: Unrolled, weight: Array, state: Array, y: Array) -> None:
        op.rnn_forward(cell, weight, state, y)

    def run_backward(self, op: Any, cell: Unrolled, weight_t: Array, dstate: Array, dy: Array | None) -> None:
        op.rnn_backward(cell, weight_t, dstate, dy)


class GRUDirection(Direction):
    """Gates r, z, n. The bias of the state's contribution to n stands inside the reset, so it cannot be added early."""

    sigmoid_gates = (True, True, False)
    cached = 3

    def early_bias(self) -> Array:
        bias: Array = self.bias_hh.data.copy()
        bias[2] = 0
        return bias

    def state_gradients(self, cell: Unrolled) -> list[Array]:
        assert cell.cache is not None
        return [cell.gates[0], cell.gates[1], cell.cache[2]]

    def run(self, op: Any, cell: Unrolled, weight: Array, state: Array, y: Array) -> None:
        # Written out for all sequences: adding a row to a matrix is slower than adding two matrices.
        bias = array_module(y).tile(self.bias_hh.data[2], (len(state), 1))  # (B, H)
        op.gru_forward(cell, weight, bias, state, y)

    def run_backward(self, op: Any, cell: Unrolled, weight_t: Array, dstate: Array, dy: Array | None) -> None:
        op.gru_backward(cell, weight_t, dstate, dy)


class LSTMDirection(Direction):
    """Gates i, f, g, o, and a memory beside the state."""

    sigmoid_gates = (True, True, False, True)
    cached = 3

    def run(self, op: Any, cell: Unrolled, weight: Array, state: Array, y: Array) -> None:
        memory = self.workspace("memory", state.shape, like=state)
        memory[...] = 0
        op.lstm_forward(cell, weight, state, memory, y)

    def run_backward(self, op: Any, cell: Unrolled, weight_t: Array, dstate: Array, dy: Array | None) -> None:
        op.lstm_backward(cell, weight_t, dstate, dy)


@functools.lru_cache(maxsize=16)
def _halves(xp: Any, sigmoid_gates: tuple[bool, ...], dtype: np.dtype[Any]) -> Array:
    """What each gate's contributions are multiplied by; sent to a GPU once."""
    return xp.array([0.5 if sigmoid else 1 for sigmoid in sigmoid_gates], dtype)  # type: ignore[no-any-return]


def _products(left: Array, *gates: Array, out: Array) -> None:
    """out[k] = left @ gates[k]."""
    for gate, product in zip(gates, out, strict=True):
        array_module(left).matmul(left, gate, out=product)
