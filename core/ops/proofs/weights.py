"""Operations on the flat buffers of weights and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.ops.proofs.case import Case, Draw, Results

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


CASES = [
    Case("sgd", _sgd(0.0, False, 0.0), SIZES),
    Case("sgd, momentum and decay", _sgd(0.9, False, 0.1), SIZES),
    Case("sgd, nesterov", _sgd(0.9, True, 0.0), SIZES),
    Case("adam", _adam(False, 0.1, False), SIZES),
    Case("amsgrad", _adam(True, 0.0, False), SIZES),
    Case("adamw", _adam(False, 0.0, True), SIZES),
]
