"""How each layer of `core.layers` is written in ONNX: one short rule a class, and the table of all.

A rule takes the graph, the layer and the form of its input, adds nodes, and returns the form of the output. What a
layer does in training only, such as Dropout, is left out.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from onnx import TensorProto

from core import layers
from core.backend import Array
from core.layers import Layer
from core.layers.base import Wrapper
from core.layers.recurrent import Recurrent
from core.ops.cpu.activation import SELU_ALPHA, SELU_SCALE
from core.ops.windows import Windows
from scripts.onnx_export.graph import Form, Graph, Rule, States, Steps, Value

HALVING = Windows((2, 2), stride=(2, 2))
# ONNX's order of the gates, as numbers of ours: z r h from r z n, and i o f c from i f g o.
GATES = {layers.RNN: [0], layers.GRU: [1, 0, 2], layers.LSTM: [0, 3, 1, 2]}


# -- containers -------------------------------------------------------------------------------------------------------


def sequential(graph: Graph, layer: layers.Sequential, x: Form) -> Form:
    for name, child in layer.layers.items():
        x = graph.layer(child, x, name)
    return x


def residual(graph: Graph, layer: layers.Residual, x: Form) -> Form:
    detour = graph.layer(layer.body, x, "body")
    direct = x if layer.shortcut is None else graph.layer(layer.shortcut, x, "shortcut")
    if not isinstance(detour, Value):
        return _sum_of_sequences(graph, detour, direct)
    direct = graph.channels_first(direct) if detour.channels_first else graph.channels_last(direct)
    return Value(graph.add("Add", detour.name, direct.name), detour.channels_first)


def _sum_of_sequences(graph: Graph, one: Steps | States, other: Steps | States) -> Steps | States:
    """Of two layers' states it is again states, with both directions as one."""
    steps = as_steps(graph, one)
    total = graph.add("Add", steps.name, as_steps(graph, other).name)  # (T, N, C)
    if not (isinstance(one, States) and isinstance(other, States)):
        return Steps(total, steps.lengths)
    last = graph.add("Add", last_state(graph, None, one).name, last_state(graph, None, other).name)  # (N, C)
    by_direction = graph.add("Unsqueeze", total, graph.constant("axis_1", np.array([1])))
    return States(by_direction, graph.add("Unsqueeze", last, graph.constant("axis_0", np.array([0]))), steps.lengths)


def committee(graph: Graph, layer: layers.Committee, x: Form) -> Value:
    answers = [graph.channels_last(graph.layer(member, x, name)) for name, member in layer.layers.items()]
    return Value(graph.add("Mean", *(answer.name for answer in answers)))


def network_inside(graph: Graph, layer: Wrapper, x: Form) -> Form:
    """What surrounds a network in training does nothing to its answers."""
    y: Form = graph.layer(layer.network, x)
    return y


def identity(graph: Graph, layer: Layer, x: Form) -> Form:
    return x


def flatten(graph: Graph, layer: layers.Flatten, x: Value) -> Value:
    return Value(graph.add("Flatten", graph.channels_last(x).name, axis=1))


# -- products ---------------------------------------------------------------------------------------------------------


def linear(graph: Graph, layer: layers.Linear, x: Value) -> Value:
    y = graph.add("MatMul", graph.channels_last(x).name, graph.constant("weight", layer.weight.data))
    return Value(y if layer.bias is None else graph.add("Add", y, graph.constant("bias", layer.bias.data)))


def convolution(graph: Graph, x: Value, weight: Array, bias: Array | None, windows: Windows, groups: int = 1) -> Value:
    """A convolution with our weight (KH * KW * C / groups, K), which ONNX wants as (K, C / groups, KH, KW)."""
    kernels = weight.reshape(*windows.kernel, -1, weight.shape[1]).transpose(3, 2, 0, 1)
    weights = [graph.constant("weight", kernels)]
    if bias is not None:
        weights.append(graph.constant("bias", bias))
    settings = _of_windows(windows) | {"dilations": windows.dilation, "group": groups}
    return Value(graph.add("Conv", graph.channels_first(x).name, *weights, **settings), channels_first=True)


def conv2d(graph: Graph, layer: layers.Conv2d, x: Value) -> Value:
    bias = None if layer.bias is None else layer.bias.data
    return convolution(graph, x, layer.weight.data, bias, layer.windows, layer.groups)


def conv_relu_pool(graph: Graph, layer: layers.ConvReLUPool, x: Value) -> Value:
    y = element_wise("Relu", graph, layer, conv2d(graph, layer, x))
    return y if layer.pool.is_point else _max_pool(graph, y, layer.pool)


def conv_pool(graph: Graph, layer: layers.ConvPool, x: Value) -> Value:
    return _max_pool(graph, conv2d(graph, layer, x), HALVING)


# -- pooling ----------------------------------------------------------------------------------------------------------


def max_pool(graph: Graph, layer: layers.MaxPool2d, x: Value) -> Value:
    return _max_pool(graph, x, layer.windows)


def avg_pool(graph: Graph, layer: layers.AvgPool2d, x: Value) -> Value:
    settings = _of_windows(layer.windows) | {"count_include_pad": 1}
    return Value(graph.add("AveragePool", graph.channels_first(x).name, **settings), channels_first=True)


def global_avg_pool(graph: Graph, layer: layers.GlobalAvgPool, x: Value) -> Value:
    mean = graph.add("GlobalAveragePool", graph.channels_first(x).name)  # (N, C, 1, 1)
    return Value(graph.add("Flatten", mean, axis=1))


def _max_pool(graph: Graph, x: Value, windows: Windows) -> Value:
    return Value(graph.add("MaxPool", graph.channels_first(x).name, **_of_windows(windows)), channels_first=True)


def _of_windows(windows: Windows) -> dict[str, Any]:
    pads = [*windows.padding, *windows.padding]  # top, left, bottom, right
    return {"kernel_shape": windows.kernel, "strides": windows.stride, "pads": pads}


# -- normalisation ----------------------------------------------------------------------------------------------------


def batch_norm(graph: Graph, layer: layers.BatchNorm, x: Value) -> Value:
    """One factor and one summand a channel, as in our own inference; ONNX's BatchNormalization takes axis 1 only."""
    scale = layer.weight.data / np.sqrt(layer.running_var + layer.eps)  # (C,)
    shift = layer.bias.data - layer.running_mean * scale  # (C,)
    shape = (-1, 1, 1) if x.channels_first else (-1,)
    scaled = graph.add("Mul", x.name, graph.constant("scale", scale.reshape(shape)))
    return Value(graph.add("Add", scaled, graph.constant("shift", shift.reshape(shape))), x.channels_first)


def layer_norm(graph: Graph, layer: layers.LayerNorm, x: Value) -> Value:
    weights = graph.constant("weight", layer.weight.data), graph.constant("bias", layer.bias.data)
    return Value(graph.add("LayerNormalization", graph.channels_last(x).name, *weights, axis=-1, epsilon=layer.eps))


# -- activations ------------------------------------------------------------------------------------------------------


def element_wise(op: str, graph: Graph, layer: Layer, x: Value, **attributes: Any) -> Value:
    return Value(graph.add(op, x.name, **attributes), x.channels_first)


def leaky_relu(graph: Graph, layer: layers.LeakyReLU, x: Value) -> Value:
    return element_wise("LeakyRelu", graph, layer, x, alpha=float(layer.slope))


def gelu(graph: Graph, layer: layers.GELU, x: Value) -> Value:
    return element_wise("Gelu", graph, layer, x, approximate=layer.approximate)


def softplus(graph: Graph, layer: layers.Softplus, x: Value) -> Value:
    """ONNX's Softplus has neither a beta nor a threshold."""
    beta = graph.number("beta", layer.beta)
    z = graph.add("Mul", x.name, beta)
    bent = graph.add("Div", graph.add("Softplus", z), beta)
    straight = graph.add("Greater", z, graph.number("threshold", layer.threshold))
    return Value(graph.add("Where", straight, x.name, bent), x.channels_first)


# -- sequences --------------------------------------------------------------------------------------------------------


def recurrent(graph: Graph, layer: Recurrent, x: Form) -> States:
    """A node for each level; one node does both directions, each up to the end of each sequence."""
    settings: dict[str, Any] = {"hidden_size": layer.hidden_size}
    settings["direction"] = "bidirectional" if layer.directions == 2 else "forward"
    if isinstance(layer, layers.GRU):
        settings["linear_before_reset"] = 1  # the reset stands behind the product with the state, as in cuDNN
    for level in range(layer.num_layers):
        steps = as_steps(graph, x)
        lengths = graph.add("Cast", steps.lengths, to=TensorProto.INT32)
        weights = _of_directions(graph, layer, level)
        y, last = graph.add_many(type(layer).__name__, steps.name, *weights, lengths, names=["", ""], **settings)
        x = States(y, last, steps.lengths)
    assert isinstance(x, States)  # there is at least one level
    return x


def _of_directions(graph: Graph, layer: Recurrent, level: int) -> list[str]:
    """ONNX's weights of one level: W (directions, K * H, I), R (directions, K * H, H), B (directions, 2 * K * H)."""
    order, cells = GATES[type(layer)], layer.directions_of(level)

    def rows(weight: Array) -> Array:
        by_gate: Array = weight[order].swapaxes(1, 2)
        return by_gate.reshape(-1, weight.shape[1])

    def biases(cell: Any) -> Array:
        return np.concatenate([bias.data[order].reshape(-1) for bias in (cell.bias_ih, cell.bias_hh)])

    return [
        graph.constant(f"l{level}.weight_ih", np.stack([rows(cell.weight_ih.data) for cell in cells])),
        graph.constant(f"l{level}.weight_hh", np.stack([rows(cell.weight_hh.data) for cell in cells])),
        graph.constant(f"l{level}.bias", np.stack([biases(cell) for cell in cells])),
    ]


def as_steps(graph: Graph, x: Form) -> Steps:
    """Sequences (T, N, D): from the states of a recurrent layer, or from an array (N, T, D) of equally long ones."""
    if isinstance(x, States):
        by_sequence = graph.add("Transpose", x.name, perm=[0, 2, 1, 3])  # (T, N, directions, H)
        shape = graph.constant(f"shape_{len(graph.nodes)}", np.array([0, 0, -1]))  # 0 keeps an axis
        return Steps(graph.add("Reshape", by_sequence, shape), x.lengths)
    if isinstance(x, Value):
        N, T = (graph.add("Shape", x.name, start=axis, end=axis + 1) for axis in (0, 1))
        return Steps(graph.add("Transpose", x.name, perm=[1, 0, 2]), graph.add("Expand", T, N))
    return x


def each_step(graph: Graph, layer: layers.EachStep, x: Form) -> Steps:
    steps = as_steps(graph, x)
    return Steps(graph.layer(layer.layer, Value(steps.name), "layer").name, steps.lengths)


def last_state(graph: Graph, _: layers.LastState | None, x: States) -> Value:
    return Value(graph.add("Flatten", graph.add("Transpose", x.last, perm=[1, 0, 2]), axis=1))


def mean_state(graph: Graph, layer: layers.MeanState, x: Form) -> Value:
    """What ONNX's layers give behind the end of a sequence is not specified, so it is replaced by zeros."""
    steps = as_steps(graph, x)
    zero, one = graph.constant("first", np.array(0)), graph.constant("step", np.array(1))
    T = graph.add("Squeeze", graph.add("Shape", steps.name, start=0, end=1))
    every = graph.add("Unsqueeze", graph.add("Range", zero, T, one), graph.constant("axis_1", np.array([1])))  # (T, 1)
    present = graph.add("Less", every, steps.lengths)  # (T, N)
    mask = graph.add("Unsqueeze", present, graph.constant("axis_2", np.array([2])))  # (T, N, 1)
    states = graph.add("Where", mask, steps.name, graph.number("nothing", 0))
    total = graph.add("ReduceSum", states, graph.constant("axis_0", np.array([0])), keepdims=0)  # (N, C)
    counts = graph.add("Cast", steps.lengths, to=TensorProto.FLOAT)
    return Value(graph.add("Div", total, graph.add("Unsqueeze", counts, graph.constant("channels", np.array([1])))))


RULES: dict[type[Layer], Rule] = {
    layers.Sequential: sequential,
    layers.Residual: residual,
    layers.Committee: committee,
    layers.Parallel: network_inside,
    layers.MixedPrecision: network_inside,
    layers.Flatten: flatten,
    layers.Dropout: identity,
    layers.Linear: linear,
    layers.Conv2d: conv2d,
    layers.ConvReLUPool: conv_relu_pool,
    layers.ConvPool: conv_pool,
    layers.MaxPool2d: max_pool,
    layers.AvgPool2d: avg_pool,
    layers.GlobalAvgPool: global_avg_pool,
    layers.BatchNorm: batch_norm,
    layers.LayerNorm: layer_norm,
    layers.ReLU: partial(element_wise, "Relu"),
    layers.LeakyReLU: leaky_relu,
    layers.GELU: gelu,
    layers.SELU: partial(element_wise, "Selu", alpha=SELU_ALPHA, gamma=SELU_SCALE),
    layers.Softplus: softplus,
    layers.Sigmoid: partial(element_wise, "Sigmoid"),
    layers.Tanh: partial(element_wise, "Tanh"),
    layers.RNN: recurrent,
    layers.GRU: recurrent,
    layers.LSTM: recurrent,
    layers.EachStep: each_step,
    layers.LastState: last_state,
    layers.MeanState: mean_state,
}
