"""What every layer is: two verbs, some parameters, and workspaces that it reuses from step to step."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from core.backend import Array, Device, array_module, device_of, to_cpu, to_device
from core.params import Constant, Parameter, SharedParameter
from core.workspaces import Workspaces


class Layer:
    """A differentiable function of one array.

    `forward(x, train=False) -> y` computes; with `train=True` it also remembers what `backward` will need.
    `backward(dy) -> dx` takes the gradient of the loss with respect to `y`, adds to each parameter's `.grad`, and
    returns the gradient with respect to `x`. It consumes what forward remembered: a second backward raises.

    The arrays that both return may live in workspaces that the next call overwrites: copy what you keep
    (`core.predict` does), and let one thread at a time use a network; another one needs a `replica()`, which shares its
    weights. `workspace(name, shape, like)` is memory to write into, see `core.workspaces`. Arrays are channels last:
    (N, D), (N, T, D) or (N, H, W, C).
    """

    input_grad = True  # False: backward returns None and spends nothing on dx, as the first layer of a network may
    buffer_names: ClassVar[tuple[str, ...]] = ()  # arrays that belong to the state but are not trained
    left_out_of_copies: ClassVar[tuple[str, ...]] = ("_remembered",)  # what a copy begins with None instead of

    def __init__(self) -> None:
        self.workspace = Workspaces()
        self._remembered: tuple[Any, ...] | None = None
        self._y_shape: tuple[int, ...] | None = None  # of the output for which it was remembered

    def forward(self, x: Array, train: bool = False) -> Array:
        """The layer's output for `x`; `train=True` prepares for a backward."""
        raise NotImplementedError

    def backward(self, dy: Array) -> Array | None:
        """Add to the parameters' gradients and return dx (None where `input_grad` is False)."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | dict.fromkeys(self.left_out_of_copies)

    # -- what backward needs ------------------------------------------------------------------------------------

    def remember(self, train: bool, *values: Any, y: Array | None = None) -> None:
        """Keep `values` for backward after a training forward; any other forward makes the layer forget.

        `y` is the output, whose shape `recall` then expects of its gradient.
        """
        self._remembered = values if train else None
        self._y_shape = y.shape if train and y is not None else None

    def recall(self, dy: Array | None = None) -> Any:
        """What the training forward remembered, once: the value itself if it is one, else the tuple.

        Raises RuntimeError if there is nothing and, where the output was given, too, ValueError unless `dy` has its
        shape, and TypeError for integers: what is spread or cut off then would be wrong without a word.
        """
        if self._remembered is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward needs a forward(x, train=True) first; each backward consumes one"
            )
        if self._y_shape is not None and dy is not None:
            if dy.shape != self._y_shape:
                raise ValueError(f"{type(self).__name__}.backward expected {self._y_shape}, got {dy.shape}")
            if dy.dtype.kind != "f":
                raise TypeError(f"{type(self).__name__}.backward expected floating-point numbers, got {dy.dtype}")
        values, self._remembered = self._remembered, None
        return values[0] if len(values) == 1 else values

    # -- the tree of layers -------------------------------------------------------------------------------------

    def children(self) -> Iterator[tuple[str, Layer]]:
        """The layers directly inside this one, with their names: its attributes, and what a dict called `layers` holds.

        An attribute may be one of the dict's layers once more. Raises TypeError for two layers of one name, and for
        another list, tuple or dict of layers or parameters, which would never learn. `_remembered` is not searched: a
        backward may need layers there.
        """
        named = _named_layers(vars(self).get("layers"))
        for name, value in vars(self).items():
            if isinstance(value, Layer):
                if any(value is layer for layer in named.values()):
                    continue
                if name in named:
                    raise TypeError(f"{type(self).__name__} has two layers called {name}: an attribute, and in layers")
                yield name, value
            elif name == "layers" and named:
                yield from named.items()
            elif name != "_remembered" and _holds_some(value):
                raise TypeError(
                    f"{type(self).__name__} keeps layers or parameters in {name}, where nobody finds them: have each "
                    "as an attribute alone, or layers, by their names and nothing else, in a dict called layers"
                )

    def walk(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """This layer and all layers below it, with dotted names; this one's name is `prefix`."""
        yield prefix, self
        for name, child in self.children():
            yield from child.walk(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its dotted name, such as "features.0.weight"."""
        for prefix, layer in self.walk():
            for name, value in vars(layer).items():
                if isinstance(value, Parameter):
                    yield f"{prefix}.{name}" if prefix else name, value

    def parameters(self) -> list[Parameter]:
        """Every parameter of this layer and of those below it that learns, once, however many layers share it."""
        learning = (parameter for _, parameter in self.named_parameters() if not isinstance(parameter, Constant))
        return list({id(parameter): parameter for parameter in learning}.values())

    def skip_input_grad(self) -> Layer:
        """Let backward spend nothing on the gradient of the network's input; returns self."""
        self.input_grad = False
        return self

    # -- state --------------------------------------------------------------------------------------------------

    def named_state(self) -> Iterator[tuple[str, Array]]:
        """Every array of the state by name, the layer's own memory: parameters, then buffers."""
        for name, parameter in self.named_parameters():
            yield name, parameter.data
        for prefix, layer in self.walk():
            for name in layer.buffer_names:
                yield f"{prefix}.{name}" if prefix else name, getattr(layer, name)

    @property
    def device(self) -> Device:
        """Where the weights are; the CPU without any."""
        return next((device_of(array) for _, array in self.named_state()), "cpu")

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers, as NumPy arrays."""
        return {name: np.array(to_cpu(array), copy=True) for name, array in self.named_state()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Overwrite all parameters and buffers.

        Raises, before anything is changed, ValueError if names, shapes or kinds of numbers differ from this layer's,
        and RuntimeError for a frozen network.
        """
        if any(isinstance(parameter, Constant) for _, parameter in self.named_parameters()):
            raise RuntimeError("a frozen network keeps its weights: load the state into the original and freeze that")
        own = dict(self.named_state())
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unknown:
            raise ValueError(f"the state does not fit this network: missing {missing}, unknown {unknown}")
        new = {name: array_module(array).asarray(state[name]) for name, array in own.items()}
        for name, array in own.items():
            if new[name].shape != array.shape:
                raise ValueError(f"{name} expected shape {array.shape}, got {new[name].shape}")
            if new[name].dtype.kind != array.dtype.kind:
                raise ValueError(f"{name} expected {array.dtype}, got {new[name].dtype}")
        for name, array in own.items():
            array[...] = new[name]

    def to(self, device: Device | None = None, dtype: DTypeLike | None = None) -> Layer:
        """Move parameters and buffers to a device or a dtype; returns self.

        Parameters are new ones then: an optimizer, Ema or MixedPrecision has to be made afterwards. A parameter that
        several layers share stays one.
        """
        new: dict[int, Parameter] = {}

        def moved(array: Array) -> Array:
            return to_device(array, device, dtype) if device else array.astype(dtype or array.dtype)

        layers = {id(layer): layer for _, layer in self.walk()}  # each once, however many places it has
        for layer in layers.values():
            layer.workspace = layer.workspace.another()  # the old one's memory is on the old device
            for name, value in list(vars(layer).items()):
                if isinstance(value, Parameter):
                    kind = Constant if isinstance(value, Constant) else Parameter
                    if id(value) not in new:
                        new[id(value)] = kind(moved(value.data), value.decay)
                        if value.flat is not None:
                            value.data = value.data[...]  # another view, by which its buffers notice that it has left
                    setattr(layer, name, new[id(value)])
                elif name in layer.buffer_names:
                    setattr(layer, name, moved(value))
        return self

    def replica(self) -> Layer:
        """A copy for another thread: the same weights and buffers, with workspaces and gradients of its own."""
        shared: dict[int, Any] = {}
        for _, layer in self.walk():
            for name, value in vars(layer).items():
                if isinstance(value, Parameter):
                    shared[id(value)] = value if isinstance(value, Constant) else SharedParameter(value)
                elif name in layer.buffer_names:
                    shared[id(value)] = value
        return copy.deepcopy(self, shared)


class Wrapper(Layer):
    """What surrounds a network: its layers, names and state are the network's, as if nothing were around it.

    Its answers are the network's, too: `core.frozen.freeze` leaves it out.
    """

    def __init__(self, network: Layer) -> None:
        super().__init__()
        self.network = network

    def children(self) -> Iterator[tuple[str, Layer]]:
        return self.network.children()

    def walk(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        return self.network.walk(prefix)


def _named_layers(value: object) -> dict[str, Layer]:
    """The value itself if it is a dict of layers by their names, else an empty one."""
    if not isinstance(value, dict):
        return {}
    suits = all(isinstance(name, str) and name and isinstance(layer, Layer) for name, layer in value.items())
    return value if suits else {}


def _holds_some(value: object) -> bool:
    """Whether a list, tuple or dict has layers or parameters, perhaps in further ones."""
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return any(isinstance(member, Layer | Parameter) or _holds_some(member) for member in members)


def expect_last_axis(layer: Layer, x: Array, size: int) -> None:
    """Raise ValueError unless `x` has at least two axes and the last one is `size` long, TypeError for integers."""
    if x.ndim < 2 or x.shape[-1] != size:
        raise ValueError(f"{type(layer).__name__} expected (N, ..., {size}), got {x.shape}")
    expect_floats(layer, x)


def expect_floats(layer: Layer, x: Array) -> None:
    """Raise TypeError for integers, in which a layer would compute nonsense or stop somewhere deep inside."""
    if x.dtype.kind != "f":
        raise TypeError(f"{type(layer).__name__} expected floating-point numbers, got {x.dtype}")
