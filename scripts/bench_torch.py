"""PyTorch's side of the benchmark: our network rebuilt in PyTorch with the same weights, and its steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from core import layers

Action = Callable[[], Any]


def rebuild(network: layers.Sequential) -> nn.Sequential:
    """The same network in PyTorch, with a copy of its weights."""
    theirs = nn.Sequential(*(_same(layer) for _, layer in network.children()))
    state = theirs.state_dict()
    for name, array in network.state_dict().items():
        state[name] = torch.tensor(array.T if array.ndim == 2 else array)  # PyTorch keeps (outputs, inputs)
    theirs.load_state_dict(state)
    return theirs


def _same(layer: layers.Layer) -> nn.Module:
    if isinstance(layer, layers.Linear):
        return nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    if isinstance(layer, layers.ReLU):
        return nn.ReLU()
    if isinstance(layer, layers.Dropout):
        return nn.Dropout(layer.rate)
    if isinstance(layer, layers.Flatten):
        return nn.Flatten()
    raise NotImplementedError(f"rebuild has no PyTorch layer for {type(layer).__name__} yet: add it here")


def training_step(model: nn.Module, optimizer: torch.optim.Optimizer, x: np.ndarray, labels: np.ndarray) -> Action:
    """One step on a batch, as PyTorch's own examples write it; the action returns the loss."""
    inputs, targets = torch.from_numpy(x), torch.from_numpy(labels)
    loss_function = nn.CrossEntropyLoss()
    model.train()

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_function(model(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def inference(model: nn.Module, x: np.ndarray) -> Action:
    """The logits of a batch; the action returns them."""
    inputs = torch.from_numpy(x)
    model.eval()

    def forward() -> Any:
        with torch.inference_mode():
            return model(inputs)

    return forward
