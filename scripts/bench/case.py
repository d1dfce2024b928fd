"""What `benchmark.py` times of one network: its training step, inference, and how its batches are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import torch

from core import optim
from core.backend import Array
from core.frozen import freeze
from core.layers import Layer, Parallel, Sequences
from core.losses import softmax_cross_entropy
from core.predict import predict
from core.random import Stream
from scripts.bench.table import OURS
from scripts.bench.torch_rivals import AT_ONCE, Rival, can_compile

Action = Callable[[], Any]
Batch: TypeAlias = tuple[Array | Sequences, Array]
OURS_FROZEN = f"{OURS}, frozen"
LEARNING_RATE = 1e-3
# While timed, the networks see one batch thousands of times; with a real learning rate they would come to know it by
# heart, and their gradients would vanish, which no training does.
TIMED_LEARNING_RATE = 1e-7

OPTIMIZERS: dict[str, tuple[Callable[..., optim.Optimizer], Callable[..., torch.optim.Optimizer]]] = {
    "adam": (optim.Adam, torch.optim.Adam),
    "sgd": (partial(optim.SGD, momentum=0.9), partial(torch.optim.SGD, momentum=0.9)),
    "nesterov": (
        partial(optim.SGD, momentum=0.9, nesterov=True),
        partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    ),
    "plain": (optim.SGD, torch.optim.SGD),
}
WORDS_OF_INFERENCE = ("default", "channels last", "packed", "padded", "compiled", "frozen")  # no optimizers
DENSE = (Rival("default Adam"), Rival("fused Adam", fused=True))
IMAGES = (Rival("default"), Rival("channels last, fused", fused=True, channels_last=True))


@dataclass(frozen=True)
class Case:
    """One network: how to build it, batches for it, and the batch sizes to time."""

    name: str
    what: str
    build: Callable[[Stream], Layer]
    batch: Callable[[int], Batch]  # inputs and labels of so many rows
    training_batch: int
    rivals: tuple[Rival, ...] = DENSE
    inference_batches: tuple[int, ...] = (256, 1)
    optimizer: str = "adam"
    weight_decay: float = 0.0
    parallel: bool = False  # whether the workers share the batch (core.layers.Parallel) instead of the layers' products
    random: bool = False  # whether training draws, as dropout does, so that losses differ from one to the next
    traces: bool = True  # whether torch.jit and torch.compile take it; loops over sequences they would write out

    def with_all_engines(self) -> Case:
        """The same, with PyTorch's compiled and frozen forms among the rivals."""
        if not self.traces:
            return self
        engines = ("compiled", "frozen") if can_compile() else ("frozen",)
        best = self.rivals[-1]
        return replace(
            self, rivals=self.rivals + tuple(replace(best, name=f"{best.name}, {one}", engine=one) for one in engines)
        )

    def training(self, rows: int, lr: float = TIMED_LEARNING_RATE) -> Mapping[str, Action]:
        """One training step for each contender; each action returns the loss."""
        return {name: build() for name, build in self.contenders(self.batch(rows), lr).items()}

    def contenders(self, batch: Batch, lr: float = TIMED_LEARNING_RATE) -> Mapping[str, Callable[[], Action]]:
        """For each contender, what builds its network and returns its training step on this batch."""
        theirs = partial(OPTIMIZERS[self.optimizer][1], lr=lr, weight_decay=self.weight_decay)
        builders: dict[str, Callable[[], Action]] = {OURS: lambda: self._our_step(*batch, lr)}
        for rival in self.rivals:
            if rival.engine != "frozen":  # which is for inference
                builders[f"PyTorch, {rival.name}"] = partial(self._their_step, rival, theirs, batch)
        return builders

    def _their_step(self, rival: Rival, optimizer: Callable[..., torch.optim.Optimizer], batch: Batch) -> Action:
        return rival.training_step(self.build(Stream(0)), optimizer, *batch)

    def inference(self, rows: int) -> Mapping[str, Action]:
        """The outputs of each contender for so many rows."""
        x, _ = self.batch(rows)
        network = self.build(Stream(0))
        ours, frozen = (Parallel(one) if self.parallel else one for one in (network, freeze(network)))
        actions: dict[str, Action] = {
            OURS: lambda: predict(ours, x, AT_ONCE),
            OURS_FROZEN: lambda: predict(frozen, x, AT_ONCE),
        }
        ways = {(rival.channels_last, rival.padded, rival.engine): rival for rival in reversed(self.rivals)}
        for rival in ways.values():
            words = [word for word in rival.name.split(", ") if word in WORDS_OF_INFERENCE]
            actions[", ".join(["PyTorch", *words])] = rival.inference(network, x)
        return actions

    def agreeing(self, actions: Mapping[str, Action]) -> Mapping[str, Action]:
        """Those of the actions that must have the same results."""
        others = [f"PyTorch, {rival.name}" for rival in self.rivals if not rival.agrees]
        return {name: action for name, action in actions.items() if not name.startswith(tuple(others))}

    def our_model(self) -> tuple[Layer, Stream]:
        """Our network as it is trained, and what its dropout draws from."""
        stream = Stream(0)
        network = self.build(stream)
        model: Layer = Parallel(network) if self.parallel else network
        model.skip_input_grad()
        return model, stream

    def _our_step(self, x: Array | Sequences, labels: Array, lr: float) -> Action:
        model, stream = self.our_model()
        optimizer = self.our_optimizer(model)

        def step() -> Any:
            stream.seek(0, optimizer.steps)
            loss, dlogits = softmax_cross_entropy(model.forward(x, train=True), labels)
            model.backward(dlogits)
            optimizer.step(lr)
            return loss

        return step

    def our_optimizer(self, model: Layer) -> optim.Optimizer:
        """The optimizer of our training step."""
        return OPTIMIZERS[self.optimizer][0](model.parameters(), weight_decay=self.weight_decay)
