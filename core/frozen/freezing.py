"""The copy of a network that answers: what only learning needs is left out, and what inputs do not change is done.

Dropout goes. A BatchNorm, whose statistics stand still, becomes part of the weight of the layer before it, or a scale
and a shift. Weights become constants, from which operations derive once what they would derive at every call, such as
Winograd's form of a kernel. That pays most for a single input, for which preparing a weight takes longer than using it.
And its calls of NumPy, always the same ones, are soon made without the Python in between, see `core.frozen.replay`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard, TypeVar

from core import ops
from core.backend import Array, array_module
from core.frozen.one_row import OneRowAtOnce
from core.frozen.replay import Replay
from core.layers.base import Layer, Wrapper, expect_last_axis
from core.layers.containers import Committee, Sequential
from core.layers.conv import Conv2d
from core.layers.dropout import Dropout
from core.layers.linear import Linear
from core.layers.norm import BatchNorm
from core.layers.recurrent import Recurrent
from core.params import Constant, Parameter

Kind = TypeVar("Kind", bound=Layer)


def freeze(network: Layer) -> Layer:
    """A copy of `network` that answers as it does at test time, but for rounding, and cannot learn.

    Training the original further does not change it: it has weights of its own, which only frozen copies of it share. A
    training forward of it answers alike, and a backward returns the gradient of the input. Whatever has a forward of
    its own keeps it, a kind of dropout that goes on in use, too. Nothing of the copy may be changed, as it may already
    be part of an answer: change the original and freeze it again. Raises TypeError for a layer of layers that cannot be
    replaced.
    """
    while isinstance(network, Wrapper):
        network = network.network
    network = _frozen(network.replica())
    if not isinstance(network, OneRowAtOnce) or network.before:
        return Replay(network)
    network.replays = True
    return network


class ScaleShift(Layer):
    """y = scale * x + shift for each channel, of an input of any rank (..., C): a BatchNorm at rest."""

    def __init__(self, scale: Array, shift: Array) -> None:
        super().__init__()
        self.scale, self.shift = Constant(scale), Constant(shift)

    def forward(self, x: Array, train: bool = False) -> Array:
        C = len(self.scale.data)
        expect_last_axis(self, x, C)
        y = self.workspace("y", x.shape, like=x)
        ops.of(x).scale_shift(x.reshape(-1, C), self.scale.data, self.shift.data, y.reshape(-1, C))
        self.remember(train, None, y=y)
        return y

    def backward(self, dy: Array) -> Array:
        self.recall(dy)
        dx = self.workspace("dx", dy.shape, like=dy)
        array_module(dy).multiply(dy, self.scale.data, out=dx)
        return dx


def _frozen(layer: Layer) -> Layer:
    """Freeze a layer and those inside it, in place; returns what stands in for it.

    A chain's norms are folded and its dropout left out, unless its class has a forward of its own, which may use them.
    Who no longer draws has no stream any more, see `core.frozen.replay`.
    """
    while isinstance(layer, Wrapper):
        layer = layer.network
    if _acts_as(layer, BatchNorm):
        return ScaleShift(*layer.at_rest())
    if _acts_as(layer, Dropout):
        layer.rate = 0.0
        vars(layer).pop("stream", None)
    if _acts_as(layer, Recurrent):
        layer.dropout = 0.0
        vars(layer).pop("stream", None)
    if _acts_as(layer, Committee):
        layer.apart = False
    layer.input_grad = True
    for name, value in vars(layer).items():
        if isinstance(value, Parameter) and not isinstance(value, Constant):
            setattr(layer, name, Constant(value.data, value.decay))
    for name in layer.buffer_names:
        setattr(layer, name, getattr(layer, name).copy())
    chain: dict[str, Layer] = {}
    if _acts_as(layer, Sequential):
        chain = layer.layers = _frozen_chain(layer.layers)
        if type(layer) is Sequential and OneRowAtOnce.suits(chain.values()):
            return OneRowAtOnce(**chain)
    for name, child in list(layer.children()):
        if child not in chain.values():  # those are frozen already
            stand_in = _frozen(child)
            if stand_in is not child and not _replace(layer, child, stand_in):
                raise TypeError(f"freeze cannot replace {name} in {type(layer).__name__}: keep layers as attributes")
    return layer


def _replace(layer: Layer, child: Layer, stand_in: Layer) -> bool:
    """Let `layer` have another one wherever it has `child`, as an attribute or in a dict `layers`; False if nowhere."""
    named = vars(layer).get("layers")
    found = False
    for places in (vars(layer), named if isinstance(named, dict) else {}):
        for name in [name for name, value in places.items() if value is child]:
            places[name] = stand_in
            found = True
    return found


def _frozen_chain(chain: Mapping[str, Layer]) -> dict[str, Layer]:
    """Leave out dropout, and fold each BatchNorm into the layer before it where that is possible."""
    layers: dict[str, Layer] = {}
    last = ""
    for name, layer in chain.items():
        if _acts_as(layer, Dropout):
            continue
        if _acts_as(layer, BatchNorm) and type(layers.get(last)) in (Conv2d, Linear):
            layers[last] = _folded(layer, layers[last])
        else:
            last, layers[name] = name, _frozen(layer)
    return layers


def _acts_as(layer: Layer, kind: type[Kind]) -> TypeGuard[Kind]:
    """Whether the layer does what that class does: it is one, and no subclass with a forward of its own."""
    return isinstance(layer, kind) and type(layer).forward is kind.forward


def _folded(norm: BatchNorm, layer: Any) -> Layer:
    """A Conv2d or Linear that does what `norm` behind it does, too: (x W + b) s + t = x (W s) + (b s + t).

    A copy, since the layer may have other places in the network, where no norm follows.
    """
    scale, shift = norm.at_rest()
    before = 0 if layer.bias is None else layer.bias.data
    both = layer.replica()
    both.weight, both.bias = Constant(layer.weight.data * scale), Constant(before * scale + shift, decay=False)
    return both  # type: ignore[no-any-return]
