"""Optimizers: one update of all weights from all gradients, in the flat buffers, in pieces that stay in the cache.

Every optimizer follows PyTorch's definition of its name, to rounding. A step consumes the gradients: it uses their
memory as scratch, and the next backward starts from zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from core import ops
from core.backend import Array, array_module, device_of, to_cpu
from core.checks import expect_in
from core.fastest import Fastest
from core.memory import FLOATS, empty, zeros
from core.params import FlatParameters, Parameter, pack
from core.workers import workers

LONGEST_PIECE = 1 << 17  # elements; four float32 buffers of this length are 2 MB, and ten operations go over them
ELEMENTS_WORTH_SHARING = 1 << 16  # fewer are always updated sooner by one worker than another one wakes
LEAST_EPS = 1e-12  # of Adam's; with a smaller one, moments that are nearly subnormal matter
SWEEP_EVERY = 100  # steps; by the usual factor of 0.9 a step, a number takes 170 of them from tiny to subnormal


class Optimizer:
    """The frame of every optimizer: flat buffers, a step counter, and pieces shared among the workers.

    A subclass names its buffers in `slots`, one value a weight, and calls the operation that updates one piece; what it
    computes stands in `core/ops/cpu/optim.py`.
    """

    slots: ClassVar[tuple[str, ...]] = ()

    def __init__(self, parameters: Iterable[Parameter], weight_decay: float = 0.0) -> None:
        expect_in("[0, inf)", self, weight_decay=weight_decay)
        self.flat: FlatParameters = pack(parameters)
        self.weight_decay = weight_decay
        self.steps = 0
        data = self.flat.data
        self.state: dict[str, Array] = {name: zeros(data.shape, data.dtype, data) for name in self.slots}
        self.factors = zeros(3, data.dtype, data)  # (3,) what changes from step to step, where the weights are
        self._update_all: Callable[[Optimizer], Any] | None = None
        self._cut_for: tuple[int, bool] | None = None  # how many workers, and whether weights decay

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_update_all": None, "_cut_for": None}  # in copies: they show the buffers of this one

    def step(self, lr: float) -> None:
        """Update all weights with learning rate `lr`, and let the next backward start from zero.

        Raises ValueError unless `lr` is finite and at least 0, and RuntimeError if some of the weights have moved
        elsewhere since this optimizer was made.
        """
        expect_in("[0, inf)", self, lr=lr)
        self.flat.expect_in_use(self)
        cut_for = self._workers(), bool(self.weight_decay)
        if self._update_all is None or self._cut_for != cut_for:
            self._update_all, self._cut_for = self._fastest_way(cut_for[0]), cut_for
        self.steps += 1
        self.flat.settle()
        self.begin_step(lr)
        self._update_all(self)
        self.flat.zero_grad()
        if self.steps % SWEEP_EVERY == 0 and self.forgets_tiny:
            for slot in self.state.values():
                ops.of(slot).zero_tiny(slot)

    @property
    def forgets_tiny(self) -> bool:
        """Whether moments close to the smallest normal number may become 0; in float16 half of all numbers are."""
        return bool(self.flat.data.dtype != np.float16)

    def begin_step(self, lr: float) -> None:
        """Compute what all pieces of this step have in common, and put it into `factors`."""

    def update(self, piece: Any) -> None:
        """Update one piece of those that `_cut` has made; its gradient may be overwritten."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Array]:
        """Copies of the buffers and the number of steps, as NumPy arrays."""
        state = {name: np.array(to_cpu(slot), copy=True) for name, slot in self.state.items()}
        return state | {"steps": np.array(self.steps, dtype=np.int64)}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Continue from `state_dict()`; raises ValueError if it belongs to another optimizer or network."""
        if set(state) != {*self.slots, "steps"}:
            raise ValueError(f"{type(self).__name__} expected {sorted(self.slots)} and steps, got {sorted(state)}")
        for name, slot in self.state.items():
            if state[name].shape != slot.shape:
                raise ValueError(f"{name} expected shape {slot.shape}, got {state[name].shape}")
        for name, slot in self.state.items():
            slot[...] = array_module(slot).asarray(state[name])
        self.steps = int(state["steps"])

    def _workers(self) -> int:
        """How many workers share the pieces."""
        alone = self.flat.data.size < ELEMENTS_WORTH_SHARING or device_of(self.flat.data) == "gpu"
        return 1 if alone else workers().count

    def _fastest_way(self, count: int) -> Callable[[Optimizer], Any]:
        """The update of all pieces by one worker or by `count`, which makes no difference to any bit of it."""
        ways = [partial(update_pieces, self._cut(one)) for one in sorted({1, count})]
        return Fastest(ways) if len(ways) > 1 else ways[0]

    def _cut(self, count: int) -> list[list[Any]]:
        """All pieces, for each of `count` workers; one lies wholly inside or outside the part that takes weight decay.

        The first worker, who calls the others, has the last ones: those of the small layers on which it works alone.
        """
        size = self.flat.data.size
        is_there = device_of(self.flat.data) == "gpu"
        longest = size if is_there else min(LONGEST_PIECE, max(1, size))
        pieces: list[list[Piece]] = [[] for _ in range(count)]
        room = 0 if is_there else longest + FLOATS  # a GPU's kernels need none
        scratches = [empty(room, self.flat.data.dtype, self.flat.data) for _ in range(count)]
        for first, last, decays in self._stretches():
            parts = pairwise(_borders(first, last, count))
            for own, scratch, (start, stop) in zip(reversed(pieces), scratches, parts, strict=True):
                borders = _borders(start, stop, -(-(stop - start) // longest))
                own.extend(Piece(self, slice(a, b), decays, scratch) for a, b in pairwise(borders) if a < b)
        return pieces

    def _stretches(self) -> list[tuple[int, int, bool]]:
        """(first, last, whether weight decay applies) of what has to be updated apart."""
        size, decayed = self.flat.data.size, self.flat.decayed
        if not self.weight_decay:
            return [(0, size, False)]
        return [(0, decayed, True), (decayed, size, False)]


def update_pieces(pieces: list[list[Any]], optimizer: Optimizer) -> None:
    """Update each worker's pieces."""

    def run(rank: int) -> None:
        for piece in pieces[rank]:
            optimizer.update(piece)

    if len(pieces) == 1:
        run(0)
    else:
        workers().run(run)


def _borders(start: int, stop: int, count: int) -> list[int]:
    """Where `count` parts of about the same length begin, all but the first at a cache line; and where they end."""
    inner = ((start + n * (stop - start) // count) // FLOATS * FLOATS for n in range(1, count))
    return [start, *(max(start, border) for border in inner), stop]


class Piece:
    """Views of one stretch of the flat buffers, made once."""

    def __init__(self, optimizer: Optimizer, part: slice, decays: bool, scratch: Array) -> None:
        self.data = optimizer.flat.data[part]
        self.grad = optimizer.flat.grad[part]
        self.scratch = scratch[: self.data.size]
        self.slots = [slot[part] for slot in optimizer.state.values()]
        self.decays = decays


class SGD(Optimizer):
    """Gradient descent: w -= lr * v with velocity v = momentum * v + grad.

    Nesterov's form steps by grad + momentum * v instead. Weight decay is an L2 penalty. Sutskever et al. 2013, with the
    learning rate outside the velocity as in PyTorch.
    """

    slots = ("velocity",)

    def __init__(
        self,
        parameters: Iterable[Parameter],
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        expect_in("[0, 1)", self, momentum=momentum)
        if nesterov and momentum == 0:
            raise ValueError("SGD expected a momentum above 0 for nesterov=True")
        super().__init__(parameters, weight_decay)
        self.momentum, self.nesterov = momentum, nesterov

    def begin_step(self, lr: float) -> None:
        ops.of(self.factors).set_factors(self.factors, lr, 0, 0)

    def update(self, piece: Piece) -> None:
        velocity = piece.slots[0] if self.momentum else None
        decay = self.weight_decay if piece.decays else 0.0
        ops.of(piece.data).sgd_update(
            piece.data, piece.grad, velocity, self.factors, piece.scratch, self.momentum, self.nesterov, decay
        )


class Adam(Optimizer):
    """w -= lr * m^ / (sqrt(v^) + eps) with running means m of the gradient and v of its square; Kingma and Ba 2015.

    m^ and v^ are the means without their bias towards the initial zero. Weight decay is an L2 penalty.

    The buffers hold m / (1 - beta1) and v / (1 - beta2), which saves two passes; the factors go into lr and eps.
    """

    slots: ClassVar[tuple[str, ...]] = ("first_moment", "second_moment")
    decays_apart: ClassVar[bool] = False  # whether weight decay leaves the moments alone

    def __init__(
        self,
        parameters: Iterable[Parameter],
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        beta1, beta2 = betas
        expect_in("[0, 1)", self, beta1=beta1, beta2=beta2)
        expect_in("[0, inf)", self, eps=eps)
        super().__init__(parameters, weight_decay)
        self.betas, self.eps = betas, eps

    def begin_step(self, lr: float) -> None:
        beta1, beta2 = self.betas
        m_factor = (1 - beta1) / (1 - beta1**self.steps)  # m^ = m_factor * first_moment
        v_factor = (1 - beta2) / (1 - beta2**self.steps)  # v^ = v_factor * second_moment
        lr_scaled, eps_scaled = lr * m_factor / v_factor**0.5, self.eps / v_factor**0.5
        ops.of(self.factors).set_factors(self.factors, lr_scaled, eps_scaled, 1 - lr * self.weight_decay)

    @property
    def forgets_tiny(self) -> bool:
        return super().forgets_tiny and self.eps >= LEAST_EPS

    def update(self, piece: Piece) -> None:
        m, v, *largest = piece.slots
        ops.of(piece.data).adam_update(
            piece.data,
            piece.grad,
            m,
            v,
            largest[0] if largest else None,
            self.factors,
            piece.scratch,
            self.betas,
            self.weight_decay if piece.decays and not self.decays_apart else 0.0,
            piece.decays and self.decays_apart,
        )


class AMSGrad(Adam):
    """Adam that divides by the root of the largest v so far instead of the latest; Reddi et al. 2018."""

    slots = ("first_moment", "second_moment", "largest_second_moment")


class AdamW(Adam):
    """Adam with weight decay apart from the gradient, w *= 1 - lr * decay; Loshchilov and Hutter 2019."""

    decays_apart = True

    def __init__(
        self,
        parameters: Iterable[Parameter],
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, betas, eps, weight_decay)


def clip_by_value(flat: FlatParameters, limit: float) -> None:
    """Force every element of the gradient into [-limit, limit]."""
    expect_in("(0, inf]", "clip_by_value", limit=limit)
    flat.settle()
    array_module(flat.grad).clip(flat.grad, -limit, limit, out=flat.grad)


def clip_by_norm(flat: FlatParameters, limit: float) -> Any:
    """Scale the whole gradient so that its norm is at most `limit`; returns the norm before (Pascanu et al. 2013)."""
    expect_in("(0, inf]", "clip_by_norm", limit=limit)
    norm = gradient_norm(flat)
    flat.grad *= array_module(flat.grad).minimum(limit / (norm + 1e-6), 1)  # as in PyTorch, also for a norm of 0
    return norm


def gradient_norm(flat: FlatParameters) -> Any:
    """The Euclidean norm of the whole gradient, as a scalar on its device."""
    flat.settle()
    return array_module(flat.grad).sqrt(ops.of(flat.grad).square_sum(flat.grad))
