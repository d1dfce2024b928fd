"""Recurrent cells over packed sequences, in both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from core.ops.cpu.recurrent import Unrolled
from core.ops.cpu.sequences import ROWS
from core.ops.gpu import recurrent
from core.ops.proofs.case import Case, Draw, Results

SIZES = [(0, 3), (1, 1), (4, 5), (9, 40), (19, 37), (3, 128)]  # sequences, hidden units
LARGE = (1, 776)  # more than shared memory holds of a step
TOO_LARGE = (2, 1537)  # for a kernel
LITTLE = 8704  # bytes of shared memory
LARGE_FOR_LITTLE = [(9, 100), (2, 192), (1, 265)]  # the last one, for which some warps have more to do than others
KINDS = {"rnn": (1, 1), "gru": (3, 3), "lstm": (4, 3)}  # gates, arrays in the cache


def spans_of(B: int) -> list[tuple[int, int]]:
    """Steps of B sequences of 1 to 6 steps: (first row, number of rows)."""
    lengths = np.sort(np.random.default_rng(B).integers(1, 7, B))[::-1]
    counts = [int((lengths > t).sum()) for t in range(int(lengths.max(initial=0)))]
    return list(zip(np.cumsum([0, *counts])[:-1].tolist(), counts, strict=True))


def _cell(name: str, ways: tuple[bool, ...], dy_given: bool) -> Callable[..., Results]:
    """`ways` says for each direction whether it begins at the end."""

    def run(op: Any, draw: Draw, B: int, H: int) -> Results:
        M = sum(count for _, count in spans_of(B))
        results: dict[str, Any] = {}
        for train in (True, False):
            both = draw.output(M, 2 * H)  # a layer's two directions write side by side
            columns = [slice(H, 2 * H), slice(H)][: len(ways)]
            walks = [
                _walk(name, B, reverse, train, draw, both[:, part]) for reverse, part in zip(ways, columns, strict=True)
            ]
            getattr(op, f"{name}_forward")(*walks)
            for number, (_, _, state, y, *more) in enumerate(walks):
                results |= {f"{number} y {train}": y.copy(), f"{number} state {train}": state}
                results |= {f"{number} memory {train}": more[0]} if name == "lstm" else {}
            if train:
                results |= _backward(op, draw, [(cell, weight) for cell, weight, *_ in walks], columns)
        return results

    def _backward(op: Any, draw: Draw, walked: list[tuple[Unrolled, Any]], columns: list[slice]) -> Results:
        results: dict[str, Any] = {}
        walks = []
        for number, ((cell, weight), part) in enumerate(zip(walked, columns, strict=True)):
            B, H = cell.work.shape[1:]
            dstate, dy = draw.normal(B, H), draw.normal(cell.gates.shape[1], 2 * H)[:, part] if dy_given else None
            walks.append((cell, weight.swapaxes(1, 2).copy(), dstate, dy))
            results |= {f"{number} slopes": cell.gates.copy(), f"{number} gates": cell.gates}
            results |= {f"{number} cache": cell.cache, f"{number} dstate": dstate}
        getattr(op, f"{name}_backward")(*walks)
        return results

    return run


def _in_little_memory(run: Callable[..., Results]) -> Callable[..., Results]:
    """The same with so little shared memory that large steps are small ones."""

    def run_so(op: Any, draw: Draw, B: int, H: int) -> Results:
        before, recurrent.most_shared = recurrent.most_shared, LITTLE
        try:
            return run(op, draw, B, H)
        finally:
            recurrent.most_shared = before

    return run_so


def _walk(name: str, B: int, reverse: bool, train: bool, draw: Draw, y: Any) -> tuple[Any, ...]:
    """The arguments of a forward for one direction, whose states become y (M, H)."""
    (K, cached), (M, H) = KINDS[name], y.shape
    spans = spans_of(B)
    more = {"rnn": (), "gru": (_rows(draw, draw.normal(H), B),), "lstm": (draw.normal(B, H),)}[name]
    cell = Unrolled(
        draw.normal(K, M, H),
        spans[::-1] if reverse else spans,
        draw.output(K + 1, B, H),
        draw.output(cached, M, H) if train else None,
    )
    return cell, draw.normal(K, H, H) * H**-0.5, draw.normal(B, H), y, *more


def _project(op: Any, draw: Draw, B: int, H: int) -> Results:
    K, M, rows = 3, 5 * B, draw.normal(5 * B, 7)
    gates, drows = draw.output(K, M, H), draw.output(M, 7)
    op.project(rows, draw.normal(K, 7, H), draw.normal(K, H), gates)
    both, weights_t = [gates[:, :B], draw.normal(K, B, H)], [draw.normal(K, H, 7), draw.normal(K, H, 7)]
    op.project_backward(both, weights_t, drows[:B], draw.output(ROWS, 7))
    return {"gates": gates, "drows": drows[:B]}


def _steps(op: Any, draw: Draw, B: int, C: int) -> Results:
    spans = spans_of(B)
    rows, drows = draw.normal(sum(count for _, count in spans), C), draw.output(sum(count for _, count in spans), C)
    factors, total = draw.normal(B, C), draw.output(B, C)
    op.multiply_steps(rows, factors, spans)
    op.sum_steps(rows, total, spans)
    op.sum_steps_backward(factors, drows, spans)
    return {"rows": rows, "total": total, "drows": drows}


def _rows(draw: Draw, row: Any, count: int) -> Any:
    """`count` copies of a row."""
    rows = draw.output(count, len(row))
    rows[...] = row
    return rows


CASES = [
    Case("projection", _project, [(0, 3), (1, 1), (4, 5), (41, 40)], tolerance=10),
    Case("steps", _steps, [(0, 3), (1, 1), (4, 5), (41, 40)]),
    Case("rnn", _cell("rnn", (False,), True), [*SIZES, LARGE], tolerance=10),
    Case("rnn, both ways", _cell("rnn", (False, True), True), [*SIZES, TOO_LARGE], tolerance=10),
    Case("rnn, last state only", _cell("rnn", (True,), False), SIZES, tolerance=10),
    Case("gru", _cell("gru", (False,), True), SIZES, tolerance=10),
    Case("gru, both ways", _cell("gru", (True, False), True), SIZES, tolerance=10),
    Case("gru, little memory", _in_little_memory(_cell("gru", (True, False), True)), LARGE_FOR_LITTLE, tolerance=10),
    Case("gru, last state only", _cell("gru", (False, True), False), SIZES, tolerance=10),
    Case("lstm", _cell("lstm", (False,), True), SIZES, tolerance=10),
    Case("lstm, both ways", _cell("lstm", (False, True), True), SIZES, tolerance=10),
    Case("lstm, from the end", _cell("lstm", (True,), False), SIZES, tolerance=10),
]
