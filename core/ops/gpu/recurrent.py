"""Recurrent cells on a GPU: one launch walks through all steps of a direction; see `core/kernels/recurrent.cu`.

The contracts, and the formulas, are those of `core.ops.cpu.recurrent`. What is too large for a kernel goes step by step
as it does there, with cuBLAS: products of that size are worth a launch.
"""

from __future__ import annotations

from typing import Any

from core.backend import Array, array_module
from core.kernels import launch
from core.ops.cpu import recurrent as step_by_step
from core.ops.cpu.recurrent import Unrolled
from core.ops.steps import Steps

__all__ = ["gru_backward", "gru_forward", "lstm_backward", "lstm_forward", "rnn_backward", "rnn_forward"]

# As in recurrent.cu.
ROWS = 8  # sequences of a block
WARP_COLUMNS = 16
MOST_WARPS = 16

SHARED = 48 * 1024  # bytes of shared memory that every GPU grants


def rnn_forward(cell: Unrolled, weight: Array, state: Array, y: Array) -> None:
    """h' = tanh(x + h W)."""
    if _fits(state):
        _walk("rnn_forward", cell, state, 2, cache=cell.cache, weight=weight, state=state, y=y)
    else:
        step_by_step.rnn_forward(cell, weight, state, y)


def rnn_backward(cell: Unrolled, weight_t: Array, dstate: Array, dy: Array | None) -> None:
    """da = dh' (1 - h'^2); dh = da W^T."""
    if _fits(dstate):
        _walk("rnn_backward", cell, dstate, 1, weight_t=weight_t, dstate=dstate, dy=dy)
    else:
        step_by_step.rnn_backward(cell, weight_t, dstate, dy)


def gru_forward(cell: Unrolled, weight: Array, bias: Array, state: Array, y: Array) -> None:
    """Gated recurrent unit; bias (B, H), the same row for every sequence."""
    if not _fits(state):
        step_by_step.gru_forward(cell, weight, bias, state, y)
    elif len(bias):
        _walk("gru_forward", cell, state, 2, cache=cell.cache, weight=weight, bias=bias[0], state=state, y=y)


def gru_backward(cell: Unrolled, weight_t: Array, dstate: Array, dy: Array | None) -> None:
    """See `core.ops.cpu.recurrent`. On return cache[2] holds dm."""
    if _fits(dstate):
        _walk("gru_backward", cell, dstate, 3, cache=cell.cache, weight_t=weight_t, dstate=dstate, dy=dy)
    else:
        step_by_step.gru_backward(cell, weight_t, dstate, dy)


def lstm_forward(cell: Unrolled, weight: Array, state: Array, memory: Array, y: Array) -> None:
    """Long short-term memory; memory (B, H), in and out like the state."""
    if _fits(state):
        _walk("lstm_forward", cell, state, 2, cache=cell.cache, weight=weight, state=state, memory=memory, y=y)
    else:
        step_by_step.lstm_forward(cell, weight, state, memory, y)


def lstm_backward(cell: Unrolled, weight_t: Array, dstate: Array, dy: Array | None) -> None:
    """See `core.ops.cpu.recurrent`."""
    if _fits(dstate):
        more = {"cache": cell.cache, "dmemory": cell.work[4]}
        _walk("lstm_backward", cell, dstate, 4, weight_t=weight_t, dstate=dstate, dy=dy, **more)
    else:
        step_by_step.lstm_backward(cell, weight_t, dstate, dy)


def _fits(state: Array) -> bool:
    """Whether a block's rows of the state (B, H) fit into its shared memory."""
    return bool(ROWS * state.shape[1] * state.itemsize <= SHARED)


def _walk(kernel: str, cell: Unrolled, state: Array, matrices: int, /, **arrays: Any) -> None:
    """All steps; `matrices`, of the size of a block's rows of the state, are handed from step to step."""
    if not cell.spans:
        return
    B, H = state.shape
    blocks, columns = -(-B // ROWS), -(-H // WARP_COLUMNS)
    warps = -(-columns // -(-columns // MOST_WARPS))
    elements, bytes_of_one = ROWS * H * matrices, ROWS * H * state.itemsize
    fits = elements * state.itemsize <= SHARED
    scratch = None if fits else array_module(state).empty(blocks * elements, state.dtype)
    launch(
        kernel,
        blocks,
        32 * warps,
        shared_bytes=matrices * bytes_of_one if fits else bytes_of_one,
        gates=cell.gates,
        spans=Steps.of(cell.spans).array(state),
        scratch=scratch,
        **arrays,
    )
