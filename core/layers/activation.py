"""Activation layers. The formulas and their derivatives stand in `core/ops/cpu/activation.py`."""

from __future__ import annotations

from types import ModuleType
from typing import ClassVar, Literal

from core import ops
from core.backend import Array
from core.checks import expect_in
from core.layers.base import Layer, expect_floats


class Activation(Layer):
    """An element-wise function of arrays of any shape; a subclass names its two operations."""

    keeps_output: ClassVar[bool] = False  # whether the derivative is cheaper to compute from y than from x

    def forward(self, x: Array, train: bool = False) -> Array:
        expect_floats(self, x)
        y = self.workspace.take("y", x.shape, x)
        self.compute(ops.of(x), x, y)
        self.remember(train, y if self.keeps_output else x, y=y)
        return y

    def backward(self, dy: Array) -> Array:
        kept: Array = self.recall(dy)
        dx = self.workspace("dx", kept.shape, like=kept)
        self.differentiate(ops.of(kept), dy, kept, dx)
        return dx

    def compute(self, op: ModuleType, x: Array, y: Array) -> None:
        """Fill y from x."""
        raise NotImplementedError

    def differentiate(self, op: ModuleType, dy: Array, kept: Array, dx: Array) -> None:
        """Fill dx from dy and from what forward kept."""
        raise NotImplementedError


class ReLU(Activation):
    """y = max(x, 0)."""

    keeps_output = True

    def compute(self, op: ModuleType, x: Array, y: Array) -> None:
        op.relu_forward(x, y)

    def differentiate(self, op: ModuleType, dy: Array, kept: Array, dx: Array) -> None:
        op.relu_backward(dy, kept, dx)


class LeakyReLU(Activation):
    """y = x where x > 0, else slope * x."""

    keeps_output = True  # has the sign of x, which is all that backward asks for; then nobody need keep x

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        expect_in("[0, 1]", self, slope=slope)
        self.slope = slope

    def compute(self, op: ModuleType, x: Array, y: Array) -> None:
        if self.slope:
            op.leaky_relu_forward(x, y, self.slope)
        else:  # 0 times infinity would be no number
            op.relu_forward(x, y)

    def differentiate(self, op: ModuleType, dy: Array, kept: Array, dx: Array) -> None:
        op.leaky_relu_backward(dy, kept, dx, self.slope)


class GELU(Activation):
    """y = x * Phi(x), Phi being the normal distribution function (Hendrycks and Gimpel 2016, arXiv:1606.08415).

    `approximate="tanh"` replaces Phi by the formula with tanh, which is off by at most 0.0005.
    """

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ValueError(f'GELU expected approximate="none" or "tanh", got {approximate!r}')
        self.approximate = approximate

    def compute(self, op: ModuleType, x: Array, y: Array) -> None:
        (op.gelu_forward if self.approximate == "none" else op.gelu_tanh_forward)(x, y)

    def differentiate(self, op: ModuleType, dy: Array, kept: Array, dx: Array) -> None:
        (op.gelu_backward if self.approximate == "none" else op.gelu_tanh_backward)(dy, kept, dx)


class SELU(Activation):
    """y = scale * (x where x > 0, else alpha * (exp(x) - 1)), which drives activations to mean 0 and variance 1.

    Klambauer et al. 2017, arXiv:1706.02515.
    """

    keeps_output = True

    def compute(self, op: ModuleType, x: Array, y: Array) -> None:
        op.selu_forward(x, y)

    def differentiate(self, op: ModuleType, dy: Array, kept: Array, dx: Array) -> None:
        op.selu_backward(dy, kept, dx)


class Softplus(Activation):
    """y = log(1 + exp(beta x)) / beta, and simply x where beta x > threshold (there they agree to rounding)."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        expect_in("(0, inf)", self, beta=beta)
        expect_in("[-inf, inf]", self, threshold=threshold)
        self.beta, self.threshold = beta, threshold

    def compute(self, op: ModuleType, x: Array, y: Array) -> None:
        op.softplus_forward(x, y, self.beta, self.threshold)

    def differentiate(self, op: ModuleType, dy: Array, kept: Array, dx: Array) -> None:
        op.softplus_backward(dy, kept, dx, self.beta, self.threshold)


class Sigmoid(Activation):
    """y = 1 / (1 + exp(-x))."""

    keeps_output = True

    def compute(self, op: ModuleType, x: Array, y: Array) -> None:
        op.sigmoid_forward(x, y)

    def differentiate(self, op: ModuleType, dy: Array, kept: Array, dx: Array) -> None:
        op.sigmoid_backward(dy, kept, dx)


class Tanh(Activation):
    """y = tanh(x)."""

    keeps_output = True

    def compute(self, op: ModuleType, x: Array, y: Array) -> None:
        op.tanh_forward(x, y)

    def differentiate(self, op: ModuleType, dy: Array, kept: Array, dx: Array) -> None:
        op.tanh_backward(dy, kept, dx)
