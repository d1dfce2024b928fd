"""One direction of one recurrent layer: the large matrix products around the step-by-step work of `core.ops`.

The input's contributions to all gates at all steps are one product, and so is the gradient of each weight; only the
product with the state has to wait for the step before. Gates come first in every array: `weight_ih[k]` is the weight of
gate k.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from core import ops
from core.backend import Array, array_module
from core.initializers import uniform
from core.layers.base import Layer
from core.layers.sequences import Layout
from core.memory import aligned, is_constant
from core.ops.cpu.large_product import LargeProduct
from core.ops.cpu.recurrent import Unrolled
from core.params import Parameter
from core.workers import can_share

Walk = tuple[Any, ...]
"""The arguments of an operation of `core.ops` for one direction: a cell, its weight, its state, and the rest."""


def forward_steps(
    directions: Sequence[Direction], rows: Array, layout: Layout, parts: Sequence[Array], train: bool
) -> list[Array]:
    """Fill each direction's part (M, H) with its state after every step of rows (M, I).

    Returns the last ones of each, (B, H) longest first. The walks of all `directions` are one call: a GPU has room for
    more than one.
    """
    walks = [direction.begin(rows, layout, y, train) for direction, y in zip(directions, parts, strict=True)]
    _project(directions, rows, [cell.gates for cell, *_ in walks])
    directions[0].run(ops.of(rows), walks)
    return [state for _, _, state, *_ in walks]


def backward_steps(
    directions: Sequence[Direction], dlasts: Sequence[Array | None], dys: Sequence[Array | None]
) -> list[Array]:
    """Add to the parameters' gradients; returns the gradient of each direction's input's contributions, (K, M, H).

    dlasts (B, H): the gradient of the last states, longest first; dys (M, H): that of the state after every step; None
    stands for zeros.
    """
    begun = [d.begin_backward(dlast, dy) for d, dlast, dy in zip(directions, dlasts, dys, strict=True)]
    directions[0].run_backward(ops.of(begun[0][0]), [walk for _, walk in begun])
    for direction, (rows, (cell, *_)) in zip(directions, begun, strict=True):
        direction.finish_backward(rows, cell)
    return [cell.gates for _, (cell, *_) in begun]


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
        self.large_product = LargeProduct()
        K, limit = len(self.sigmoid_gates), hidden**-0.5

        def drawn(*shape: int) -> Array:
            return uniform(rng, shape, limit, dtype)

        self.weight_ih = Parameter(drawn(K, inputs, hidden))
        self.weight_hh = Parameter(drawn(K, hidden, hidden))
        self.bias_ih = Parameter(drawn(K, hidden), decay=False)
        self.bias_hh = Parameter(drawn(K, hidden), decay=False)

    def begin(self, rows: Array, layout: Layout, y: Array, train: bool) -> Walk:
        """What `run` takes to fill y (M, H) with the state after every step of rows (M, I)."""
        K, M, B, H = len(self.sigmoid_gates), layout.rows, len(layout.lengths), self.hidden
        cell = Unrolled(
            gates=self.workspace("gates", (K, M, H), like=rows),
            spans=layout.spans_from_end if self.reverse else layout.spans,
            work=self.workspace("work", (K + 1, B, H), like=rows),
            cache=self.workspace("cache", (self.cached, M, H), like=rows) if train else None,
            workspace=self.workspace,
        )
        state = self.workspace("state", (B, H), like=rows)
        state[...] = 0
        self.remember(train, rows, cell)
        return cell, self.halved("weight_hh"), state, y, *self.further_arguments(state)

    def halved(self, name: str) -> Array:
        """A weight (K, ..., H) as operations take it: half of it for gates with a sigmoid, which are made by tanh.

        `core/ops/cpu/recurrent.py` has the formula.
        """

        def halve(weight: Array) -> Array:
            return aligned(weight * self._halves(weight)[..., None])

        halved: Array = self.workspace.derived(name, halve, getattr(self, name).data)
        return halved

    def bias(self) -> Array:
        """What is added to the input's contributions, halved like the weights, (K, H)."""
        bias = self.bias_ih.data + self.early_bias()
        return bias * self._halves(bias)

    def _halves(self, like: Array) -> Array:
        """1/2 for each gate with a sigmoid, 1 for the others, (K, 1)."""
        return _gate_factors(array_module(like), self.sigmoid_gates, like.dtype)

    def begin_backward(self, dlast: Array | None, dy: Array | None) -> tuple[Array, Walk]:
        """The rows that `begin` got, and what `run_backward` takes; dlast (B, H), dy (M, H)."""
        rows, cell = self.recall()
        dstate = self.workspace("state", cell.work.shape[1:], like=rows)
        dstate[...] = 0 if dlast is None else dlast
        weight_t = aligned(self.weight_hh.data.swapaxes(1, 2))
        return rows, (cell, weight_t, dstate, dy)

    def finish_backward(self, rows: Array, cell: Unrolled) -> None:
        """Add to the parameters' gradients what a walk has left in `cell`."""
        xp = array_module(rows)
        assert cell.cache is not None
        ones, before = xp.ones(len(rows), rows.dtype), cell.cache[0]
        self.weight_ih.accumulate(xp.matmul, rows.T, cell.gates)
        self.bias_ih.accumulate(xp.matmul, ones, cell.gates)
        self.weight_hh.accumulate(_products, before.T, *self.state_gradients(cell))
        self.bias_hh.accumulate(_products, ones, *self.state_gradients(cell))

    def early_bias(self) -> Array:
        """What of `bias_hh` can be added to the input's contributions, (K, H)."""
        return self.bias_hh.data

    def state_gradients(self, cell: Unrolled) -> list[Array]:
        """The gradient of what the state contributes to each gate, K arrays (M, H)."""
        return list(cell.gates)

    def further_arguments(self, state: Array) -> tuple[Array, ...]:
        """What `run` takes beside the weight, the state (B, H) and y."""
        return ()

    def run(self, op: Any, walks: Sequence[Walk]) -> None:
        """Walk all steps of one or two directions."""
        raise NotImplementedError

    def run_backward(self, op: Any, walks: Sequence[Walk]) -> None:
        """Walk them the other way round."""
        raise NotImplementedError


class RNNDirection(Direction):
    """A tanh of input and state."""

    sigmoid_gates = (False,)
    cached = 1

    def run(self, op: Any, walks: Sequence[Walk]) -> None:
        op.rnn_forward(*walks)

    def run_backward(self, op: Any, walks: Sequence[Walk]) -> None:
        op.rnn_backward(*walks)


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

    def further_arguments(self, state: Array) -> tuple[Array, ...]:
        # Written out for all sequences: adding a row to a matrix is slower than adding two matrices.
        return (array_module(state).tile(self.bias_hh.data[2], (len(state), 1)),)  # (B, H)

    def run(self, op: Any, walks: Sequence[Walk]) -> None:
        op.gru_forward(*walks)

    def run_backward(self, op: Any, walks: Sequence[Walk]) -> None:
        op.gru_backward(*walks)


class LSTMDirection(Direction):
    """Gates i, f, g, o, and a memory beside the state."""

    sigmoid_gates = (True, True, False, True)
    cached = 3

    def further_arguments(self, state: Array) -> tuple[Array, ...]:
        memory = self.workspace("memory", state.shape, like=state)
        memory[...] = 0
        return (memory,)

    def run(self, op: Any, walks: Sequence[Walk]) -> None:
        op.lstm_forward(*walks)

    def run_backward(self, op: Any, walks: Sequence[Walk]) -> None:
        op.lstm_backward(*walks)


def _project(directions: Sequence[Direction], rows: Array, gates: Sequence[Array]) -> None:
    """Fill the gates (K, M, H) of each direction with what rows (M, I) contribute to them."""
    weights = [direction.weight_ih.data for direction in directions]
    if all(map(is_constant, weights)) and can_share():
        _project_together(directions, rows, gates)
        return
    for direction, its_gates in zip(directions, gates, strict=True):
        ops.of(rows).project(rows, direction.halved("weight_ih"), direction.bias(), its_gates)


def _project_together(directions: Sequence[Direction], rows: Array, gates: Sequence[Array]) -> None:
    """The same in one product, which is shared where that pays; constants are laid out for that only once."""

    def side_by_side(*_: Array) -> Array:
        weights = np.concatenate([direction.halved("weight_ih") for direction in directions])  # (D * K, I, H)
        return np.concatenate(weights, axis=1)  # (I, D * K * H)

    first = directions[0]
    weight = first.workspace.derived("side by side", side_by_side, *(one.weight_ih.data for one in directions))
    products = first.workspace("products", (len(rows), weight.shape[1]), like=rows)
    first.large_product(rows, weight, products)
    K, M, H = gates[0].shape
    by_gate = products.reshape(M, len(gates), K, H).transpose(1, 2, 0, 3)  # (D, K, M, H)
    for direction, part, its_gates in zip(directions, by_gate, gates, strict=True):
        np.add(part, direction.bias()[:, None], out=its_gates)


@functools.lru_cache(maxsize=16)
def _gate_factors(xp: Any, sigmoid_gates: tuple[bool, ...], dtype: np.dtype[Any]) -> Array:
    """See `Direction._halves`; kept, so that it is sent to a GPU once."""
    return xp.array([[0.5 if sigmoid else 1] for sigmoid in sigmoid_gates], dtype)  # type: ignore[no-any-return]


def _products(left: Array, *gates: Array, out: Array) -> None:
    """out[k] = left @ gates[k]."""
    for gate, product in zip(gates, out, strict=True):
        array_module(left).matmul(left, gate, out=product)
