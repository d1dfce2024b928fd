"""The networks that `benchmark.py` times: ours, and the same network in PyTorch in each configuration worth a try.

A case builds both from the same weights, so that the losses of the first steps must agree before anything is timed.
To add a network, write a `Case` and put it into `CASES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from core.layers import Linear, Parallel, ReLU, Sequential
from core.losses import softmax_cross_entropy
from core.optim import Adam

Action = Callable[[], Any]
OURS = "ours"
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Case:
    """One network: the batch sizes to time, and builders of the contenders, ours under the name `OURS`."""

    name: str
    what: str
    training_batch: int
    training: Callable[[int], Mapping[str, Action]]  # each action is one step and returns its loss
    inference: Callable[[int], Mapping[str, Action]]  # each action returns the logits
    inference_batches: tuple[int, ...] = (256, 1)


def mlp(sizes: tuple[int, ...], name: str, what: str, batch: int) -> Case:
    """A multi-layer perceptron with ReLU and Adam, against PyTorch's default and its fused Adam."""

    def training(rows: int) -> Mapping[str, Action]:
        x, labels = _batch(rows, sizes)
        network = _our_mlp(sizes)
        rivals = {f"PyTorch, {kind} Adam": _torch_mlp(network, sizes) for kind in ("default", "fused")}
        actions = {OURS: _our_step(network, x, labels)}
        for rival, theirs in rivals.items():
            adam = torch.optim.Adam(theirs.parameters(), lr=LEARNING_RATE, fused="fused" in rival)
            actions[rival] = _torch_step(theirs, adam, x, labels)
        return actions

    def inference(rows: int) -> Mapping[str, Action]:
        x, _ = _batch(rows, sizes)
        network = _our_mlp(sizes)
        theirs = _torch_mlp(network, sizes)
        model = Parallel(network)
        return {OURS: lambda: model.forward(x), "PyTorch": _torch_forward(theirs, x)}

    return Case(name, what, batch, training, inference)


CASES = (mlp((784, 256, 128, 10), "mlp_mnist", "MLP 784-256-128-10, Adam", batch=128),)


def _batch(rows: int, sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.random((rows, sizes[0]), dtype=np.float32), rng.integers(0, sizes[-1], rows)


def _our_mlp(sizes: tuple[int, ...]) -> Sequential:
    rng = np.random.default_rng(0)
    layers: list[Linear | ReLU] = []
    for inputs, outputs in pairwise(sizes):
        layers += [Linear(inputs, outputs, rng=rng), ReLU()]
    return Sequential(*layers[:-1])


def _torch_mlp(network: Sequential, sizes: tuple[int, ...]) -> nn.Sequential:
    """The same network in PyTorch, with a copy of its weights (which PyTorch stores transposed)."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    theirs = nn.Sequential(*layers[:-1])
    state = {name: torch.tensor(array.T if array.ndim == 2 else array) for name, array in network.state_dict().items()}
    theirs.load_state_dict(state)
    return theirs


def _our_step(network: Sequential, x: np.ndarray, labels: np.ndarray) -> Action:
    network.skip_input_grad()
    model = Parallel(network)
    optimizer = Adam(model.parameters())

    def step() -> Any:
        loss, dlogits = softmax_cross_entropy(model.forward(x, train=True), labels)
        model.backward(dlogits)
        optimizer.step(LEARNING_RATE)
        return loss

    return step


def _torch_step(model: nn.Module, optimizer: torch.optim.Optimizer, x: np.ndarray, labels: np.ndarray) -> Action:
    inputs, targets = torch.from_numpy(x), torch.from_numpy(labels)
    loss_function = nn.CrossEntropyLoss()

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_function(model(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _torch_forward(model: nn.Module, x: np.ndarray) -> Action:
    inputs = torch.from_numpy(x)
    model.eval()

    def forward() -> Any:
        with torch.inference_mode():
            return model(inputs)

    return forward
