"""Activation functions: every forward with its derivative right under it.

All work element by element on arrays of any shape. A forward fills `y` from `x`; a backward fills `dx` from `dy` and
from whichever of `x` and `y` makes the derivative cheapest. `dx` may be `dy` itself.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

from core.backend import Array, array_module
from core.ops.cpu.blocks import ZERO, ZEROS, blocks, number

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

# Klambauer et al. 2017, arXiv:1706.02515, eq. 2: the fixed point of the map of means and variances.
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805

FEW = 256  # elements, for which a view of many zeros is not worth while
SQRT_HALF = math.sqrt(0.5)
SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
FAR = 40.0  # from here on the normal distribution has no tail, in any dtype
GELU_CUBIC = 0.044715  # Hendrycks and Gimpel 2016, arXiv:1606.08415


def relu_forward(x: Array, y: Array) -> None:
    """y = max(x, 0); x may be y. With a line of zeros that is several times as fast as with a single zero."""
    if x.size <= FEW:
        np.maximum(x, ZERO[x.dtype], out=y)
        return
    line, flat_x, flat_y = ZEROS[x.dtype], x.reshape(-1), y.reshape(-1)
    whole = flat_x.size // line.size * line.size
    if whole:
        np.maximum(flat_x[:whole].reshape(-1, line.size), line, out=flat_y[:whole].reshape(-1, line.size))
    if whole < flat_x.size:
        np.maximum(flat_x[whole:], line[: flat_x.size - whole], out=flat_y[whole:])


def relu_backward(dy: Array, y: Array, dx: Array) -> None:
    """dx = dy where y > 0, else 0."""
    xp = array_module(y)
    for dy_part, y_part, dx_part in blocks(dy, y, dx):
        xp.multiply(dy_part, y_part > 0, out=dx_part)


def leaky_relu_forward(x: Array, y: Array, slope: float) -> None:
    """y = x where x > 0, else slope * x; for 0 <= slope <= 1. x may be y, or another view of its memory."""
    xp, factor = array_module(x), number(slope, x)
    may_overlap = _owner(x) is _owner(y)
    for x_part, y_part in blocks(x, y):
        scaled = xp.multiply(x_part, factor, out=None if may_overlap else y_part)
        xp.maximum(x_part, scaled, out=y_part)


def _owner(array: Array) -> Array:
    return array if array.base is None else array.base


def leaky_relu_backward(dy: Array, y: Array, dx: Array, slope: float) -> None:
    """dx = dy where y > 0, else slope * dy; y has the sign of x."""
    xp = array_module(y)
    for dy_part, y_part, dx_part in blocks(dy, y, dx):
        factor = (y_part > 0) * y.dtype.type(1 - slope)
        factor += slope
        xp.multiply(dy_part, factor, out=dx_part)


def sigmoid_forward(x: Array, y: Array) -> None:
    """y = 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2, which cannot overflow."""
    xp = array_module(x)
    for x_part, y_part in blocks(x, y):
        xp.multiply(x_part, 0.5, out=y_part)
        xp.tanh(y_part, out=y_part)
        y_part += 1
        y_part *= 0.5


def sigmoid_backward(dy: Array, y: Array, dx: Array) -> None:
    """dx = dy * y * (1 - y)."""
    xp = array_module(y)
    for dy_part, y_part, dx_part in blocks(dy, y, dx):
        slope = 1 - y_part
        slope *= y_part
        xp.multiply(dy_part, slope, out=dx_part)


def tanh_forward(x: Array, y: Array) -> None:
    """y = tanh(x)."""
    array_module(x).tanh(x, out=y)


def tanh_backward(dy: Array, y: Array, dx: Array) -> None:
    """dx = dy * (1 - y^2)."""
    xp = array_module(y)
    for dy_part, y_part, dx_part in blocks(dy, y, dx):
        slope = y_part * y_part
        xp.subtract(1, slope, out=slope)
        xp.multiply(dy_part, slope, out=dx_part)


def softplus_forward(x: Array, y: Array, beta: float, threshold: float) -> None:
    """y = log(1 + exp(beta x)) / beta, and simply x where beta x > threshold; x may be y."""
    xp = array_module(x)
    for x_part, y_part in blocks(x, y):
        z = x_part * beta
        linear = z > threshold
        xp.logaddexp(z, z.dtype.type(0), out=z)
        z /= beta
        xp.copyto(z, x_part, where=linear)
        y_part[...] = z


def softplus_backward(dy: Array, x: Array, dx: Array, beta: float, threshold: float) -> None:
    """dx = dy * sigmoid(beta x), and dy where beta x > threshold."""
    xp = array_module(x)
    for dy_part, x_part, dx_part in blocks(dy, x, dx):
        z = x_part * beta
        linear = z > threshold
        sigmoid_forward(z, z)
        z[linear] = 1
        xp.multiply(dy_part, z, out=dx_part)


def selu_forward(x: Array, y: Array) -> None:
    """y = scale * (x where x > 0, else alpha * (exp(x) - 1))."""
    xp = array_module(x)
    for x_part, y_part in blocks(x, y):
        negative = xp.minimum(x_part, 0)
        xp.expm1(negative, out=negative)
        negative *= SELU_ALPHA * SELU_SCALE
        xp.maximum(x_part, 0, out=y_part)
        y_part *= SELU_SCALE
        y_part += negative


def selu_backward(dy: Array, y: Array, dx: Array) -> None:
    """dx = dy * scale where y > 0, else dy * (y + scale * alpha), because the derivative of exp is exp."""
    xp = array_module(y)
    for dy_part, y_part, dx_part in blocks(dy, y, dx):
        slope = xp.minimum(y_part, 0)
        slope += SELU_SCALE * SELU_ALPHA
        slope[y_part > 0] = SELU_SCALE
        xp.multiply(dy_part, slope, out=dx_part)


def gelu_forward(x: Array, y: Array) -> None:
    """y = x * Phi(x) with the normal distribution function Phi(x) = (1 + erf(x / sqrt 2)) / 2.

    Which is max(x, 0) - |x| Phi(-|x|).
    """
    xp = array_module(x)
    for x_part, y_part in blocks(x, y):
        t = _distance(x_part)
        t *= _normal_tail(t)
        xp.maximum(x_part, 0, out=y_part)
        y_part -= t


def gelu_backward(dy: Array, x: Array, dx: Array) -> None:
    """dx = dy * (Phi(x) + x * phi(x)) with the normal density phi(x) = exp(-x^2 / 2) / sqrt(2 pi)."""
    xp = array_module(x)
    for dy_part, x_part, dx_part in blocks(dy, x, dx):
        t = _distance(x_part)
        phi = xp.exp(-0.5 * t * t)
        phi *= 1 / math.sqrt(2 * math.pi)
        tail = _normal_tail(t)
        tail -= t * phi  # the slope for -t; that for t is 1 minus it
        xp.multiply(dy_part, xp.where(x_part > 0, 1 - tail, tail), out=dx_part)


def gelu_tanh_forward(x: Array, y: Array) -> None:
    """y = x (1 + tanh u) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    xp = array_module(x)
    for x_part, y_part in blocks(x, y):
        half = _gelu_tanh(xp.clip(x_part, -FAR, FAR))
        half += 1
        half *= 0.5
        xp.multiply(xp.maximum(x_part, -FAR), half, out=y_part)


def gelu_tanh_backward(dy: Array, x: Array, dx: Array) -> None:
    """dx = dy ((1 + t) / 2 + x (1 - t^2) u' / 2) with t = tanh u and u' = sqrt(2 / pi) (1 + 3 * 0.044715 x^2)."""
    xp = array_module(x)
    for dy_part, x_part, dx_part in blocks(dy, x, dx):
        near = xp.clip(x_part, -FAR, FAR)
        t = _gelu_tanh(near)
        slope = near * near
        slope *= 3 * GELU_CUBIC
        slope += 1
        slope *= SQRT_2_OVER_PI
        slope *= near
        slope *= 1 - t * t
        slope += t
        slope += 1
        slope *= 0.5
        xp.multiply(dy_part, slope, out=dx_part)


def _gelu_tanh(x: Array) -> Any:
    u = x * x
    u *= GELU_CUBIC
    u += 1
    u *= x
    u *= SQRT_2_OVER_PI
    return array_module(x).tanh(u, out=u)


def _distance(x: Array) -> Any:
    """|x|, but at most `FAR`, with which products neither overflow nor are 0 times infinity."""
    xp = array_module(x)
    t = xp.abs(x)
    return xp.minimum(t, FAR, out=t)


def _normal_tail(t: Array) -> Any:
    """Phi(-t) for t >= 0, to the precision of the dtype.

    It is exp(-t^2 / 2) g(t) / 2, where g(t) = exp(t^2 / 2) erfc(t / sqrt 2) is so smooth that a short Chebyshev series
    in u = (t - 4) / (t + 4) gives it on the whole half-line (Shepherd and Laframboise 1981).
    """
    xp = array_module(t)
    tail = _chebyshev_sum(_tail_series(t.itemsize >= 8), (t - 4) / (t + 4))
    square = t * t
    square *= -0.5
    tail *= xp.exp(square, out=square)
    tail *= 0.5
    return tail


@functools.cache
def _tail_series(double: bool) -> list[float]:
    """The Chebyshev coefficients of g: 30 for float64, 11 for float32."""

    degree = 29 if double else 10
    u = chebyshev.chebpts1(degree + 1)
    g = [_scaled_erfc(4 * (1 + v) / (1 - v) * SQRT_HALF) for v in u.tolist()]
    coefficients: list[float] = chebyshev.chebfit(u, g, degree).tolist()
    return coefficients


def _scaled_erfc(z: float) -> float:
    """exp(z^2) erfc(z); beyond z = 25, where erfc underflows, its asymptotic series."""
    if z < 25:
        return math.exp(z * z) * math.erfc(z)
    square = 2 * z * z
    return (1 - 1 / square + 3 / square**2 - 15 / square**3) / (z * math.sqrt(math.pi))


def _chebyshev_sum(coefficients: list[float], u: Any) -> Any:
    """Clenshaw's recurrence for sum_k c_k T_k(u)."""
    double_u = 2 * u
    later, latest = 0 * u, 0 * u
    for coefficient in reversed(coefficients[1:]):
        later, latest = latest, double_u * latest - later + coefficient
    return u * latest - later + coefficients[0]
