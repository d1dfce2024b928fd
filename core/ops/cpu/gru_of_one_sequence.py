"""A gated recurrent unit that reads one sequence, in inference: the formulas stand in `core.ops.cpu.recurrent`.

A step of one row takes some ten microseconds, half of which go into reading the weights and the rest into making calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.backend import Array, array_module
from core.blas import has_blas_threads, with_blas_threads
from core.fastest import Fastest
from core.memory import is_constant
from core.ops.cpu.blocks import number
from core.ops.cpu.large_product import WITH_COMPLEX, as_complex
from core.workers import can_share, workers
from core.workspaces import Workspaces

if TYPE_CHECKING:
    from core.ops.cpu.recurrent import Unrolled

MOST_STEPS = 512  # of one sequence, for which memory and its views are kept


def gru_of_one_sequence(
    cells: Sequence[Unrolled],
    weights: Sequence[Array],
    states: Sequence[Array],
    ys: Sequence[Array],
    biases: Sequence[Array],
) -> None:
    """The walk of inference with all D directions in the same calls, of which a step of one row mostly consists."""
    T, D, H = len(cells[0].spans), len(cells), states[0].shape[1]
    memory, like = cells[0].workspace, states[0]
    known: _Walk = memory.plan(("walk", D, H, like.dtype), lambda: _Walk(D, H, like, memory.another()))
    walk = known if T <= MOST_STEPS else _Walk(D, H, like, memory)
    steps, sums, ns = walk.begin(T)
    ways = [slice(None, None, 1 if cell.spans[0] <= cell.spans[-1] else -1) for cell in cells]  # rows in order of steps
    for place, (cell, way, bias) in enumerate(zip(cells, ways, biases, strict=True)):
        steps[0, place] = states[place]
        sums[:, :2, place, 0] = cell.gates[:2, way].swapaxes(0, 1)
        sums[:, 2, place] = bias
        ns[:, place, 0] = cell.gates[2, way]
    walk.make(T, weights, memory)
    for place, (state, y, way) in enumerate(zip(states, ys, ways, strict=True)):
        y[way] = steps[1:, place, 0]
        state[...] = steps[-1, place]


class _Walk:
    """One sequence in D directions: memory, and for each step the views of it, which take a while to make."""

    def __init__(self, D: int, H: int, like: Array, memory: Workspaces) -> None:
        self._shape, self._like, self._memory = (D, 1, H), like, memory
        self._gates = memory("gates", (3, *self._shape), like=like)
        self._fastest = Fastest([_Walk._make, _Walk._make_with_blas_threads])  # not of this one: no cycle
        self._make_room(1)

    def begin(self, T: int) -> tuple[Array, Array, Array]:
        """Three arrays for T steps, which the caller fills: the last two and the first states in the first one.

        (T + 1, D, 1, H), where `make` adds the states after every step; (T, 3, D, 1, H), what is added to the state's
        contributions to the gates; (T, D, 1, H), what then is added to n.
        """
        if len(self._views) < T:
            self._make_room(T)
        return self._states[: T + 1], self._sums[:T], self._ns[:T]

    def _make_room(self, T: int) -> None:
        self._states, self._sums, self._ns = (
            self._memory(name, (*first, *self._shape), like=self._like)
            for name, first in (("states", (T + 1,)), ("sums", (T, 3)), ("n", (T,)))
        )
        self._views = list(zip(self._states[:-1], self._sums, self._ns, self._states[1:], strict=True))
        self._complex_views: list[tuple[Array, ...]] = []

    def make(self, T: int, weights: Sequence[Array], memory: Workspaces) -> None:
        """Walk T steps, with the weights (3, H, H) of all directions, of which `memory` keeps what is derived."""
        walk = self._fastest if self._has_ways(weights) and can_share() and has_blas_threads() else _Walk._make
        walk(self, T, weights, memory)

    def _has_ways(self, weights: Sequence[Array]) -> bool:
        """Whether there is more than one: pairs of numbers make complex ones, of constants and of one precision."""
        dtype = self._like.dtype
        return (
            self._shape[-1] % 2 == 0
            and dtype in WITH_COMPLEX
            and all(is_constant(weight) and weight.dtype == dtype for weight in weights)
        )

    def _make(self, T: int, weights: Sequence[Array], memory: Workspaces) -> None:
        weight = memory.derived("all directions", _of_all_directions, *weights)  # (3, D, H, H)
        self._take_steps(self._views[:T], weight, self._gates, self._gates)

    def _make_with_blas_threads(self, T: int, weights: Sequence[Array], memory: Workspaces) -> None:
        """The same with products of complex numbers, which BLAS's threads share, see `as_complex`."""
        weight = memory.derived("all directions, as complex numbers", _of_all_directions_as_complex, *weights)
        D, columns, _ = weight.shape  # (D, 3 * H, H / 2)
        products = np.empty((D, 1, columns), weight.dtype)
        real = products.real.reshape(D, 1, 3, -1).transpose(2, 0, 1, 3)
        if not self._complex_views:
            inputs = self._states[:-1].view(weight.dtype)
            self._complex_views = [(one, *view[1:]) for one, view in zip(inputs, self._views, strict=True)]
        views = self._complex_views[:T]
        with_blas_threads(workers().count, self._take_steps, views, weight.swapaxes(1, 2), products, real)

    def _take_steps(self, views: Sequence[tuple[Array, ...]], weight: Array, products: Array, real: Array) -> None:
        """Each step multiplies its inputs with the weight.

        `real` (3, D, 1, H) shows what is wanted of the products: all of them, or their real parts, gate by gate.
        """
        xp, half, gates, h = array_module(weight), number(0.5, self._states), self._gates, self._states[0]
        sigmoids, (r, z, m) = gates[:2], gates
        # Every microsecond counts here: no function of its own for the sigmoids, no names to look up in a module, and
        # the results as last arguments without their name.
        matmul, add, subtract, multiply, tanh = xp.matmul, xp.add, xp.subtract, xp.multiply, xp.tanh
        for inputs, sums, n, after in views:
            matmul(inputs, weight, products)
            add(real, sums, gates)
            tanh(sigmoids, sigmoids)
            multiply(sigmoids, half, sigmoids)
            add(sigmoids, half, sigmoids)
            multiply(m, r, m)
            add(n, m, n)
            tanh(n, n)
            subtract(h, n, m)
            multiply(m, z, m)
            h = add(n, m, after)


def _of_all_directions(*weights: Array) -> Array:
    """The weights (K, H, H) of D directions side by side, (K, D, H, H)."""
    return array_module(weights[0]).stack(weights, axis=1)  # type: ignore[no-any-return]


def _of_all_directions_as_complex(*weights: Array) -> Array:
    """The same as complex numbers, and of each direction one matrix, transposed: (D, K * H, H / 2)."""
    matrices = [weight.swapaxes(0, 1).reshape(weight.shape[1], -1) for weight in weights]  # (H, K * H)
    return np.stack([as_complex(matrix).T for matrix in matrices])
