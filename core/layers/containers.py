"""Layers made of layers: a chain, a detour, and a change of shape."""

from __future__ import annotations

import math
from collections.abc import Iterator

from core.backend import Array, array_module
from core.layers.base import Layer


class Sequential(Layer):
    """One layer after the other: forward is a loop and backward the reversed loop.

    Unnamed layers are called "0", "1", ... in the state; `Sequential(features=..., head=...)` names them.
    """

    def __init__(self, *layers: Layer, **named: Layer) -> None:
        super().__init__()
        self.layers = {str(place): layer for place, layer in enumerate(layers)} | named

    def children(self) -> Iterator[tuple[str, Layer]]:
        yield from self.layers.items()

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
        """Spend nothing on the gradient of the input: neither in the first layer that trains nor in those before it."""
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
        assert direct is not None
        assert detour is not None
        dx = self.workspace("dx", detour.shape, like=detour)
        array_module(dy).add(detour, direct, out=dx)
        return dx

    def skip_input_grad(self) -> Layer:
        """A residual block as the first layer still computes dx: it saves too little to complicate the sum."""
        return self


class Flatten(Layer):
    """(N, ...) -> (N, D): all axes but the first in one."""

    def forward(self, x: Array, train: bool = False) -> Array:
        self.remember(train, x.shape)
        return x.reshape(len(x), math.prod(x.shape[1:]))

    def backward(self, dy: Array) -> Array:
        shape: tuple[int, ...] = self.recall()
        return dy.reshape(shape)
