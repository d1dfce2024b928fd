"""What recurrent networks do to all steps at once, on a GPU: products by cuBLAS, as large as they are, and one launch
for all steps of everything else; see `core/kernels/sequences.cu`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.backend import Array, array_module
from core.kernels import THREADS, blocks_for, launch
from core.ops.cpu.recurrent import Spans
from core.ops.steps import Steps

__all__ = ["multiply_steps", "project", "project_backward", "sum_steps", "sum_steps_backward"]

MOST_STEPS = 1024  # side by side in a grid


def project(rows: Array, weight: Array, bias: Array, gates: Array) -> None:
    """See `core.ops.cpu.sequences`, as for all below."""
    for one_weight, gate in zip(weight, gates, strict=True):
        array_module(rows).matmul(rows, one_weight, out=gate)
    launch("add_bias_forward", (blocks_for(gates[0].size), len(gates)), THREADS, bias=bias, gates=gates)


def project_backward(gates: Sequence[Array], weights_t: Sequence[Array], drows: Array, scratch: Array) -> None:
    """drows = sum over directions and gates of gates[d][k] weights_t[d][k]; `scratch` is of no use here.

    The gates of a row are copied side by side, so that one product makes the whole sum.
    """
    xp, M = array_module(drows), len(drows)
    side_by_side = xp.stack([gate for direction in gates for gate in direction], axis=1)  # (M, D K, H)
    one_below_the_other = xp.concatenate([weight_t.reshape(-1, drows.shape[1]) for weight_t in weights_t])
    xp.matmul(side_by_side.reshape(M, len(one_below_the_other)), one_below_the_other, out=drows)


def multiply_steps(rows: Array, factors: Array, spans: Spans) -> None:
    """Multiply all steps of a sequence by the same factors."""
    _launch("multiply_steps_forward", factors.size, spans, rows=rows, factors=factors)


def sum_steps(rows: Array, total: Array, spans: Spans) -> None:
    """total[b] = sum of the steps of sequence b."""
    launch(
        "sum_steps_forward",
        blocks_for(total.size),
        THREADS,
        rows=rows,
        total=total,
        spans=Steps.of(spans).array(rows),
    )


def sum_steps_backward(dtotal: Array, drows: Array, spans: Spans) -> None:
    """Every step of a sequence receives the gradient of its sum."""
    _launch("sum_steps_backward", dtotal.size, spans, dtotal=dtotal, drows=drows)


def _launch(kernel: str, elements: int, spans: Spans, /, **arrays: Any) -> None:
    """A grid for the elements of a step, times the steps."""
    grid = blocks_for(elements), min(len(spans), MOST_STEPS)
    launch(kernel, grid, THREADS, spans=Steps.of(spans).array(next(iter(arrays.values()))), **arrays)
