"""Muon's update on a GPU: a few launches for all parameters, and the products of matrices by cuBLAS.

What costs the host time is their number: `core/kernels/muon.cu` does what is no product to all matrices at once, and
matrices of one shape are multiplied in one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from core.backend import Array, array_module
from core.kernels import THREADS, blocks_for, launch
from core.ops.cpu.muon import ROUNDS, SMALLEST, A, B, C
from core.ops.stretches import Stretch

__all__ = ["MuonUpdate"]

MOST_BLOCKS = 128  # for one parameter


class MuonUpdate:
    """See `core.ops.cpu.muon`. The gradients stay as they are."""

    def __init__(
        self,
        data: Array,
        grad: Array,
        velocity: Array,
        stretches: Sequence[Stretch],
        momentum: float,
        others_momentum: float,
        weight_decay: float,
    ) -> None:
        xp, kind = array_module(data), data.dtype
        matrices = sorted((s for s in stretches if s.rate is None), key=lambda s: s.shape)
        sizes, S = [matrix.size for matrix in matrices], len(stretches)
        places = {matrix.start: sum(sizes[:n]) for n, matrix in enumerate(matrices)}
        self._grid = max(1, min(blocks_for(max(s.size for s in stretches)), MOST_BLOCKS)), S
        rows = [(s.start, s.size, s.shape[-1], places.get(s.start, -1)) for s in stretches]
        self._table = xp.asarray(np.array(rows, np.int32))  # (S, 4)
        self._squares = xp.empty((2, S), kind)  # of the norms of steps and of weights
        self._x = xp.empty(sum(sizes), kind)  # all steps, side by side
        self._polynomials = _Polynomials(self._x, [matrix.shape for matrix in matrices])
        self._data = data
        self._sums = {  # the arguments of the first kernel
            "grad": grad,
            "velocity": velocity,
            "rates": xp.asarray(np.array([s.rate or 0 for s in stretches], kind)),  # (S,)
            "parts": xp.empty((2, S, self._grid[0]), kind),
            "arrived": xp.zeros((2, S), np.int32),
            "momentum": momentum,
            "others_momentum": others_momentum,
            "decay": weight_decay,
        }

    def __call__(self, lr: float) -> None:
        """Make one step with this learning rate."""
        common = {"table": self._table, "squares": self._squares, "x": self._x}
        launch("muon_momentum", self._grid, THREADS, data=self._data, lr=lr, **common, **self._sums)
        launch("muon_normalize", self._grid, THREADS, smallest=SMALLEST, **common)
        for _ in range(ROUNDS):
            self._polynomials.apply()
        launch("muon_update", self._grid, THREADS, data=self._data, lr=lr, smallest=SMALLEST, **common)


class _Batch(NamedTuple):
    """The matrices of one shape (I, O), one or several; squares are (n, n) with the lesser of both sizes."""

    x: Array
    product: Array
    square: Array
    fourth: Array
    is_tall: bool


class _Polynomials:
    """Takes each of the matrices X that lie side by side in x to A X + X (B S + C S^2) with S = X^T X.

    Those that are wide, go to A X + (B S + C S^2) X with S = X X^T. `shapes` are sorted.
    """

    def __init__(self, x: Array, shapes: Sequence[tuple[int, ...]]) -> None:
        empty = array_module(x).empty
        total = sum(min(shape) ** 2 for shape in shapes)
        self._x, self._products = x, empty(x.size, x.dtype)
        self._squares, self._fourths = empty(total, x.dtype), empty(total, x.dtype)
        self._batches: list[_Batch] = []
        place = square = 0
        for (rows, columns), equal in groupby(shapes):
            count, least = len(list(equal)), min(rows, columns)
            whole, inner = (count, rows, columns), (count, least, least)
            x, product = (_matrices(array, place, whole) for array in (self._x, self._products))
            squares, fourths = (_matrices(array, square, inner) for array in (self._squares, self._fourths))
            self._batches.append(_Batch(x, product, squares, fourths, rows > columns))
            place, square = place + count * rows * columns, square + count * least**2

    def apply(self) -> None:
        """One round."""
        for x, _, square, fourth, is_tall in self._batches:
            _multiply(x.swapaxes(-1, -2), x, square) if is_tall else _multiply(x, x.swapaxes(-1, -2), square)
            _multiply(square, square, fourth)
        _combine(self._squares, self._fourths, B, C)
        for x, product, polynomial, _, is_tall in self._batches:
            _multiply(x, polynomial, product) if is_tall else _multiply(polynomial, x, product)
        _combine(self._x, self._products, A, 1)


def _matrices(array: Array, start: int, shape: tuple[int, int, int]) -> Array:
    """A view of some matrices side by side; of one matrix without the first axis, which calls for less of CuPy."""
    matrices: Array = array[start : start + int(np.prod(shape))].reshape(shape)
    return matrices if len(matrices) > 1 else matrices[0]


def _multiply(a: Array, b: Array, out: Array) -> None:
    """out = a b; both (I, O), or (K, I, O) for K products."""
    xp = array_module(a)
    (xp.dot if a.ndim == 2 else xp.matmul)(a, b, out=out)


def _combine(x: Array, y: Array, a: float, b: float) -> None:
    """x = a x + b y; (N,)."""
    launch("muon_combine", blocks_for(x.size), THREADS, x=x, y=y, a=a, b=b)
