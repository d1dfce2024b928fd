"""Recurrent cells on a GPU: one launch walks through all steps, in both directions; see `core/kernels/recurrent.cu`.

The contracts, and the formulas, are those of `core.ops.cpu.recurrent`. What is too large for a kernel goes step by step
as it does there, with cuBLAS: products of that size are worth a launch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.backend import Array, array_module
from core.kernels import launch
from core.kernels.arguments import MOST_SHARED
from core.ops.cpu import recurrent as step_by_step
from core.ops.cpu.recurrent import Unrolled
from core.ops.steps import Steps

__all__ = ["gru_backward", "gru_forward", "lstm_backward", "lstm_forward", "rnn_backward", "rnn_forward"]

# As in walk.cuh.
ROWS = 8  # sequences of a block
WARP_COLUMNS = 16
MOST_WARPS = 16

most_shared = MOST_SHARED  # bytes of shared memory that a block may have; the proofs allow less


def rnn_forward(*directions: tuple[Unrolled, Array, Array, Array]) -> None:
    """h' = tanh(x + h W)."""
    if not _fits(directions):
        return step_by_step.rnn_forward(*directions)
    cells, weights, states, ys = zip(*directions, strict=True)
    _walk("rnn_forward", cells, 2, weight=weights, state=states, y=ys, cache=_caches(cells))


def rnn_backward(*directions: tuple[Unrolled, Array, Array, Array | None]) -> None:
    """da = dh' (1 - h'^2); dh = da W^T."""
    if not _fits(directions):
        return step_by_step.rnn_backward(*directions)
    cells, weights_t, dstates, dys = zip(*directions, strict=True)
    _walk("rnn_backward", cells, 1, weight_t=weights_t, dstate=dstates, dy=dys)


def gru_forward(*directions: tuple[Unrolled, Array, Array, Array, Array]) -> None:
    """Gated recurrent unit; bias (B, H), the same row for every sequence."""
    if not _fits(directions):
        return step_by_step.gru_forward(*directions)
    cells, weights, states, ys, biases = zip(*directions, strict=True)
    rows = [bias[0] for bias in biases if len(bias)]
    _walk("gru_forward", cells, 2, weight=weights, state=states, y=ys, bias=rows, cache=_caches(cells))


def gru_backward(*directions: tuple[Unrolled, Array, Array, Array | None]) -> None:
    """See `core.ops.cpu.recurrent`. On return cache[2] holds dm."""
    if not _fits(directions):
        return step_by_step.gru_backward(*directions)
    cells, weights_t, dstates, dys = zip(*directions, strict=True)
    _walk("gru_backward", cells, 3, weight_t=weights_t, dstate=dstates, dy=dys, cache=_caches(cells))


def lstm_forward(*directions: tuple[Unrolled, Array, Array, Array, Array]) -> None:
    """Long short-term memory; memory (B, H), in and out like the state."""
    if not _fits(directions):
        return step_by_step.lstm_forward(*directions)
    cells, weights, states, ys, memories = zip(*directions, strict=True)
    _walk("lstm_forward", cells, 2, weight=weights, state=states, y=ys, memory=memories, cache=_caches(cells))


def lstm_backward(*directions: tuple[Unrolled, Array, Array, Array | None]) -> None:
    """See `core.ops.cpu.recurrent`."""
    if not _fits(directions):
        return step_by_step.lstm_backward(*directions)
    cells, weights_t, dstates, dys = zip(*directions, strict=True)
    more = {"cache": _caches(cells), "dmemory": [cell.work[4] for cell in cells]}
    _walk("lstm_backward", cells, 4, weight_t=weights_t, dstate=dstates, dy=dys, **more)


def _fits(directions: Sequence[tuple[Any, ...]]) -> bool:
    """Whether a block's rows of the state fit into its shared memory."""
    work = directions[0][0].work  # (K + 1, B, H)
    return bool(ROWS * work.shape[2] * work.itemsize <= most_shared)


def _caches(cells: Sequence[Unrolled]) -> list[Array | None]:
    return [cell.cache for cell in cells]


def _walk(kernel: str, cells: Sequence[Unrolled], matrices: int, /, **arrays: Sequence[Any]) -> None:
    """All steps of all directions, whose arrays come side by side.

    `matrices`, of the size of a block's rows of the state, are handed from step to step.
    """
    if not cells[0].spans:
        return
    work = cells[0].work
    _, B, H = work.shape
    blocks, columns = -(-B // ROWS), -(-H // WARP_COLUMNS)
    warps = -(-columns // -(-columns // MOST_WARPS))
    elements, bytes_of_one = ROWS * H * matrices, ROWS * H * work.itemsize
    fits = elements * work.itemsize <= most_shared
    scratch = None if fits else array_module(work).empty(len(cells) * blocks * elements, work.dtype)
    arrays["gates"] = [cell.gates for cell in cells]
    arrays["spans"] = [Steps.of(cell.spans).array(work) for cell in cells]
    launch(
        kernel,
        (blocks, len(cells)),
        32 * warps,
        shared_bytes=matrices * bytes_of_one if fits else bytes_of_one,
        scratch=scratch,
        **{name: of_each[0] for name, of_each in arrays.items()},
        **{f"{name}_2": of_each[-1] for name, of_each in arrays.items()},
    )
