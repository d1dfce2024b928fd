"""An ONNX graph in the making, and the forms in which tensors travel through it.

Everywhere in this project channels are last. ONNX's layers of images want (N, C, H, W), and its recurrent layers
(T, N, D). So a tensor carries its form with it, and a rule asks for the form that it needs: there is one transposition
where images begin and one where they are flattened, and none between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from core.backend import Array
from core.errors import UserError
from core.layers import Layer

IMAGES_FIRST, IMAGES_LAST = [0, 3, 1, 2], [0, 2, 3, 1]  # the permutations from channels last, and back


@dataclass(frozen=True)
class Value:
    """A tensor (N, ..., C), or (N, C, H, W) if `channels_first`."""

    name: str
    channels_first: bool = False


@dataclass(frozen=True)
class Steps:
    """Sequences (T, N, D), and the number of steps of each, int64 (N,)."""

    name: str
    lengths: str


@dataclass(frozen=True)
class States:
    """What a recurrent layer returns: states (T, directions, N, H), the last ones (directions, N, H), and lengths."""

    name: str
    last: str
    lengths: str


Form: TypeAlias = Value | Steps | States
Rule: TypeAlias = "Callable[[Graph, Any, Any], Form]"


class Graph:
    """Nodes and constants, added in the order of computation; `rules` say how each class of layers is written."""

    def __init__(self, rules: Mapping[type[Layer], Rule]) -> None:
        self.rules = rules
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.path: list[str] = []  # names of the layers that are being written, from the outermost one

    def layer(self, layer: Layer, x: Any, *name: str) -> Any:
        """Write a layer that sees `x`, called `name` inside the one that is being written; returns what it gives.

        Raises UserError for a class without a rule. A subclass does not inherit one: it may compute something else.
        """
        rule = self.rules.get(type(layer))
        if rule is None:
            raise UserError(
                f"{type(layer).__name__} cannot be exported: scripts/onnx_export/layers.py has no rule for it"
            )
        self.path += name
        y = rule(self, layer, x)
        del self.path[len(self.path) - len(name) :]
        return y

    def constant(self, name: str, array: Array) -> str:
        """Weights as float32, whole numbers as int64. `name` is unique within the layer, and best that of its state."""
        values = np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else np.int64).reshape(array.shape)
        full_name = ".".join([*self.path, name])
        self.constants.append(numpy_helper.from_array(values, full_name))
        return full_name

    def number(self, name: str, value: float) -> str:
        """One float32 number."""
        return self.constant(name, np.array(value, np.float32))

    def add(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Write a node with one output; returns the output's name."""
        return self.add_many(op, *inputs, names=[name], **attributes)[0]

    def add_many(self, op: str, *inputs: str, names: list[str], **attributes: Any) -> list[str]:
        """Write a node with one output for each of `names`, where "" leaves the choice of the name to the graph."""
        own = ".".join([*self.path, f"{op}_{len(self.nodes)}"])
        outputs = [name or (f"{own}_{place}" if place else own) for place, name in enumerate(names)]
        self.nodes.append(helper.make_node(op, list(inputs), outputs, own, **attributes))
        return outputs

    def channels_first(self, x: Value) -> Value:
        """Images as (N, C, H, W)."""
        return x if x.channels_first else Value(self.add("Transpose", x.name, perm=IMAGES_FIRST), channels_first=True)

    def channels_last(self, x: Value) -> Value:
        """A tensor as (N, ..., C)."""
        return Value(self.add("Transpose", x.name, perm=IMAGES_LAST)) if x.channels_first else x
