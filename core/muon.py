"""Muon: steps that turn a matrix of weights in all directions alike, however uneven its gradient is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from core import ops
from core.backend import Array, array_module
from core.optim import Optimizer
from core.params import Parameter

# Of the odd polynomial a s + b s^3 + c s^5 that Newton and Schulz's iteration applies to each singular value s: chosen
# for the steepest start, so that after a few rounds all of them lie somewhere between 0.5 and 1.5.
A, B, C = 3.4445, -4.7750, 2.0315
ROUNDS = 3


class Group(NamedTuple):
    """Parameters that are not matrices of weights, and their learning rate for each unit of the matrices'."""

    parameters: Sequence[Parameter]
    rate: float


class Muon(Optimizer):
    """Momentum whose steps on matrices have their singular values made about equal; Jordan 2024, "Muon", and the record
    script airbench94_muon.

    With the Nesterov step g + momentum * v of velocity v = momentum * v + g, a matrix W (I, O) goes to

        W sqrt(O) / |W|  -  lr * U V^T,    U S V^T being the singular value decomposition of that step,

    where the first term keeps every column's norm about 1, which the normalisation behind it makes free to choose. The
    `others` are groups for plain SGD with Nesterov's momentum `others_momentum`, and with weight decay: each step takes
    away lr * weight_decay of them. A rate of 0 keeps a group as it is.
    """

    slots = ("velocity",)

    def __init__(
        self,
        matrices: Iterable[Parameter],
        others: Sequence[Group] = (),
        momentum: float = 0.6,
        others_momentum: float = 0.85,
        weight_decay: float = 0.0,
    ) -> None:
        matrices = list(matrices)
        for parameter in matrices:
            if parameter.data.ndim != 2:
                raise ValueError(f"Muon expected matrices, got shape {parameter.data.shape}")
        if not (0 < momentum < 1 and 0 < others_momentum < 1):
            raise ValueError(f"Muon expected momenta between 0 and 1, got {momentum} and {others_momentum}")
        super().__init__([*matrices, *(parameter for group in others for parameter in group.parameters)], weight_decay)
        self.momentum, self.others_momentum = momentum, others_momentum
        self._rates = {id(parameter): group.rate for group in others for parameter in group.parameters}
        self._lr = 0.0  # of this step

    def begin_step(self, lr: float) -> None:
        self._lr = lr

    def update(self, piece: tuple[Parameter, Array]) -> None:
        parameter, velocity = piece
        rate = self._rates.get(id(parameter))
        if rate == 0:
            return
        momentum = self.momentum if rate is None else self.others_momentum
        weight, grad = parameter.data, parameter.grad
        if rate is not None and self.weight_decay:
            grad += weight * (self.weight_decay / rate)
        velocity *= momentum
        velocity += grad
        grad += momentum * velocity
        if rate is not None:
            weight -= (self._lr * rate) * grad
            return
        weight *= weight.shape[1] ** 0.5 / frobenius_norm(weight)
        weight -= self._lr * orthogonal(grad)

    def _cut(self) -> list[list[tuple[Parameter, Array]]]:
        """Each worker's parameters with their part of the velocity; the largest first, to whoever has least so far."""
        pairs, start = [], 0
        for parameter in self.flat.parameters:
            stop = start + parameter.data.size
            pairs.append((parameter, self.state["velocity"][start:stop].reshape(parameter.data.shape)))
            start = stop
        shares: list[list[tuple[Parameter, Array]]] = [[] for _ in range(self._workers())]
        work = [0] * len(shares)
        for parameter, velocity in sorted(pairs, key=lambda pair: -pair[0].data.size):
            least = work.index(min(work))
            shares[least].append((parameter, velocity))
            work[least] += parameter.data.size * min(parameter.data.shape)
        return shares


def orthogonal(matrix: Array, rounds: int = ROUNDS) -> Any:
    """About U V^T of `matrix` = U S V^T (I, O): its singular values come out between 0.5 and 1.5, but for tiny ones.

    Each round takes X to a X + (b X X^T + c (X X^T)^2) X, which does a s + b s^3 + c s^5 to each singular value s, as
    products of matrices only (Newton and Schulz's iteration; Bernstein and Newhouse 2024, arXiv:2409.20325, appendix).
    """
    dot = array_module(matrix).dot  # which on a GPU reaches cuBLAS with far less Python than `@`
    x = matrix / (frobenius_norm(matrix) + 1e-7)  # now no singular value is above 1
    is_tall = x.shape[0] > x.shape[1]
    for _ in range(rounds):
        square = dot(x.T, x) if is_tall else dot(x, x.T)  # the smaller of the two
        polynomial = B * square + C * dot(square, square)
        x = A * x + (dot(x, polynomial) if is_tall else dot(polynomial, x))
    return x


def frobenius_norm(matrix: Array) -> Any:
    """The root of the sum of the squares of all elements, as a scalar on the device of the matrix."""
    return array_module(matrix).sqrt(ops.of(matrix).square_sum(matrix.reshape(-1)))
