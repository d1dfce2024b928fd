"""What recurrent networks do to all steps of packed sequences at once, and step by step without a cell.

Rows are packed as `core.layers.sequences.Layout` says: `spans` lists (first row, number of rows) of each step, and the
rows of a step belong to the first of the B sequences, the longest first.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.backend import Array
from core.ops.cpu.products import product_for
from core.ops.cpu.recurrent import Spans

__all__ = ["multiply_steps", "project", "project_backward", "sum_steps", "sum_steps_backward"]

ROWS = 512  # rows of a large product that are worked on while they are in the cache


def project(rows: Array, weight: Array, bias: Array, gates: Array) -> None:
    """gates[k] = rows weight[k] + bias[k]: rows (M, I), weight (K, I, H), bias (K, H), gates (K, M, H)."""
    multiply = product_for(rows)
    for start in range(0, len(rows), ROWS):
        part = slice(start, start + ROWS)
        multiply(rows[part], weight, gates[:, part])
        gates[:, part] += bias[:, None]


def project_backward(gates: Sequence[Array], weights_t: Sequence[Array], drows: Array, scratch: Array) -> None:
    """drows = sum over directions and gates of gates[d][k] weights_t[d][k].

    gates: (K, M, H) a direction; weights_t: (K, H, I) a direction; drows: (M, I); scratch: (ROWS, I).
    """
    multiply = product_for(drows)
    pairs = [pair for direction in zip(gates, weights_t, strict=True) for pair in zip(*direction, strict=True)]
    for start in range(0, len(drows), ROWS):
        part = slice(start, start + ROWS)
        total = drows[part]
        product = scratch[: len(total)]
        for number, (gate, weight_t) in enumerate(pairs):
            multiply(gate[part], weight_t, product if number else total)
            if number:
                total += product


def multiply_steps(rows: Array, factors: Array, spans: Spans) -> None:
    """Multiply all steps of a sequence by the same factors: rows (M, C) in place, factors (B, C) longest first."""
    for start, count in spans:
        rows[start : start + count] *= factors[:count]


def sum_steps(rows: Array, total: Array, spans: Spans) -> None:
    """total[b] = sum of the steps of sequence b: rows (M, C), total (B, C) longest first."""
    total[...] = 0
    for start, count in spans:
        total[:count] += rows[start : start + count]


def sum_steps_backward(dtotal: Array, drows: Array, spans: Spans) -> None:
    """Every step of a sequence receives the gradient of its sum."""
    for start, count in spans:
        drows[start : start + count] = dtotal[:count]
