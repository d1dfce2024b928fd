"""Layers made of layers: a chain, a detour, a committee, and a change of shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.backend import Array, array_module
from core.layers.base import Layer
from core.layers.sequences import Sequences
from core.workspaces import Workspaces


class Sequential(Layer):
    """One layer after the other: forward is a loop and backward the reversed loop.

    Unnamed layers are called "0", "1", ... in the state; `Sequential(features=..., head=...)` names them.
    """

    def __init__(self, *layers: Layer, **named: Layer) -> None:
        super().__init__()
        _expect_layers(self, *layers, *named.values())
        self.layers = {str(place): layer for place, layer in enumerate(layers)} | named
        if len(self.layers) < len(layers) + len(named):
            raise ValueError(f"Sequential expected names other than those of its unnamed layers, got {sorted(named)}")

    def forward(self, x: Array, train: bool = False) -> Array:
        for layer in self.layers.values():
            x = layer.forward(x, train)
        return x

    def backward(self, dy: Array) -> Array | None:
        gradient: Array | None = dy
        for layer in reversed(self.layers.values()):
            if gradient is None:  # the layer after this one needs no input gradient, so nothing below trains
                return None
            gradient = layer.backward(gradient)
        return gradient

    def skip_input_grad(self) -> Layer:
        """Spend nothing on the gradient of the input: neither in the first layer that trains nor in those before it.

        A subclass with a backward of its own may need that gradient, for a layer before the chain: it goes on.
        """
        if type(self).backward is not Sequential.backward:
            return self
        super().skip_input_grad()
        for layer in self.layers.values():
            layer.skip_input_grad()
            if layer.parameters():
                break
        return self


class Residual(Layer):
    """y = body(x) + shortcut(x), where the shortcut is x itself unless a layer is given (He et al. 2015).

    Of `Sequences`, too: steps are added to steps, and last states, where both have them, to last states.
    """

    def __init__(self, body: Layer, shortcut: Layer | None = None) -> None:
        super().__init__()
        _expect_layers(self, body, *([] if shortcut is None else [shortcut]))
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Array, train: bool = False) -> Array:
        detour: Any = self.body.forward(x, train)
        direct: Any = x if self.shortcut is None else self.shortcut.forward(x, train)
        if detour.shape != direct.shape or isinstance(detour, Sequences) != isinstance(direct, Sequences):
            found = " and ".join(f"{type(part).__name__} {part.shape}" for part in (detour, direct))
            raise ValueError(f"Residual expected body and shortcut to agree, got {found}")
        y: Array = _sum(self.workspace, "y", [detour, direct])
        if isinstance(y, Sequences) and (detour.last is None or direct.last is None):
            y.last = None
        return y

    def backward(self, dy: Array) -> Array:
        direct = dy if self.shortcut is None else self.shortcut.backward(dy)
        detour = self.body.backward(dy)
        if direct is None or detour is None:
            raise RuntimeError("Residual.backward needs both gradients: neither body nor shortcut may skip its own")
        dx: Array = _sum(self.workspace, "dx", [detour, direct])
        return dx

    def skip_input_grad(self) -> Layer:
        """A residual block as the first layer still computes dx: it saves too little to complicate the sum."""
        return self


class Committee(Layer):
    """Several networks that see the same input and learn apart, but answer together.

    In training each member answers each row for itself: (N, ...) -> (members * N, C), the first member's rows first, so
    that the loss of all rows is the mean of the members' own losses. Otherwise, and in training too with `apart` False,
    the answer is the mean of theirs: (N, C). Members that start differently make different mistakes, and the mean of
    them makes fewer (Hansen and Salamon, "Neural network ensembles", 1990).
    """

    def __init__(self, *members: Layer) -> None:
        super().__init__()
        if not members:
            raise ValueError("Committee expected at least one member")
        _expect_layers(self, *members)
        self.layers = {str(place): member for place, member in enumerate(members)}
        self.apart = True

    def forward(self, x: Array, train: bool = False) -> Array:
        answers = [member.forward(x, train) for member in self.layers.values()]
        if any(isinstance(answer, Sequences) for answer in answers):
            raise TypeError("Committee expected arrays as its members' answers, got Sequences")
        if train and self.apart:
            for answer in answers:
                if len(answer) != len(x):  # as of another Committee inside
                    raise ValueError(f"Committee expected one answer to each of {len(x)} rows, got {len(answer)}")
            y = self.workspace("all answers", (len(answers) * len(x), *answers[0].shape[1:]), like=answers[0])
            array_module(y).concatenate(answers, out=y)
        else:
            y = _sum(self.workspace, "mean answer", answers, 1 / len(answers))
        self.remember(train, len(x), y=y)
        return y

    def backward(self, dy: Array) -> Array | None:
        N: int = self.recall(dy)
        members = self.layers.values()
        if self.apart:
            gradients = [member.backward(dy[n * N : (n + 1) * N]) for n, member in enumerate(members)]
        else:
            gradients = [member.backward(dy / len(members)) for member in members]
        found = [gradient for gradient in gradients if gradient is not None]
        return _sum(self.workspace, "dx", found) if found else None

    def skip_input_grad(self) -> Layer:
        """Spend nothing on the gradient of the input, in any member; see Sequential for subclasses."""
        if type(self).backward is not Committee.backward:
            return self
        for member in self.layers.values():
            member.skip_input_grad()
        return super().skip_input_grad()


class Flatten(Layer):
    """(N, ...) -> (N, D): all axes but the first in one."""

    def forward(self, x: Array, train: bool = False) -> Array:
        y = x.reshape(len(x), math.prod(x.shape[1:]))
        self.remember(train, x.shape, y=y)
        return y

    def backward(self, dy: Array) -> Array:
        shape: tuple[int, ...] = self.recall(dy)
        return dy.reshape(shape)


def _sum(memory: Workspaces, name: str, parts: Sequence[Any], factor: float = 1.0) -> Any:
    """The sum of several arrays times a factor, or of gradients of sequences, in which None stands for zeros."""
    first = parts[0]
    if isinstance(first, Sequences):
        if any(not np.array_equal(part.lengths, first.lengths) for part in parts):
            raise ValueError("sequences of different lengths cannot be added")
        rows = [part.rows for part in parts if part.rows is not None]
        lasts = [part.last for part in parts if part.last is not None]
        return Sequences(
            _sum(memory, f"{name}, steps", rows, factor) if rows else None,
            first.layout,
            _sum(memory, f"{name}, last states", lasts, factor) if lasts else None,
        )
    total = memory(name, first.shape, like=first)
    if len(parts) == 1:
        total[...] = first
    else:
        array_module(first).add(first, parts[1], out=total)
    for part in parts[2:]:
        total += part
    if factor != 1:
        total *= factor
    return total


def _expect_layers(container: Layer, *layers: Layer) -> None:
    """Raise TypeError for what is no layer, and ValueError for one with two places.

    It would remember the second input only, and overwrite its first output while others still need it.
    """
    known: dict[int, Layer] = {}
    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(f"{type(container).__name__} expected layers, got {layer!r}")
        inside = {id(part): part for _, part in layer.walk()}
        for twice in known.keys() & inside.keys():
            raise ValueError(
                f"{type(container).__name__} expected every layer at one place, got a {type(known[twice]).__name__} at "
                "two: make another one; what two layers can share is a Parameter"
            )
        known |= inside
