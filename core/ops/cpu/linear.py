"""The products of a fully connected layer, shared among the workers where that pays.

Each worker owns a stretch of the weight's rows, the same one in both passes and, nearly, in the optimizer's update: so
the rows, their gradients and moments stay in the cache of the core that works on them. The caller, who works alone on
the small layers that most networks end with, owns the last stretch of all of a network's weights, where these lie. But
the workers' sums over their rows have to be added, which for large batches costs more than it saves: there forward
shares the batch. Work is shared when there is enough of it to be worth waking another thread, and when the caller is
not a worker already (as it is inside `core.layers.Parallel`, which shares the batch throughout).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from core.backend import Array
from core.memory import FLOATS
from core.ops.cpu import products
from core.workers import can_share, workers
from core.workspaces import Workspace

__all__ = ["linear_backward", "linear_forward"]

MULTIPLICATIONS_WORTH_SHARING = 4e6  # one thread does fewer in the time it takes to wake another
MANY_ROWS = 256  # of a batch: with so many, forward shares them


def linear_forward(x: Array, weight: Array, y: Array, workspace: Workspace) -> None:
    """y = x W for x (M, D), W (D, K), y (M, K)."""
    if x.size * weight.shape[1] < MULTIPLICATIONS_WORTH_SHARING or not can_share():
        if len(x) == 1 and x.dtype is weight.dtype is y.dtype:
            np.dot(x, weight, out=y)  # begins sooner than other products, but needs one dtype
        else:
            products.product(x, weight, y)
    elif len(x) >= MANY_ROWS:
        multiply_by_rows(x, weight, y)
    else:
        others = workspace("partial sums", (workers().count - 1, *y.shape), y)
        partial = [y, *others]
        share(len(weight), lambda place, rows: products.product(x[:, rows], weight[rows], partial[place]))
        for part in others:
            y += part


def linear_backward(x: Array, dy: Array, weight: Array, dx: Array | None, out: Array) -> None:
    """out = x^T dy, the gradient (D, K) of the weight, and dx = dy W^T unless dx is None; x, dx: (M, D), dy: (M, K)."""

    def run(_: int, rows: slice) -> None:
        products.product_of_transposed(x[:, rows], dy, out[rows])
        if dx is not None:
            products.product_with_transposed(dy, weight[rows], dx[:, rows])

    if x.size * weight.shape[1] * (1 if dx is None else 2) >= MULTIPLICATIONS_WORTH_SHARING and can_share():
        share(len(weight), run)
    else:
        run(0, slice(None))


def multiply_by_rows(x: Array, weight: Array, y: Array) -> None:
    """y = x W for x (M, D), of which each worker takes some rows."""
    share(len(x), lambda _, rows: products.product(x[rows], weight, y[rows]))


def share(size: int, product: Callable[[int, slice], Any], multiple: int = FLOATS) -> None:
    """Call product(place, part) on every worker with its part of `size` rows; all but the last are multiples.

    The place is that of the part; the caller has the last one. Parts of whole cache lines keep two workers from writing
    to the same one.
    """
    pool = workers()

    def border(place: int) -> int:
        return size if place == pool.count else place * size // pool.count // multiple * multiple

    def run(rank: int) -> None:
        place = pool.count - 1 - rank
        product(place, slice(border(place), border(place + 1)))

    pool.run(run)
