"""Muon: steps that turn a matrix of weights in all directions alike, however uneven its gradient is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from core import ops
from core.checks import expect_in
from core.ops.stretches import Stretch
from core.optim import Optimizer, update_pieces
from core.params import Parameter


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

    `core/ops/cpu/muon.py` has the step, and how U V^T comes without a decomposition.
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
        expect_in("(0, 1)", self, momentum=momentum, others_momentum=others_momentum)
        for group in others:
            expect_in("[0, inf)", self, rate=group.rate)
        super().__init__([*matrices, *(parameter for group in others for parameter in group.parameters)], weight_decay)
        self.momentum, self.others_momentum = momentum, others_momentum
        rates = {id(parameter): group.rate for group in others for parameter in group.parameters}
        self._rates = [rates.get(id(parameter)) for parameter in self.flat.parameters]
        self._lr = 0.0  # of this step

    def begin_step(self, lr: float) -> None:
        self._lr = lr

    def update(self, piece: Callable[[float], None]) -> None:
        piece(self._lr)

    def _fastest_way(self, count: int) -> Callable[[Optimizer], Any]:
        return partial(update_pieces, self._cut(count))  # products of several matrices at once may round otherwise

    def _cut(self, count: int) -> list[list[Callable[[float], None]]]:
        """One update for each worker's parameters; the largest first, to whoever has least so far."""
        shares: list[list[Stretch]] = [[] for _ in range(count)]
        work = [0] * len(shares)
        for stretch in sorted(self._places(), key=lambda stretch: -stretch.size):
            least = work.index(min(work))
            shares[least].append(stretch)
            work[least] += stretch.size * min(stretch.shape, default=1)
        return [[self._update_of(share)] if share else [] for share in shares]

    def _places(self) -> Iterator[Stretch]:
        """Where the parameters lie."""
        start = 0
        for parameter, rate in zip(self.flat.parameters, self._rates, strict=True):
            yield Stretch(start, parameter.data.shape, rate)
            start += parameter.data.size

    def _update_of(self, share: Sequence[Stretch]) -> Callable[[float], None]:
        data, grad, velocity = self.flat.data, self.flat.grad, self.state["velocity"]
        return ops.of(data).MuonUpdate(  # type: ignore[no-any-return]
            data, grad, velocity, share, self.momentum, self.others_momentum, self.weight_decay
        )
