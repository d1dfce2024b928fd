"""A single row through the fully connected layers at the end of a frozen network, on a CPU.

Python takes longer to call these layers than they take. So all that they do is a short list of NumPy's calls, and
their weights, which are what takes time to read, lie as a single row needs them: each layer's bias is one more row of
its weight, for an input of one; a weight of middle size lies in pairs of panels; and what one thread reads best is not
always what several can share.

A panel is a stretch of `PANEL` columns. For a matrix of two rows OpenBLAS reads a panel twice as fast as for a single
one any weight. So the first of two panels, below each other, is for the first of two rows, and the other one for the
other: with a row x, (x 0; 0 x) times (A; B) is (x A; x B), which is x (A B), end to end.

The pairs are read forwards and backwards in turn. What a perceptron reads for a row hardly fits the second-level cache,
and what is read first is least likely to be still there at the next row, unless it was read last for the row before.
"""

from __future__ import annotations

import timeit
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import takewhile

import numpy as np

from core.backend import Array, on_cpu
from core.blas import has_blas_threads
from core.fastest import Call
from core.frozen.calls import Calls
from core.frozen.replay import Replay
from core.layers.activation import ReLU
from core.layers.base import Layer
from core.layers.containers import Flatten, Sequential
from core.layers.linear import Linear
from core.memory import FLOATS, constant
from core.ops.cpu.large_product import SHARED_BY_BLAS, WITH_COMPLEX, as_complex
from core.ops.cpu.products import PANEL, panels, pieces_of_panels
from core.workers import alone, can_share, workers

WEIGHTS_WORTH_SHARING = 1 << 18  # fewer fit one core's second-level cache, and then another core hardly helps
SMALLEST_PLACED, LARGEST_PLACED = 1 << 19, 1 << 21  # bytes of weights that might just fit a second-level cache
PLACES = 12
TRIES, ANSWERS = 8, 30  # of each place


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

    def children(self) -> Iterator[tuple[str, Layer]]:
        yield from self.layers.items()  # the other attributes are ways through the same ones

    @staticmethod
    def suits(layers: Iterable[Layer]) -> bool:
        """Whether the last of them are Linear and ReLU on a CPU, perhaps behind a Flatten."""
        return bool(_split(list(layers))[1])

    def forward(self, x: Array, train: bool = False) -> Array:
        if train or len(x) != 1:
            return self._forward_many(x, train)
        for layer in self.before:
            x = layer.forward(x)
        answer = None if self._calls is None else self._calls.answer(x)
        return self._first_answer(x) if answer is None else answer

    def _first_answer(self, x: Array) -> Array:
        """The answer by new calls, or, to an input that these cannot take, by the layers."""
        if self._can_take(x):
            self._calls = self._lay_out_well(x)
            answer = self._calls.answer(x)
            assert answer is not None
            return answer
        for layer in self._dense:
            x = layer.forward(x)
        return x

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

    def _lay_out_well(self, x: Array) -> Calls:
        """Several times where it matters, for the fastest one to stay.

        Memory at other addresses shares the second-level cache otherwise with what else is there, in ways that nobody
        sees: the physical addresses decide.
        """
        size = sum(layer.weight.data.nbytes for layer in self._linear)
        matters = SMALLEST_PLACED <= size <= LARGEST_PLACED and type(x) is np.ndarray
        if not matters:
            return self._lay_out(x)
        places = [self._lay_out(x) for _ in range(PLACES)]  # all at once, or they would get the same memory again
        return min(places, key=partial(_seconds, x))

    def _lay_out(self, x: Array) -> Calls:
        """The calls of all layers, last ones first: each layer writes to where the next one has its inputs."""
        outputs = answer = self.workspace("outputs", (1, self._linear[-1].out_features), like=x)
        forwards: list[Call] = []
        backwards: list[Call] = []
        for_threads: list[Call] = []
        relu_follows = False
        for place, layer in reversed(list(enumerate(self._dense))):
            if isinstance(layer, ReLU):
                relu_follows = True
            elif isinstance(layer, Linear):
                weight = _with_bias(layer)
                inputs = self._inputs(f"inputs {place}", weight, x)
                products, finish = _calls_for_one(inputs, weight, outputs, relu_follows)
                forwards[:0] = [*products, *finish]
                backwards[:0] = [*reversed(products), *finish]
                for_threads[:0] = _calls_for_threads(inputs, weight, outputs, relu_follows) or [*products, *finish]
                outputs, relu_follows = _room(inputs, layer.in_features), False
        row = outputs.reshape(-1, *x.shape[1:])
        return Calls(x, row, forwards, answer, Sequential(*self._linear), backwards, for_threads)

    def _inputs(self, name: str, weight: Array, x: Array) -> Array:
        """(1, D), or (2, 2 D) for a weight (D, K) in pairs of panels: all but what `_room` gives away."""
        D, rows = len(weight), 2 if _suits_pairs(weight) else 1
        inputs = self.workspace(name, (rows, rows * D), like=x)
        inputs.fill(0)
        _room(inputs, D)[:, -2:] = 1  # for the bias, and for a row of zeros or else an input
        return inputs


def _split(layers: list[Layer]) -> tuple[list[Layer], list[Layer]]:
    """The layers before, and those from the first on after which all are fully connected; none if there are none."""
    first = len(layers)
    while first and type(layers[first - 1]) in (Flatten, Linear, ReLU) and layers[first - 1].device == "cpu":
        first -= 1
    before_products = takewhile(lambda layer: not isinstance(layer, Linear), layers[first:])
    first += max((place + 1 for place, layer in enumerate(before_products) if isinstance(layer, ReLU)), default=0)
    has_products = any(isinstance(layer, Linear) for layer in layers[first:])
    return (layers[:first], layers[first:]) if has_products else (layers, [])


def _seconds(x: Array, calls: Calls) -> float:
    """What one thread takes for an answer, without the disturbances."""
    with alone():
        return min(timeit.repeat(partial(calls.answer, x), number=ANSWERS, repeat=TRIES))


def _with_bias(layer: Linear) -> Array:
    """The weight, below it the bias, and perhaps a row of zeros, so that the number of rows is even."""
    D, K = layer.weight.data.shape
    weight = np.zeros((D + 2 - D % 2, K), layer.weight.data.dtype)
    weight[:D], weight[D] = layer.weight.data, 0 if layer.bias is None else layer.bias.data
    return weight


def _room(inputs: Array, size: int) -> Array:
    """Where the first numbers of a row go in inputs (1, D) or, twice, (2, 2 D): (1 or 2, size)."""
    rows = len(inputs)
    return inputs.reshape(rows * rows, -1)[:: rows + 1, :size]


def _suits_pairs(weight: Array) -> bool:
    """Whether OpenBLAS reads pairs of panels of the weight faster than the weight, to the same results.

    Not those of a large one, if there are workers who read parts of it at the same time, each with a cache of its own.
    """
    D, K = weight.shape
    if weight.size >= SHARED_BY_BLAS and workers().count > 1:
        return False
    is_fast = weight.dtype in WITH_COMPLEX and pieces_of_panels(2, D, K) == pieces_of_panels(2, 2 * D, K) == 1
    return is_fast and bool(np.isfinite(weight).all())  # zero times one panel has to be zero for the other


def _calls_for_one(inputs: Array, weight: Array, outputs: Array, relu_follows: bool) -> tuple[list[Call], list[Call]]:
    """What one thread makes to fill outputs (1 or 2, K): products, in any order, and what follows them."""
    D, K = weight.shape
    if len(inputs) == 1:
        is_all = len(outputs) == 1 and not relu_follows
        sums = outputs[0] if is_all else np.empty(K, weight.dtype)
        # OpenBLAS adds up whole lines of results fastest; or else, and for its threads, whole columns of weights.
        in_lines = K % FLOATS == 0 and weight.size < SHARED_BY_BLAS
        laid_out = constant(weight) if in_lines else constant(weight.T).T
        product = _product(inputs[0], laid_out, sums)
        return [product], [] if is_all else [_finish(sums, outputs, relu_follows)]
    laid_out = constant(panels(weight, 1).reshape(-1, PANEL))  # (K / 64 D, 64)
    pairs = [laid_out[first : first + 2 * D] for first in range(0, len(laid_out), 2 * D)]
    results = np.zeros((len(pairs), 2, PANEL), weight.dtype)
    products = [_product(inputs[:, : len(pair)], pair, y) for pair, y in zip(pairs, results, strict=True)]
    return products, [_finish(results.reshape(-1)[:K], outputs, relu_follows)]


def _calls_for_threads(inputs: Array, weight: Array, outputs: Array, relu_follows: bool) -> list[Call]:
    """The same in one product that BLAS's threads share; none if they do not, or one thread's are the same."""
    suits = WEIGHTS_WORTH_SHARING <= weight.size < SHARED_BY_BLAS and weight.dtype in WITH_COMPLEX
    if not suits or not can_share() or not has_blas_threads():
        return []
    row, weight = inputs[0, : len(weight)], as_complex(weight)
    row = row.view(weight.dtype)
    sums = np.empty(weight.shape[1], weight.dtype)
    return [_product(row, constant(weight.T).T, sums), _finish(sums.real, outputs, relu_follows)]


def _product(x: Array, weight: Array, y: Array) -> Call:
    # The type's own dot: inside a network that is being written down these are arrays that write it down.
    return partial(type(x).dot, x, weight, y)


def _finish(sums: Array, outputs: Array, relu_follows: bool) -> Call:
    """What brings the sums (K,) to outputs (1 or 2, K)."""
    if relu_follows:
        return _relu(sums, outputs[0] if len(outputs) == 1 else outputs)
    return partial(np.copyto, outputs, sums)


def _relu(x: Array, y: Array) -> Call:
    maximum, zeros = np.maximum, np.zeros_like(x)
    return lambda: maximum(x, zeros, out=y)  # with a named argument, a partial takes a quarter longer
