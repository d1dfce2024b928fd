"""Muon's update: steps on matrices of weights that have all their singular values about alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.backend import Array, array_module
from core.ops.cpu.optim import square_sum
from core.ops.stretches import Stretch

__all__ = ["MuonUpdate"]

# Of the odd polynomial a s + b s^3 + c s^5 that Newton and Schulz's iteration applies to each singular value s: chosen
# for the steepest start, so that after a few rounds all of them lie somewhere between 0.5 and 1.5.
A, B, C = 3.4445, -4.7750, 2.0315
ROUNDS = 3
SMALLEST = 1e-7  # is added to a norm, so that a step of zeros stays one


class MuonUpdate:
    """Updates the parameters that lie in the `stretches` of the flat buffers data, grad and velocity (N,).

    With the Nesterov step s = g + momentum * v of velocity v = momentum * v + g, a matrix W (I, O) goes to
    W sqrt(O) / |W| - lr * orthogonal(s), and what has a rate to W - lr * rate * s, where g is the gradient, there with
    weight_decay / rate * W added. With a rate of 0 a parameter stays. The gradients may be overwritten.
    """

    def __init__(
        self,
        data: Array,
        grad: Array,
        velocity: Array,
        stretches: Sequence[Stretch],
        momentum: float,
        others_momentum: float,
        weight_decay: float,
    ) -> None:
        self._pieces = [(s.rate, s.of(data), s.of(grad), s.of(velocity)) for s in stretches]
        self._momentum, self._others_momentum, self._weight_decay = momentum, others_momentum, weight_decay

    def __call__(self, lr: float) -> None:
        """Make one step with this learning rate."""
        for rate, weight, grad, velocity in self._pieces:
            if rate is None:
                step = nesterov(grad, velocity, self._momentum)
                weight *= weight.shape[1] ** 0.5 / max(frobenius_norm(weight), SMALLEST)
                weight -= lr * orthogonal(step)
            elif rate:
                if self._weight_decay:
                    grad += weight * (self._weight_decay / rate)
                weight -= (lr * rate) * nesterov(grad, velocity, self._others_momentum)


def nesterov(grad: Array, velocity: Array, momentum: float) -> Array:
    """Add a gradient to its velocity; returns the step that looks ahead, in the gradient's memory."""
    velocity *= momentum
    velocity += grad
    grad += momentum * velocity
    return grad


def orthogonal(matrix: Array, rounds: int = ROUNDS) -> Any:
    """About U V^T of `matrix` = U S V^T (I, O): its singular values come out between 0.5 and 1.5, but for tiny ones.

    Each round takes X to a X + (b X X^T + c (X X^T)^2) X, which does a s + b s^3 + c s^5 to each singular value s, as
    products of matrices only (Newton and Schulz's iteration; Bernstein and Newhouse 2024, arXiv:2409.20325, appendix).
    """
    dot = array_module(matrix).dot
    x = matrix / (frobenius_norm(matrix) + SMALLEST)  # now no singular value is above 1
    is_tall = x.shape[0] > x.shape[1]
    for _ in range(rounds):
        square = dot(x.T, x) if is_tall else dot(x, x.T)  # the smaller of the two
        polynomial = B * square + C * dot(square, square)
        x = A * x + (dot(x, polynomial) if is_tall else dot(polynomial, x))
    return x


def frobenius_norm(matrix: Array) -> Any:
    """The root of the sum of the squares of all elements."""
    return array_module(matrix).sqrt(square_sum(matrix.reshape(-1)))
