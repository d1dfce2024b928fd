"""Activation functions on a GPU: one kernel for all of them; see `core/kernels/activation.cu`."""

from __future__ import annotations

from core.backend import Array
from core.kernels import THREADS, blocks_for, launch

__all__ = [
    "gelu_backward",
    "gelu_forward",
    "gelu_tanh_backward",
    "gelu_tanh_forward",
    "leaky_relu_backward",
    "leaky_relu_forward",
    "relu_backward",
    "relu_forward",
    "selu_backward",
    "selu_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "softplus_backward",
    "softplus_forward",
    "tanh_backward",
    "tanh_forward",
]

# The order of the enumeration in activation.cu.
IDENTITY, RELU, LEAKY_RELU, SIGMOID, TANH, SOFTPLUS, SELU, GELU, GELU_TANH = range(9)


def activate(kind: int, x: Array, bias: Array | None, y: Array, a: float = 0.0, b: float = 0.0) -> None:
    """y = f(x + bias), where the bias (C,) belongs to the last axis; y may be x."""
    columns = 1 if bias is None else len(bias)
    launch(
        "activation_forward", blocks_for(x.size), THREADS, x=x, bias=bias, y=y, N=x.size, C=columns, kind=kind, a=a, b=b
    )


def differentiate(kind: int, dy: Array, kept: Array, dx: Array, a: float = 0.0, b: float = 0.0) -> None:
    """dx = dy * f', from x or y as the CPU's operation of that name takes it; dx may be dy."""
    launch("activation_backward", blocks_for(dy.size), THREADS, dy=dy, kept=kept, dx=dx, kind=kind, a=a, b=b)


def relu_forward(x: Array, y: Array) -> None:
    """See `core.ops.cpu.activation`, as for all below."""
    activate(RELU, x, None, y)


def relu_backward(dy: Array, y: Array, dx: Array) -> None:
    """dx = dy where y > 0, else 0."""
    differentiate(RELU, dy, y, dx)


def leaky_relu_forward(x: Array, y: Array, slope: float) -> None:
    """y = x where x > 0, else slope * x."""
    activate(LEAKY_RELU, x, None, y, slope)


def leaky_relu_backward(dy: Array, y: Array, dx: Array, slope: float) -> None:
    """dx = dy where y > 0, else slope * dy; y has the sign of x."""
    differentiate(LEAKY_RELU, dy, y, dx, slope)


def sigmoid_forward(x: Array, y: Array) -> None:
    """y = 1 / (1 + exp(-x))."""
    activate(SIGMOID, x, None, y)


def sigmoid_backward(dy: Array, y: Array, dx: Array) -> None:
    """dx = dy * y * (1 - y)."""
    differentiate(SIGMOID, dy, y, dx)


def tanh_forward(x: Array, y: Array) -> None:
    """y = tanh(x)."""
    activate(TANH, x, None, y)


def tanh_backward(dy: Array, y: Array, dx: Array) -> None:
    """dx = dy * (1 - y^2)."""
    differentiate(TANH, dy, y, dx)


def softplus_forward(x: Array, y: Array, beta: float, threshold: float) -> None:
    """y = log(1 + exp(beta x)) / beta, and simply x where beta x > threshold."""
    activate(SOFTPLUS, x, None, y, beta, threshold)


def softplus_backward(dy: Array, x: Array, dx: Array, beta: float, threshold: float) -> None:
    """dx = dy * sigmoid(beta x), and dy where beta x > threshold."""
    differentiate(SOFTPLUS, dy, x, dx, beta, threshold)


def selu_forward(x: Array, y: Array) -> None:
    """y = scale * (x where x > 0, else alpha * (exp(x) - 1))."""
    activate(SELU, x, None, y)


def selu_backward(dy: Array, y: Array, dx: Array) -> None:
    """dx = dy * scale where y > 0, else dy * (y + scale * alpha)."""
    differentiate(SELU, dy, y, dx)


def gelu_forward(x: Array, y: Array) -> None:
    """y = x * Phi(x)."""
    activate(GELU, x, None, y)


def gelu_backward(dy: Array, x: Array, dx: Array) -> None:
    """dx = dy * (Phi(x) + x * phi(x))."""
    differentiate(GELU, dy, x, dx)


def gelu_tanh_forward(x: Array, y: Array) -> None:
    """y = x (1 + tanh u) / 2."""
    activate(GELU_TANH, x, None, y)


def gelu_tanh_backward(dy: Array, x: Array, dx: Array) -> None:
    """dx = dy ((1 + t) / 2 + x (1 - t^2) u' / 2)."""
    differentiate(GELU_TANH, dy, x, dx)
