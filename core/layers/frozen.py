"""A trained network made ready to answer: what only learning needs is left out, and what inputs do not change is done.

    network = freeze(network)
    answers = predict(network, images)

Dropout goes. A BatchNorm, whose statistics stand still, becomes part of the weight of the layer before it, or a scale
and a shift. Weights become constants, from which operations derive once what they would derive at every call, such as
Winograd's form of a kernel. That pays most for a single input, for which preparing a weight takes longer than using it.
And its calls of NumPy, always the same ones, are soon made without the Python in between, see `core.layers.replay`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from core import ops
from core.backend import Array, array_module, on_cpu
from core.layers.activation import ReLU
from core.layers.base import Layer, expect_last_axis
from core.layers.containers import Committee, Flatten, Sequential
from core.layers.conv import Conv2d
from core.layers.dropout import Dropout
from core.layers.linear import Linear
from core.layers.mixed import MixedPrecision
from core.layers.norm import BatchNorm
from core.layers.parallel import Parallel
from core.layers.recurrent import Recurrent
from core.layers.replay import Replay
from core.memory import FLOATS, constant
from core.ops.cpu.linear import SHARED_BY_BLAS, LargeProduct
from core.ops.cpu.thin import PANEL, panels, pieces_of_panels
from core.params import Constant, Parameter


def freeze(network: Layer) -> Layer:
    """A copy of `network` that answers as it does at test time, but for rounding, and cannot learn.

    Training the original further does not change it: it has weights of its own, which only frozen copies of it share. A
    training forward of it answers alike, and a backward returns the gradient of the input. Raises TypeError for a layer
    of layers that cannot be replaced.
    """
    while isinstance(network, Parallel | MixedPrecision | Replay):
        network = network.network
    network = _frozen(network.replica())
    is_short = isinstance(network, OneRowAtOnce) and not network.before
    return network if is_short else Replay(network)


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
        self.remember(train, None)
        return y

    def backward(self, dy: Array) -> Array:
        self.recall()
        dx = self.workspace("dx", dy.shape, like=dy)
        array_module(dy).multiply(dy, self.scale.data, out=dx)
        return dx


class Step(NamedTuple):
    """A fully connected layer of `OneRowAtOnce`. Its bias is one more row of the weight, for an input of one."""

    multiply: Callable[[Array, Array], Any]  # the inputs, with a weight and where the products go
    weight: Array  # laid out for that
    products: Array
    outputs: Array  # (K,) those of the products that are wanted
    zeros: Array | None  # (K,), where ReLU follows


class Row(NamedTuple):
    """How `OneRowAtOnce` answers inputs of one shape and type."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    parameters: list[tuple[Linear, Array, Parameter | None]]  # of each layer its weight and its bias
    x: Array
    steps: list[Step]
    outputs: Array  # (1, K)

    def suits(self, x: Array) -> bool:
        """Whether `x` is such an input, and the network still has the parameters that are known."""
        for layer, weight, bias in self.parameters:
            if layer.weight.data is not weight or layer.bias is not bias:
                return False
        return x.shape == self.shape and x.dtype == self.dtype

    def answer(self, x: Array) -> Array:
        """The last layer's outputs (1, K)."""
        self.x[...] = x
        for multiply, weight, products, outputs, zeros in self.steps:
            multiply(weight, products)
            if zeros is not None:
                np.maximum(outputs, zeros, out=outputs)
        return self.outputs


class OneRowAtOnce(Sequential):
    """A chain that ends in fully connected layers, with a short way through these for a single row.

    Python takes longer to call them all than they take.
    """

    left_out_of_copies = (*Layer.left_out_of_copies, "_row")

    def __init__(self, **named: Layer) -> None:
        super().__init__(**named)
        layers = list(named.values())
        self.before, self._dense = _split(layers)
        self._linear = [layer for layer in self._dense if isinstance(layer, Linear)]
        self._row: Row | None = None

    @staticmethod
    def suits(layers: Iterable[Layer]) -> bool:
        """Whether the last of them are Linear and ReLU on a CPU, perhaps behind a Flatten."""
        return bool(_split(list(layers))[1])

    def forward(self, x: Array, train: bool = False) -> Array:
        if train or len(x) != 1:
            return super().forward(x, train)
        for layer in self.before:
            x = layer.forward(x)
        if self._row is None or not self._row.suits(x):
            first = self._linear[0]
            if not on_cpu(x) or x.size != first.in_features or x.dtype != first.weight.data.dtype:
                for layer in self._dense:
                    x = layer.forward(x)
                return x
            self._row = self._lay_out(x)
        return self._row.answer(x)

    def _lay_out(self, x: Array) -> Row:
        """The steps, each of which writes to the inputs of the next one, the first of two rows."""
        steps: list[Step] = []
        rows, bends = self.workspace("outputs", (2, self._linear[-1].out_features), like=x), False
        answer = rows[:1]
        for place, layer in reversed(list(enumerate(self._dense))):
            if isinstance(layer, ReLU):
                bends = True
            elif isinstance(layer, Linear):
                D, K = layer.weight.data.shape
                inputs = self.workspace(f"inputs {place}", (2, D + FLOATS - D % FLOATS), like=x)
                inputs[0, D], inputs[0, D + 1 :], inputs[1] = 1, 0, 0
                zeros = np.zeros(K, x.dtype) if bends else None
                steps.insert(0, Step(*_product(inputs, layer, rows), rows[0, :K], zeros))
                rows, bends = inputs, False
        parameters = [(layer, layer.weight.data, layer.bias) for layer in self._linear]
        return Row(x.shape, x.dtype, parameters, rows[0, : x.size].reshape(x.shape), steps, answer)


def _product(inputs: Array, layer: Linear, rows: Array) -> tuple[Callable[[Array, Array], Any], Array, Array]:
    """What multiplies the first of two rows of inputs, with what, and where to: into the first of `rows`."""
    D, K = layer.weight.data.shape
    weight = np.zeros((inputs.shape[1], K), inputs.dtype)
    weight[:D], weight[D] = layer.weight.data, 0 if layer.bias is None else layer.bias.data
    if D * K < SHARED_BY_BLAS and pieces_of_panels(2, D + 1, K) == 1:
        # OpenBLAS reads a weight in panels faster for two rows than any for one.
        columns = rows[:, :K].reshape(2, -1, PANEL).transpose(1, 0, 2)  # (K / 64, 2, 64)
        return partial(np.matmul, inputs[:, : D + 1]), constant(panels(weight[: D + 1], 1)[0]), columns
    multiply = inputs[0].dot if D * K < SHARED_BY_BLAS else partial(LargeProduct(), inputs[0])
    return multiply, constant(weight.T).T, rows[0, :K]


def _split(layers: list[Layer]) -> tuple[list[Layer], list[Layer]]:
    """The layers before, and those from the first on after which all are fully connected; none if there are none."""
    first = len(layers)
    while first and type(layers[first - 1]) in (Flatten, Linear, ReLU) and layers[first - 1].device == "cpu":
        first -= 1
    while first < len(layers) and isinstance(layers[first], ReLU):
        first += 1
    has_products = any(isinstance(layer, Linear) for layer in layers[first:])
    return (layers[:first], layers[first:]) if has_products else (layers, [])


def _frozen(layer: Layer) -> Layer:
    """Freeze a layer and those inside it, in place; returns what stands in for it."""
    if isinstance(layer, BatchNorm):
        return ScaleShift(*layer.at_rest())
    if isinstance(layer, Dropout):
        layer.rate = 0.0
    if isinstance(layer, Recurrent):
        layer.dropout = 0.0
    if isinstance(layer, Committee):
        layer.apart = False
    layer.input_grad = True
    for name, value in vars(layer).items():
        if isinstance(value, Parameter) and not isinstance(value, Constant):
            setattr(layer, name, Constant(value.data, value.decay))
    for name in layer.buffer_names:
        setattr(layer, name, getattr(layer, name).copy())
    if isinstance(layer, Sequential):
        return _frozen_chain(layer)
    places: dict[str, Any] = layer.layers if isinstance(layer, Committee) else vars(layer)
    for name, child in list(layer.children()):
        stand_in = _frozen(child)
        if stand_in is not child:
            places[name] = stand_in
            if stand_in not in dict(layer.children()).values():
                raise TypeError(f"freeze cannot replace {name} in {type(layer).__name__}: keep layers as attributes")
    return layer


def _frozen_chain(chain: Sequential) -> Sequential:
    """Leave out dropout, and fold each BatchNorm into the layer before it where that is possible."""
    layers: dict[str, Layer] = {}
    last: Layer | None = None
    for name, layer in chain.layers.items():
        if isinstance(layer, Dropout):
            continue
        if isinstance(layer, BatchNorm) and type(last) in (Conv2d, Linear):
            _fold(layer, last)
        else:
            last = layers[name] = _frozen(layer)
    if type(chain) is Sequential and OneRowAtOnce.suits(layers.values()):
        return OneRowAtOnce(**layers)
    chain.layers = layers
    return chain


def _fold(norm: BatchNorm, layer: Any) -> None:
    """Let `layer`, a Conv2d or Linear, do what `norm` behind it does: (x W + b) s + t = x (W s) + (b s + t)."""
    scale, shift = norm.at_rest()
    before = 0 if layer.bias is None else layer.bias.data
    layer.weight, layer.bias = Constant(layer.weight.data * scale), Constant(before * scale + shift, decay=False)
