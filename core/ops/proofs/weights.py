"""Operations on the flat buffers of weights and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from core.ops.proofs.case import Case, Draw, Results
from core.ops.stretches import Stretch

SIZES = [(0,), (1,), (333,), (7001,)]


def _sgd(momentum: float, nesterov: bool, decay: float) -> Callable[..., Results]:
    def run(op: Any, draw: Draw, N: int) -> Results:
        data, factors, scratch = draw.normal(N), draw.output(3), draw.output(N)
        velocity = draw.normal(N) if momentum else None
        for _ in range(2):
            op.set_factors(factors, 0.1, 0, 0)
            op.sgd_update(data, draw.normal(N), velocity, factors, scratch, momentum, nesterov, decay)
        return {"data": data} | ({} if velocity is None else {"velocity": velocity})

    return run


def _adam(amsgrad: bool, decay: float, shrink: bool) -> Callable[..., Results]:
    def run(op: Any, draw: Draw, N: int) -> Results:
        data, m, v, factors, scratch = draw.normal(N), draw.normal(N), draw.positive(N), draw.output(3), draw.output(N)
        largest = draw.positive(N) if amsgrad else None
        for step in range(2):
            op.set_factors(factors, 0.1 / (step + 1), 1e-3, 0.99)
            op.adam_update(data, draw.normal(N), m, v, largest, factors, scratch, (0.9, 0.999), decay, shrink)
        return {"data": data, "m": m, "v": v} | ({} if largest is None else {"largest": largest})

    return run


def _muon(op: Any, draw: Draw, rows: int, columns: int) -> Results:
    """Matrices: two of one shape, some wide ones, one with a rate, like the vectors, and two of hardly any weight."""
    shapes = [(rows, columns), (5,), (columns, rows), (rows, columns), (7, 4), (6,), (4, 3), (3, 4)]
    rates = [None, 2.0, None, None, 0.5, 0.0, None, None]
    sizes = [int(np.prod(shape)) for shape in shapes]
    stretches = [Stretch(sum(sizes[:n]), shape, rates[n]) for n, shape in enumerate(shapes)]
    data, grad, velocity = (draw.normal(sum(sizes)) for _ in range(3))
    data[-24:-12] = 0  # (4, 3)
    data[-12:] *= 1e-30  # (3, 4), of which float32 cannot hold the squares
    update = op.MuonUpdate(data, grad, velocity, stretches, 0.6, 0.85, 0.1)
    update(0.1)
    grad[...] = draw.normal(sum(sizes))
    update(0.05)
    return {"data": data, "velocity": velocity}


CASES = [
    Case("sgd", _sgd(0.0, False, 0.0), SIZES),
    Case("sgd, momentum and decay", _sgd(0.9, False, 0.1), SIZES),
    Case("sgd, nesterov", _sgd(0.9, True, 0.0), SIZES),
    Case("adam", _adam(False, 0.1, False), SIZES),
    Case("amsgrad", _adam(True, 0.0, False), SIZES),
    Case("adamw", _adam(False, 0.0, True), SIZES),
    Case("muon", _muon, [(1, 1), (3, 3), (12, 5), (9, 40), (70, 33)], tolerance=5),
]
