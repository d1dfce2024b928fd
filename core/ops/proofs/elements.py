"""Operations on single elements: activations, dropout, conversions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from core.ops.proofs.case import Case, Draw, Results
from core.random import Stream

SIZES = [(0,), (1,), (255,), (2049,), (33, 7), (14001,)]  # the last is beyond the grid of the tests
ALL = ("float32", "float64", "float16")


def _activation(name: str, keeps_output: bool, *settings: float) -> Callable[..., Results]:
    def run(op: Any, draw: Draw, *size: int) -> Results:
        x, dy, y, dx = draw.normal(*size) * 3, draw.normal(*size), draw.output(*size), draw.output(*size)
        x[:1] = np.nan  # which must not be hidden
        x[1:2], x[2:3] = np.inf, -np.inf
        getattr(op, f"{name}_forward")(x, y, *settings)
        getattr(op, f"{name}_backward")(dy, y if keeps_output else x, dx, *settings)
        dy_in_place = dy.copy()
        getattr(op, f"{name}_backward")(dy_in_place, y if keeps_output else x, dy_in_place, *settings)
        return {"y": y, "dx": dx, "dx in place": dy_in_place}

    return run


def _relu_in_place(op: Any, draw: Draw, *size: int) -> Results:
    x = draw.normal(*size)
    op.relu_forward(x, x)
    return {"x": x}


def _dropout(op: Any, draw: Draw, N: int, D: int) -> Results:
    stream = Stream(5)
    stream.seek(3, 2**33)
    stream.first_row = 11
    x, dy = draw.normal(N, D), draw.normal(N, D)
    mask, y, dx = (draw.output(N, D) for _ in range(3))
    op.dropout_forward(x, stream.draws(4, N, D), 0.3, mask, y)
    op.dropout_backward(dy, mask, dx)
    return {"mask": mask, "y": y, "dx": dx}


def _half(op: Any, draw: Draw, N: int) -> Results:
    values, half, back = draw.normal(N), draw.output(N, dtype=np.float16), draw.output(N)
    op.cast(values, half, 30000.0)  # some of it is too large
    op.cast(half, back, 2**-8)
    return {"half": half, "back": back}


def _unscale(op: Any, draw: Draw, N: int) -> Results:
    results: dict[str, Any] = {}
    for name, bad in (("fine", 1.0), ("infinite", np.inf), ("no number", np.nan)):
        grad, flag = draw.normal(N), draw.array([0], np.int32)
        grad[N // 2 : N // 2 + 1] *= bad
        op.unscale(grad, 2**-10, flag)
        results |= {f"{name}: grad": grad, f"{name}: overflow": flag}
    return results


CASES = [
    Case("relu", _activation("relu", True), SIZES, ALL),
    Case("relu in place", _relu_in_place, SIZES, ALL),
    Case("leaky_relu", _activation("leaky_relu", False, 0.2), SIZES, ALL),
    Case("sigmoid", _activation("sigmoid", True), SIZES, ALL),
    Case("tanh", _activation("tanh", True), SIZES, ALL),
    Case("softplus", _activation("softplus", False, 2.0, 4.0), SIZES, ALL),
    Case("selu", _activation("selu", True), SIZES, ALL),
    Case("gelu", _activation("gelu", False), SIZES, ALL),
    Case("gelu_tanh", _activation("gelu_tanh", False), SIZES, ALL),
    Case("dropout", _dropout, [(0, 5), (1, 1), (3, 16), (37, 100), (700, 33), (300, 64)], ALL),
    Case("float16 and back", _half, [(0,), (1,), (14001,)], ("float32",)),
    Case("unscale", _unscale, [(0,), (1,), (14001,)], ("float32",)),
]
