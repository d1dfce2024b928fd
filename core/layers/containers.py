"""Layers made of layers: a chain, a detour, and a change of shape."""

from __future__ import annotations

import math

from core.backend import Array, array_module
from core.layers.base import Layer


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
    """y = body(x) + shortcut(x), where the shortcut is x itself unless a layer is given (He et al. 2015)."""

    def __init__(self, body: Layer, shortcut: Layer | None = None) -> None:
        super().__init__()
        _expect_layers(self, body, *([] if shortcut is None else [shortcut]))
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Array, train: bool = False) -> Array:
        detour = self.body.forward(x, train)
        direct = x if self.shortcut is None else self.shortcut.forward(x, train)
        if detour.shape != direct.shape:
            raise ValueError(f"Residual expected body and shortcut to agree, got {detour.shape} and {direct.shape}")
        y = self.workspace("y", detour.shape, like=detour)
        array_module(x).add(detour, direct, out=y)
        return y

    def backward(self, dy: Array) -> Array:
        direct = dy if self.shortcut is None else self.shortcut.backward(dy)
        detour = self.body.backward(dy)
        if direct is None or detour is None:
            raise RuntimeError("Residual.backward needs both gradients: neither body nor shortcut may skip its own")
        dx = self.workspace("dx", detour.shape, like=detour)
        array_module(dy).add(detour, direct, out=dx)
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
        if train and self.apart:
            for answer in answers:
                if len(answer) != len(x):  # as of another Committee inside
                    raise ValueError(f"Committee expected one answer to each of {len(x)} rows, got {len(answer)}")
            y = self.workspace("all answers", (len(answers) * len(x), *answers[0].shape[1:]), like=answers[0])
            array_module(y).concatenate(answers, out=y)
        else:
            y = self._sum("mean answer", answers, 1 / len(answers))
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
        return self._sum("dx", found, 1.0) if found else None

    def _sum(self, name: str, parts: list[Array], factor: float) -> Array:
        total = self.workspace(name, parts[0].shape, like=parts[0])
        total[...] = parts[0]
        for part in parts[1:]:
            total += part
        total *= factor
        return total

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


def _expect_layers(container: Layer, *layers: Layer) -> None:
    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(f"{type(container).__name__} expected layers, got {layer!r}")
