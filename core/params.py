"""Parameters, and the flat buffers that hold all of them side by side.

One buffer for all weights and one for all gradients make the optimizer's update, the gradient's norm and the sum over
workers a single pass each. The layers keep views into the buffers, so they must write `parameter.data[...] = value`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from core.backend import Array, array_module
from core.memory import aligned, constant, empty, zeros


class Parameter:
    """A trainable array and its gradient; `decay` says whether weight decay applies to it.

    The gradient is logically zero after an optimizer's step. It is not filled with zeros then: the next backward
    overwrites it, which saves a pass over the memory, and further ones add to it.
    """

    flat: FlatParameters | None = None  # the buffers that hold this parameter, once it is packed
    half: Array | None = None  # its data rounded to float16, in mixed precision

    def __init__(self, data: Array, decay: bool = True) -> None:
        if data.dtype.kind != "f":
            raise TypeError(f"Parameter expected floating-point numbers, got {data.dtype}")
        self.data = aligned(data)
        self.decay = decay
        self._grad = zeros(data.shape, data.dtype, data)
        self._is_zero = True

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes along: data and gradient as arrays of its own, not the buffers that hold the original."""
        return {name: value for name, value in vars(self).items() if name not in ("flat", "half")}

    @property
    def grad(self) -> Array:
        """The gradient summed up since the last optimizer step, same shape as `data`."""
        if self._is_zero:
            self._grad.fill(0)
            self._is_zero = False
        return self._grad

    @grad.setter
    def grad(self, value: Array) -> None:
        if value is not self._grad:  # as it is after grad += part
            raise AttributeError("a gradient lies side by side with others: write to it, grad[...] = value")

    def like(self, x: Array) -> Array:
        """The data in the precision of `x`: rounded where x is float16 and they are kept so, too."""
        return self.data if self.half is None or x.dtype != self.half.dtype else self.half

    def accumulate(self, operation: Callable[..., Any], *operands: Array | None) -> None:
        """Add to the gradient what `operation(*operands, out=...)` writes."""
        part = self.begin_part()
        operation(*operands, out=part)
        self.end_part(part)

    def begin_part(self) -> Array:
        """Memory for a part of the gradient: the gradient's own, if nothing stands there yet."""
        return self._grad if self._is_zero else array_module(self._grad).empty_like(self._grad)

    def end_part(self, part: Array) -> None:
        """Add what has been written to the memory that `begin_part` returned."""
        if part is self._grad:
            self._is_zero = False
        else:
            self._grad += part

    def add_grad(self, part: Array) -> None:
        """Add `part` to the gradient; ValueError unless it has the same shape."""
        if part.shape != self._grad.shape:
            raise ValueError(f"add_grad expected {self._grad.shape}, got {part.shape}")
        if self._is_zero:
            self._grad[...] = part
            self._is_zero = False
        else:
            self._grad += part

    def zero_grad(self) -> None:
        """Let the next backward start from a gradient of zero."""
        self._is_zero = True

    def move_data(self, memory: Array) -> None:
        """Keep the data in the given memory of the same shape from now on."""
        memory[...] = self.data
        self.data = memory

    def move_grad(self, memory: Array) -> None:
        """Keep the gradient in the given memory of the same shape from now on."""
        memory[...] = self.grad
        self._grad = memory


def accumulate(parameters: Sequence[Parameter], operation: Callable[..., Any], *operands: Array) -> list[Array]:
    """Add to several gradients what `operation(*operands, *parts)` writes into parts of their shapes; returns these."""
    parts = [parameter.begin_part() for parameter in parameters]
    operation(*operands, *parts)
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.end_part(part)
    return parts


class SharedParameter(Parameter):
    """Another worker's view of a parameter: the same data, a gradient of its own."""

    def __init__(self, original: Parameter) -> None:
        self._original = original
        self.decay = original.decay
        self._grad = zeros(original.data.shape, original.data.dtype, original.data)
        self._is_zero = True

    @property
    def data(self) -> Array:  # type: ignore[override]
        return self._original.data

    def move_data(self, memory: Array) -> None:
        raise ValueError(
            "a replica's weights are those of the original: let an optimizer have the original's parameters"
        )


class Constant(Parameter):
    """A parameter that has stopped learning: nobody can write to `data` (on the CPU), and gradients are dropped.

    So whatever has been derived from it stays true, see `Workspaces.derived`.
    """

    def __init__(self, data: Array, decay: bool = True) -> None:
        self.data = constant(data)
        self.decay = decay

    def __reduce__(self) -> tuple[type[Constant], tuple[Array, bool]]:
        return Constant, (self.data, self.decay)  # a copy is constant, too

    @property  # type: ignore[misc]
    def grad(self) -> Array:
        """There is none: raises RuntimeError."""
        raise RuntimeError("a frozen network has no gradients of its weights")

    def begin_part(self) -> Array:
        return array_module(self.data).empty_like(self.data)  # type: ignore[no-any-return]

    def end_part(self, part: Array) -> None:
        pass

    def add_grad(self, part: Array) -> None:
        pass


class FlatParameters:
    """All parameters in one buffer, those with weight decay first, and all gradients in another.

    `data` and `grad` are 1-D (size,); elements `[:decayed]` take weight decay.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        if not parameters:
            raise ValueError("FlatParameters expected at least one parameter")
        if len({id(parameter) for parameter in parameters}) < len(parameters):
            raise ValueError("FlatParameters expected every parameter once")
        dtypes = {str(parameter.data.dtype) for parameter in parameters}
        if len(dtypes) > 1:
            raise TypeError(f"FlatParameters expected parameters of one dtype, got {' and '.join(sorted(dtypes))}")
        self.parameters = decayed_first(parameters)
        self.decayed = sum(parameter.data.size for parameter in self.parameters if parameter.decay)
        self.grad = flatten_gradients(self.parameters)  # (size,)
        self.data = empty(self.grad.shape, self.grad.dtype, self.grad)  # (size,)
        for parameter, part in _places(self.parameters):
            parameter.move_data(self.data[part].reshape(parameter.data.shape))
            parameter.flat = self
        self._views = [parameter.data for parameter in self.parameters]

    def __reduce__(self) -> tuple[Callable[[list[Parameter]], FlatParameters], tuple[list[Parameter]]]:
        return _packed_alike, (self.parameters,)  # in copies: what the parameters of the copy show

    @property
    def is_in_use(self) -> bool:
        """Whether all parameters still lie here; what is written to the buffers has no effect on one that has left."""
        return all(parameter.data is view for parameter, view in zip(self.parameters, self._views, strict=True))

    def expect_in_use(self, owner: object) -> None:
        """Raise RuntimeError if some parameters have left since `owner`, who works on these buffers, was made."""
        if not self.is_in_use:
            raise RuntimeError(
                f"{type(owner).__name__} no longer has all of its weights: Layer.to, or another optimizer, Ema or "
                "MixedPrecision for some of them, has moved them since, or some data has been replaced instead of "
                "written to, data[...] = new; make it anew, after those"
            )

    @property
    def is_zero(self) -> bool:
        """Whether no backward has added to any gradient since the last step."""
        return all(parameter._is_zero for parameter in self.parameters)

    def keep_half(self) -> Array:
        """Let each parameter have a float16 copy of its data; returns the buffer (size,) of all, for others to fill."""
        half = empty(self.data.size, np.float16, self.data)
        for parameter, part in _places(self.parameters):
            parameter.half = half[part].reshape(parameter.data.shape)
        return half

    def settle(self) -> None:
        """Write the zeros of gradients that nobody has computed, so that `grad` can be read as a whole."""
        settle(self.parameters)

    def zero_grad(self) -> None:
        """Let the next backward start from gradients of zero."""
        for parameter in self.parameters:
            parameter.zero_grad()


def pack(parameters: Iterable[Parameter]) -> FlatParameters:
    """The flat buffers of these parameters: the present ones if they are packed together already, else new ones."""
    wanted = list(parameters)
    for parameter in wanted:
        if not isinstance(parameter, Parameter):
            raise TypeError(f"expected parameters, such as layer.parameters() has them, got {type(parameter).__name__}")
    flat = wanted[0].flat if wanted else None
    if flat is not None and flat.is_in_use and {id(p) for p in flat.parameters} == {id(p) for p in wanted}:
        return flat
    return FlatParameters(wanted)


def _packed_alike(parameters: list[Parameter]) -> FlatParameters:
    """The buffers of a copy, in this order, in which an optimizer's moments lie, too."""
    flat = pack(parameters)
    if any(one is not other for one, other in zip(flat.parameters, parameters, strict=True)):
        raise ValueError("the parameters of this copy lie in another order already: copy network and optimizer apart")
    return flat


def flatten_gradients(parameters: Sequence[Parameter]) -> Array:
    """Move the gradients into one buffer, in the given order; returns it, (total size,)."""
    first = parameters[0].data
    flat = empty(sum(parameter.data.size for parameter in parameters), first.dtype, first)
    for parameter, part in _places(parameters):
        parameter.move_grad(flat[part].reshape(parameter.data.shape))
    return flat


def settle(parameters: Iterable[Parameter]) -> None:
    """Write out the gradients that are zero only logically."""
    for parameter in parameters:
        parameter.grad  # noqa: B018 - reading fills in the zeros


def decayed_first(parameters: Iterable[Parameter]) -> list[Parameter]:
    """The order in the flat buffers: those with weight decay first, otherwise as given."""
    return sorted(parameters, key=lambda parameter: not parameter.decay)


def _places(parameters: Iterable[Parameter]) -> Iterator[tuple[Parameter, slice]]:
    start = 0
    for parameter in parameters:
        stop = start + parameter.data.size
        yield parameter, slice(start, stop)
        start = stop
