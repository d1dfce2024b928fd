"""An exponential moving average of the weights, which often classifies better than the last weights do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from core.backend import Array, array_module, to_cpu
from core.layers import Layer
from core.params import pack


class Ema:
    """The average of a model's weights and statistics over the steps of its training.

    Every `every` steps, average <- average + (1 - d) (weights - average) with d = min(decay ** every, (1 + t) / (10 +
    t)) at the t-th update: the rising d forgets the untrained beginning (as TensorFlow's ExponentialMovingAverage
    does). Weights are averaged in one pass over their flat buffer, running statistics beside them. Where an optimizer
    has a part of the weights only, as in fine-tuning, it is made first.
    """

    def __init__(self, model: Layer, decay: float, every: int = 1) -> None:
        if not 0 < decay < 1 or every < 1:
            raise ValueError(f"Ema expected a decay between 0 and 1 and every >= 1, got {decay} and {every}")
        self._model, self._decay, self._every = model, decay, every
        buffers = {id(parameter.flat) for parameter in model.parameters()}
        self._in_one_buffer = len(buffers) == 1  # or in none yet; otherwise an optimizer has some of them only
        self._averages = {name: array.copy() for name, array in self._live().items()}
        self._scratch = {name: array_module(array).empty_like(array) for name, array in self._averages.items()}
        self._steps = 0
        self._worn = False

    def _live(self) -> dict[str, Array]:
        """The model's own arrays: the weights, and each buffer of floating-point statistics."""
        parameters = {name for name, _ in self._model.named_parameters()}
        buffers = {name: array for name, array in self._model.named_state() if name not in parameters}
        return self._weights() | {name: array for name, array in buffers.items() if array.dtype.kind == "f"}

    def _weights(self) -> dict[str, Array]:
        """All in their buffer, or each by itself where some lie in an optimizer's buffer, which is to keep them."""
        learning = self._model.parameters()
        if self._in_one_buffer:
            return {"weights": pack(learning).data}
        names = {id(parameter): name for name, parameter in self._model.named_parameters()}
        return {names[id(parameter)]: parameter.data for parameter in learning}

    def update(self) -> None:
        """Take in the model's weights after an optimizer step."""
        self._steps += 1
        if self._steps % self._every:
            return
        t = self._steps // self._every
        share = 1 - min(self._decay**self._every, (1 + t) / (10 + t))
        for name, array in self._live().items():
            average, difference = self._averages[name], self._scratch[name]
            array_module(array).subtract(array, average, out=difference)
            difference *= share
            average += difference

    @contextmanager
    def worn(self, wanted: bool = True) -> Iterator[None]:
        """Within this context the model has its averaged weights (or, with False, its own ones)."""
        before = self._worn
        self._wear(wanted)
        try:
            yield
        finally:
            self._wear(before)

    def _wear(self, wanted: bool) -> None:
        """Exchange the model's arrays and the averages, in place, unless that is how they are already."""
        if wanted == self._worn:
            return
        for name, array in self._live().items():
            scratch = self._scratch[name]
            scratch[...] = array
            array[...] = self._averages[name]
            self._averages[name][...] = scratch
        self._worn = wanted

    def state_dict(self) -> dict[str, Array]:
        """Copies of the averages and of the number of steps, as NumPy arrays."""
        with self.worn(False):
            averages = {name: np.array(to_cpu(array), copy=True) for name, array in self._averages.items()}
        return averages | {"steps": np.array(self._steps)}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Continue from `state`; ValueError if it belongs to another network."""
        wanted = {name: array.shape for name, array in self._averages.items()} | {"steps": ()}
        if {name: array.shape for name, array in state.items()} != wanted:
            raise ValueError("the averaged weights do not fit this network")
        for name, average in self._averages.items():
            average[...] = array_module(average).asarray(state[name])
        self._steps = int(state["steps"])
