"""What recurrent networks do to all steps at once, on a GPU: products by cuBLAS, as large as they are."""

from __future__ import annotations

from collections.abc import Sequence

from core.backend import Array, array_module
from core.ops.cpu.sequences import multiply_steps, sum_steps, sum_steps_backward
from core.ops.gpu.activation import IDENTITY, activate

__all__ = ["multiply_steps", "project", "project_backward", "sum_steps", "sum_steps_backward"]


def project(rows: Array, weight: Array, bias: Array, gates: Array) -> None:
    """See `core.ops.cpu.sequences`, as for all below."""
    for one_weight, one_bias, gate in zip(weight, bias, gates, strict=True):
        array_module(rows).matmul(rows, one_weight, out=gate)
        activate(IDENTITY, gate, one_bias, gate)


def project_backward(gates: Sequence[Array], weights_t: Sequence[Array], drows: Array, scratch: Array) -> None:
    """drows = sum over directions and gates of gates[d][k] weights_t[d][k]; `scratch` is of no use here."""
    xp = array_module(drows)
    pairs = [pair for direction in zip(gates, weights_t, strict=True) for pair in zip(*direction, strict=True)]
    product = xp.empty_like(drows)
    for number, (gate, weight_t) in enumerate(pairs):
        xp.matmul(gate, weight_t, out=product if number else drows)
        if number:
            drows += product
