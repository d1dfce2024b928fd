"""Recurrent cells on a GPU: for each step one product by cuBLAS and one kernel; see `core/kernels/recurrent.cu`.

The contracts, and the formulas, are those of `core.ops.cpu.recurrent`.
"""

from __future__ import annotations

from typing import Any

from core.backend import Array, array_module
from core.kernels import THREADS, blocks_for, launch
from core.ops.cpu.recurrent import Unrolled

__all__ = ["gru_backward", "gru_forward", "lstm_backward", "lstm_forward", "rnn_backward", "rnn_forward"]


def rnn_forward(cell: Unrolled, weight: Array, state: Array, y: Array) -> None:
    """h' = tanh(x + h W)."""
    _walk("rnn_forward", cell, weight, state, y, cell.gates[0], None if cell.cache is None else cell.cache[0])


def rnn_backward(cell: Unrolled, weight_t: Array, dstate: Array, dy: Array | None) -> None:
    """da = dh' (1 - h'^2); dh = da W^T."""
    _walk_back("rnn_backward", cell, weight_t, dstate, dy, gates=cell.gates[0])


def gru_forward(cell: Unrolled, weight: Array, bias: Array, state: Array, y: Array) -> None:
    """Gated recurrent unit; bias (B, H), the same row for every sequence."""
    if len(bias):
        _walk("gru_forward", cell, weight, state, y, cell.gates, cell.cache, bias=bias[0])


def gru_backward(cell: Unrolled, weight_t: Array, dstate: Array, dy: Array | None) -> None:
    """See `core.ops.cpu.recurrent`. On return cache[2] holds dm."""
    _walk_back("gru_backward", cell, weight_t, dstate, dy, gates=cell.gates, cache=cell.cache)


def lstm_forward(cell: Unrolled, weight: Array, state: Array, memory: Array, y: Array) -> None:
    """Long short-term memory; memory (B, H), in and out like the state."""
    _walk("lstm_forward", cell, weight, state, y, cell.gates, cell.cache, memory=memory)


def lstm_backward(cell: Unrolled, weight_t: Array, dstate: Array, dy: Array | None) -> None:
    """See `core.ops.cpu.recurrent`."""
    dmemory = array_module(dstate).zeros_like(dstate)
    _walk_back("lstm_backward", cell, weight_t, dstate, dy, dmemory=dmemory, gates=cell.gates, cache=cell.cache)


def _walk(
    kernel: str, cell: Unrolled, weight: Array, state: Array, y: Array, gates: Array, cache: Array | None, **more: Any
) -> None:
    """All steps forward; what `more` has one row for each sequence, other than a bias, is cut to those that run."""
    K, H = weight.shape[:2]
    xp = array_module(state)
    side_by_side = xp.ascontiguousarray(weight.transpose(1, 0, 2)).reshape(H, K * H)  # all gates in one product
    for start, count in cell.spans:
        products = _scratch(cell, count, K * H)
        xp.matmul(state[:count], side_by_side, out=products)
        given = {name: array if name == "bias" else array[:count] for name, array in more.items()}
        launch(
            kernel,
            blocks_for(count * H),
            THREADS,
            products=products,
            gates=gates,
            state=state[:count],
            y=y[start : start + count],
            cache=cache,
            start=start,
            **given,
        )


def _walk_back(
    kernel: str,
    cell: Unrolled,
    weight_t: Array,
    dstate: Array,
    dy: Array | None,
    dmemory: Array | None = None,
    **arrays: Any,
) -> None:
    """All steps backward. A step's product reaches the state in the next step's kernel, and after the last one here."""
    K, H = weight_t.shape[:2]
    xp = array_module(dstate)
    one_below_the_other = weight_t.reshape(K * H, H)
    product = xp.empty_like(dstate)
    done = 0  # sequences that ran in the step before this one
    for start, count in reversed(cell.spans):
        drows = _scratch(cell, count, K * H)
        launch(
            kernel,
            blocks_for(count * H),
            THREADS,
            dstate=dstate[:count],
            product=product[: min(done, count)],
            dy=None if dy is None else dy[start : start + count],
            drows=drows,
            start=start,
            **(arrays if dmemory is None else arrays | {"dmemory": dmemory[:count]}),
        )
        if done > count:  # sequences that do not run here get theirs now
            dstate[count:done] += product[count:done]
        xp.matmul(drows, one_below_the_other, out=product[:count])
        done = count
    dstate[:done] += product[:done]


def _scratch(cell: Unrolled, rows: int, columns: int) -> Array:
    """Contiguous scratch memory (rows, columns)."""
    flat: Array = cell.work.reshape(-1)
    return flat[: rows * columns].reshape(rows, columns)
