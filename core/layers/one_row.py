"""A single row through the fully connected layers at the end of a frozen network, on a CPU.

Python takes longer to call these layers than they take. So all that they do is a short list of NumPy's calls, and
their weights, which are what takes time to read, lie as a single row needs them: each layer's bias is one more row of
its weight, for an input of one; and what one thread reads best and what several can share are not the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import takewhile

import numpy as np

from core.backend import Array, on_cpu
from core.layers.activation import ReLU
from core.layers.base import Layer
from core.layers.calls import Call, Calls
from core.layers.containers import Flatten, Sequential
from core.layers.linear import Linear
from core.layers.replay import Replay
from core.memory import FLOATS, constant
from core.ops.cpu.linear import SHARED_AS_COMPLEX, SHARED_BY_BLAS, WITH_COMPLEX, as_complex
from core.ops.cpu.thin import PANEL, panels, pieces_of_panels
from core.workers import can_share, has_blas_threads


class OneRowAtOnce(Sequential):
    """A chain that ends in fully connected layers, with a short way through these for a single row.

    `replays` says whether it replays the calls for other numbers of rows itself: nobody does it for a whole network.
    """

    left_out_of_copies = (*Layer.left_out_of_copies, "_calls", "_replay")

    def __init__(self, **named: Layer) -> None:
        super().__init__(**named)
        layers = list(named.values())
        self.before, self._dense = _split(layers)
        self._linear = [layer for layer in self._dense if isinstance(layer, Linear)]
        self.replays = False
        self._calls: Calls | None = None
        self._replay: Replay | None = None

    @staticmethod
    def suits(layers: Iterable[Layer]) -> bool:
        """Whether the last of them are Linear and ReLU on a CPU, perhaps behind a Flatten."""
        return bool(_split(list(layers))[1])

    def forward(self, x: Array, train: bool = False) -> Array:
        if train or len(x) != 1:
            return self._forward_many(x, train)
        for layer in self.before:
            x = layer.forward(x)
        calls = self._calls
        if calls is None or not calls.suit(x):
            if not self._can_take(x):
                for layer in self._dense:
                    x = layer.forward(x)
                return x
            calls = self._calls = self._lay_out(x)
        return calls.make(x)

    def _forward_many(self, x: Array, train: bool) -> Array:
        if train or not self.replays:
            return super().forward(x, train)
        if self._replay is None:
            self._replay = Replay(Sequential(**self.layers))
        return self._replay.forward(x)

    def _can_take(self, x: Array) -> bool:
        """Whether the first product takes such a row; only behind a Flatten it may have any shape."""
        D, dtype = self._linear[0].in_features, self._linear[0].weight.data.dtype
        is_flat = x.shape == (1, D) or (isinstance(self._dense[0], Flatten) and x.size == D)
        return is_flat and on_cpu(x) and x.dtype == dtype

    def _lay_out(self, x: Array) -> Calls:
        """The calls of all layers, last ones first: each layer writes to the inputs of the next one.

        These are the first of two rows, see `_calls`; the last layer writes to `outputs`.
        """
        calls: list[Call] = []
        for_threads: list[Call] = []
        outputs = self.workspace("outputs", (2, self._linear[-1].out_features), like=x)
        answer, relu_follows = outputs[:1], False
        for place, layer in reversed(list(enumerate(self._dense))):
            if isinstance(layer, ReLU):
                relu_follows = True
            elif isinstance(layer, Linear):
                D, K = layer.weight.data.shape
                inputs = self.workspace(f"inputs {place}", (2, D + FLOATS - D % FLOATS), like=x)
                inputs[0, D], inputs[0, D + 1 :], inputs[1] = 1, 0, 0
                weight, outputs = _with_bias(layer, inputs.shape[1]), outputs[:, :K]
                calls[:0] = its_calls = list(_calls(inputs, weight, outputs, relu_follows))
                if _is_shared_as_complex(weight):
                    its_calls = list(_calls_as_complex(inputs[0], weight, outputs[0], relu_follows))
                for_threads[:0] = its_calls
                outputs, relu_follows = inputs, False
        row = outputs[0, : x.size].reshape(x.shape)
        return Calls(row, calls, answer, Sequential(*self._linear), for_threads)


def _split(layers: list[Layer]) -> tuple[list[Layer], list[Layer]]:
    """The layers before, and those from the first on after which all are fully connected; none if there are none."""
    first = len(layers)
    while first and type(layers[first - 1]) in (Flatten, Linear, ReLU) and layers[first - 1].device == "cpu":
        first -= 1
    before_products = takewhile(lambda layer: not isinstance(layer, Linear), layers[first:])
    first += max((place + 1 for place, layer in enumerate(before_products) if isinstance(layer, ReLU)), default=0)
    has_products = any(isinstance(layer, Linear) for layer in layers[first:])
    return (layers[:first], layers[first:]) if has_products else (layers, [])


def _with_bias(layer: Linear, rows: int) -> Array:
    """The weight, below it the bias, and zeros, so that there are so many rows: (rows, K)."""
    D, K = layer.weight.data.shape
    weight = np.zeros((rows, K), layer.weight.data.dtype)
    weight[:D], weight[D] = layer.weight.data, 0 if layer.bias is None else layer.bias.data
    return weight


def _is_shared_as_complex(weight: Array) -> bool:
    """Whether BLAS has threads and shares a product with this weight only if it is one of complex numbers."""
    suits = weight.dtype in WITH_COMPLEX and SHARED_AS_COMPLEX <= weight.size < SHARED_BY_BLAS
    return suits and can_share() and has_blas_threads()


def _calls(inputs: Array, weight: Array, outputs: Array, relu_follows: bool) -> Iterator[Call]:
    """What fills the first row of outputs (2, K) from that of inputs (2, D)."""
    first = outputs[0]  # one array, not two that NumPy would look for an overlap in
    if pieces_of_panels(2, *weight.shape) == 1:  # OpenBLAS reads panels faster for two rows than any weight for one
        columns = outputs.reshape(2, -1, PANEL).transpose(1, 0, 2)  # (K / 64, 2, 64)
        yield partial(np.matmul, inputs, constant(panels(weight, 1)[0]), columns)
    else:
        # The type's own dot: inside a network that is being written down these are arrays that write it down.
        yield partial(type(inputs).dot, inputs[0], constant(weight.T).T, first)
    if relu_follows:
        yield _relu(first, first)


def _calls_as_complex(inputs: Array, weight: Array, outputs: Array, relu_follows: bool) -> Iterator[Call]:
    """The same from inputs (D,) to outputs (K,), in a product that OpenBLAS's threads share."""
    weight = as_complex(weight)
    products = np.empty(len(outputs), weight.dtype)
    yield partial(np.ndarray.dot, inputs.view(weight.dtype), constant(weight.T).T, products)
    if relu_follows:
        yield _relu(products.real, outputs)
    else:
        yield partial(np.copyto, outputs, products.real)


def _relu(x: Array, y: Array) -> Call:
    maximum, zeros = np.maximum, np.zeros_like(y)
    return lambda: maximum(x, zeros, out=y)  # with a named argument, a partial takes a quarter longer
