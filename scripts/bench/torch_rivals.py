"""PyTorch's side of the benchmark: our network rebuilt in PyTorch with the same weights, and its steps."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from core import layers
from core.backend import Array
from core.layers import Sequences

Action = Callable[[], Any]
RECURRENT = {layers.RNN: nn.RNN, layers.GRU: nn.GRU, layers.LSTM: nn.LSTM}
AT_ONCE = 512  # rows of a forward pass, when there are more; core.predict takes as many


@dataclass(frozen=True)
class Rival:
    """One way to run a network in PyTorch."""

    name: str
    fused: bool = False
    """One kernel for the optimizer's update instead of several."""
    channels_last: bool = False
    """Images in memory as (N, H, W, C), which is often faster on a CPU."""
    padded: bool = False
    """Sequences as (N, T, D) with zeros behind their ends, which it reads like all the rest, instead of packed."""
    agrees: bool = True
    """Whether its results must be ours; they are not where it reads zeros behind the ends of sequences."""
    engine: Literal["eager", "frozen", "compiled"] = "eager"
    """Operation by operation; traced and frozen by torch.jit, for inference; or compiled by torch.compile."""

    def inputs(self, x: Array | Sequences) -> Tensor | PackedSequence:
        """A batch as this way wants it; images become (N, C, H, W), in either order in memory."""
        if isinstance(x, Sequences):
            padded = torch.from_numpy(x.to_padded())
            return padded if self.padded else pack_padded_sequence(padded, torch.from_numpy(x.lengths), True, False)
        tensor = torch.from_numpy(x)
        if x.ndim != 4:
            return tensor
        images = tensor.permute(0, 3, 1, 2)
        return images if self.channels_last else images.contiguous()

    def rebuild(self, network: layers.Layer) -> nn.Sequential:
        """The same network in PyTorch, with a copy of its weights."""
        theirs = nn.Sequential(*_same_inside(network))
        return theirs.to(memory_format=torch.channels_last) if self.channels_last else theirs  # type: ignore[call-overload]

    def training_step(
        self, network: layers.Layer, optimizer: Callable[..., torch.optim.Optimizer], x: Any, labels: Array
    ) -> Action:
        """One step on a batch, as PyTorch's own examples write it; the action returns the loss."""
        module, inputs, targets = self.rebuild(network).train(), self.inputs(x), torch.from_numpy(labels)
        theirs = optimizer(module.parameters(), fused=self.fused)
        loss_function = nn.CrossEntropyLoss()
        model = _compiled(module) if self.engine == "compiled" else module

        def step() -> Any:
            theirs.zero_grad(set_to_none=True)
            loss = loss_function(model(inputs), targets)
            loss.backward()
            theirs.step()
            return loss.detach()

        return step

    def inference(self, network: layers.Layer, x: Any) -> Action:
        """The logits of all rows; the action returns them."""
        parts = [self.inputs(x[start : start + AT_ONCE]) for start in range(0, len(x), AT_ONCE)]
        model = self._fast(self.rebuild(network).eval(), parts[0])

        def forward() -> Any:
            with torch.inference_mode():
                return torch.cat([model(part) for part in parts]) if len(parts) > 1 else model(parts[0])

        return forward

    def _fast(self, module: nn.Module, example: Any) -> Callable[..., Any]:
        """The module as this way runs it."""
        if self.engine == "compiled":
            return _compiled(module)
        if self.engine == "frozen":
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore", DeprecationWarning)  # old, but for small batches its fastest way
                return torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(module, example)))  # type: ignore[no-any-return]
        return module


def _compiled(module: nn.Module) -> Callable[..., Any]:
    """The module compiled as if it were the first one: after eight others with like parts PyTorch would give up."""
    torch.compiler.reset()
    return torch.compile(module)  # type: ignore[no-any-return]


def can_compile() -> bool:
    """Whether torch.compile finds the C++ compiler that it needs."""
    return any(shutil.which(name) for name in ("g++", "clang++"))


def _same_inside(network: layers.Layer) -> Iterator[nn.Module]:
    return (module for _, layer in network.children() for module in _same(layer))


def _same(layer: layers.Layer) -> Iterator[nn.Module]:
    """What PyTorch has for one of our layers, with its weights."""
    if isinstance(layer, layers.Linear):
        yield _filled(
            nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None),
            weight=layer.weight.data.T,  # PyTorch keeps (outputs, inputs)
            bias=None if layer.bias is None else layer.bias.data,
        )
    elif isinstance(layer, layers.Conv2d):
        yield _convolution(layer)
        if isinstance(layer, layers.ConvReLUPool):
            yield nn.ReLU()
            if not layer.pool.is_point:
                yield nn.MaxPool2d(layer.pool.kernel, layer.pool.stride)
        elif isinstance(layer, layers.ConvPool):
            yield nn.MaxPool2d(2)
    elif isinstance(layer, layers.Sequential):
        yield from _same_inside(layer)
    elif isinstance(layer, layers.Residual):
        yield Shortcut(nn.Sequential(*_same(layer.body)))
    elif isinstance(layer, layers.BatchNorm):  # of images
        made = nn.BatchNorm2d(layer.size, layer.eps, layer.momentum)
        yield _filled(made, **layer.state_dict(), num_batches_tracked=np.array(0))
    elif isinstance(layer, layers.LeakyReLU):
        yield nn.LeakyReLU(layer.slope)
    elif type(layer) in RECURRENT:
        yield _recurrent(layer)
    elif isinstance(layer, layers.Dropout):
        yield nn.Dropout(layer.rate)
    elif type(layer) in SIMPLE:
        yield SIMPLE[type(layer)]()
    else:
        raise NotImplementedError(f"there is no PyTorch layer for {type(layer).__name__} here yet: add it")


def _convolution(layer: layers.Conv2d) -> nn.Module:
    windows, C = layer.windows, layer.in_channels // layer.groups
    made = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        windows.kernel,
        windows.stride,
        windows.padding,
        windows.dilation,
        layer.groups,
        bias=layer.bias is not None,
    )
    weight = layer.weight.data.reshape(*windows.kernel, C, layer.out_channels).transpose(3, 2, 0, 1)
    return _filled(made, weight=weight, bias=None if layer.bias is None else layer.bias.data)


def _recurrent(layer: Any) -> nn.Module:
    made = RECURRENT[type(layer)](
        layer.input_size, layer.hidden_size, layer.num_layers, True, True, layer.dropout, layer.directions == 2
    )
    state = {}
    for name, array in layer.state_dict().items():  # "l1_reverse.weight_ih" is "weight_ih_l1_reverse" there
        place, kind = name.split(".")
        gates_apart = array.swapaxes(1, 2) if array.ndim == 3 else array  # theirs are stacked, (K * H, inputs)
        state[f"{kind}_{place}"] = gates_apart.reshape(-1, *gates_apart.shape[2:])
    return LastState(_filled(made, **state), layer.directions)


class LastState(nn.Module):
    """The last state of each direction of the topmost recurrent layer: (N, C)."""

    def __init__(self, recurrent: nn.Module, directions: int) -> None:
        super().__init__()
        self.recurrent, self.directions = recurrent, directions

    def forward(self, x: Tensor | PackedSequence) -> Tensor:
        _, last = self.recurrent(x)
        states = last[0] if isinstance(last, tuple) else last  # an LSTM has a cell beside its state
        return torch.cat(list(states[-self.directions :]), dim=1)


class Shortcut(nn.Module):
    """The input added to what the body makes of it."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return y + x


class MeanOfPixels(nn.Module):
    """(N, C, H, W) -> (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


class FlattenChannelsLast(nn.Module):
    """(N, C, H, W) -> (N, H * W * C), the order of our rows; without a copy where memory is channels last."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1) if x.ndim == 4 else x.flatten(1)


SIMPLE: dict[type[layers.Layer], Callable[[], nn.Module]] = {
    layers.ReLU: nn.ReLU,
    layers.Flatten: FlattenChannelsLast,
    layers.GlobalAvgPool: MeanOfPixels,
    layers.LastState: nn.Identity,  # `_recurrent` takes it already
}


def _filled(module: nn.Module, **arrays: Array | None) -> nn.Module:
    """The module with these values in its parameters."""
    module.load_state_dict({name: torch.from_numpy(np.array(a)) for name, a in arrays.items() if a is not None})
    return module
