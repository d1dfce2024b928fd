"""Mixed precision: a network learns in float16, which takes half the memory and which tensor cores multiply faster.

What 16 bits are too coarse for stays float32: the weights, since most updates are too small for a float16 to notice,
whatever is summed up over a batch (the gradients of the weights, the statistics of BatchNorm), biases, and the loss.
Micikevicius et al. 2018, "Mixed precision training", arXiv:1710.03740.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from core import ops
from core.backend import Array, array_module, device_of
from core.layers.base import Layer, Wrapper
from core.params import pack

FIRST_SCALE = 2.0**16  # both are GradScaler's
STEPS_TO_GROW = 2000


class LossScale:
    """The factor of the loss that lifts small gradients over 6e-8, where float16 ends, found by trial.

    It is halved when a gradient overflows, in a step that is then left out, and doubled after 2,000 steps in a row in
    which none did. Section 3.2 of the paper has the factor and the step left out, PyTorch's GradScaler these rules. As
    a power of two it changes no digit of what it multiplies.
    """

    def __init__(self) -> None:
        self.value = FIRST_SCALE
        self.good_steps = 0  # in a row

    def update(self, overflowed: bool) -> None:
        """Learn from a step."""
        self.good_steps = 0 if overflowed else self.good_steps + 1
        if overflowed:
            self.value /= 2
        elif self.good_steps == STEPS_TO_GROW:
            self.value, self.good_steps = 2 * self.value, 0

    @property
    def helps(self) -> bool:
        """False once gradients overflow even without a factor: it is not the scale that is wrong."""
        return self.value >= 1

    def state_dict(self) -> dict[str, Array]:
        """The factor and the number of good steps, as NumPy arrays."""
        return {"value": np.array(self.value), "good_steps": np.array(self.good_steps)}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Continue from `state_dict()`."""
        self.value, self.good_steps = float(state["value"]), int(state["good_steps"])


class MixedPrecision(Wrapper):
    """Around a network on a GPU: float32 goes in and comes out, and in between, in training, all is float16.

    Each training forward rounds the weights anew; layers take them by `Parameter.like`. `backward` scales dy, so that
    nothing vanishes on the way, and leaves true gradients in float32, as every layer does. Then `overflowed()` says
    whether they can be used; `core.training.run` leaves out a step whose gradients cannot.

    Outside of training it is as if this layer were not there: what is validated, saved and published is float32.

    Layers of images and rows can be inside; LayerNorm and those of sequences have no kernels for float16. Weights that
    have moved away since, as an optimizer for some of them moves them, are a RuntimeError.
    """

    def __init__(self, network: Layer) -> None:
        super().__init__(network)
        self.flat, self.scale = pack(network.parameters()), LossScale()
        data = self.flat.data
        if device_of(data) != "gpu" or data.dtype != np.float32:
            raise ValueError(
                f"MixedPrecision expected a float32 network on a GPU, got {data.dtype} on the {device_of(data)}"
            )
        self._half = self.flat.keep_half()  # (size,)
        self._overflow: Array = array_module(data).zeros(1, np.int32)  # (1,)

    def __reduce__(self) -> tuple[type[MixedPrecision], tuple[Layer], dict[str, Any]]:
        state = {"scale": self.scale, "input_grad": self.input_grad}
        return type(self), (self.network,), state  # in copies: their parameters are packed anew

    def replica(self) -> Layer:
        """See `Layer.replica`; in float32, since it learns nothing."""
        return self.network.replica()

    def skip_input_grad(self) -> Layer:
        """See `Layer.skip_input_grad`."""
        self.network.skip_input_grad()
        return super().skip_input_grad()

    def forward(self, x: Array, train: bool = False) -> Array:
        if not train:
            return self.network.forward(x)
        self.flat.expect_in_use(self)
        ops.of(x).cast(self.flat.data, self._half)
        y = self.network.forward(self._cast("x", x, np.float16), train=True)
        return self._cast("y", y, np.float32)

    def backward(self, dy: Array) -> Array | None:
        scale = self.scale.value
        if not self.flat.is_zero:  # another part of the batch has been here
            self.flat.settle()
            self.flat.grad *= scale
        else:
            self._overflow.fill(0)  # of a batch that was left in the middle
        dx = self.network.backward(self._cast("dy", dy, np.float16, scale))
        self.flat.settle()
        ops.of(dy).unscale(self.flat.grad, 1 / scale, self._overflow)
        return None if dx is None else self._cast("dx", dx, np.float32, 1 / scale)

    def overflowed(self) -> bool:
        """Whether a gradient is infinite or no number, so that this step must be left out; call it once a step.

        Adapts the scale. Waits for the GPU, which otherwise happens in no step: what else counts steps (Adam's
        corrections, averages, the history) does so on the host, and has to know which of them count.
        """
        found = bool(self._overflow[0])
        if found:
            self._overflow[...] = 0
        self.scale.update(found)
        return found

    def _cast(self, name: str, x: Array, dtype: type[np.floating], factor: float = 1.0) -> Array:
        y = self.workspace(name, x.shape, like=x, dtype=dtype)
        ops.of(x).cast(array_module(x).ascontiguousarray(x), y, factor)
        return y
