"""The networks that `benchmark.py` times: ours, and the same in PyTorch in each configuration worth a try.

To add a network, write its `Case` into `CASES`. All contenders start from the same weights; where nothing is drawn at
random, the losses of their first steps must agree before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from core.layers import Layer, Parallel, Sequential
from core.losses import softmax_cross_entropy
from core.optim import Adam
from core.random import Stream
from mlp_mnist.model import Architecture, build
from mlp_mnist.settings import PRESETS
from scripts import bench_torch

Action = Callable[[], Any]
OURS = "ours"
LEARNING_RATE = 1e-3
# While timed, the networks see one batch thousands of times. With a real learning rate they would know it by heart, and
# the squares of their vanishing gradients would be denormal numbers, with which processors are many times slower.
TIMED_LEARNING_RATE = 1e-7


@dataclass(frozen=True)
class Case:
    """One network: how to build it, an input for it, and the batch sizes to time."""

    name: str
    what: str
    build: Callable[[Stream], Sequential]
    sample: tuple[int, ...]  # the shape of one input
    classes: int
    training_batch: int
    inference_batches: tuple[int, ...] = (256, 1)
    weight_decay: float = 0.0
    parallel: bool = False  # whether the workers share the batch (core.layers.Parallel) instead of the layers' products
    random: bool = False  # whether training draws, as dropout does, so that losses differ from one to the next

    def training(self, rows: int, lr: float = TIMED_LEARNING_RATE) -> Mapping[str, Action]:
        """One training step for each contender; each action returns the loss."""
        x, labels = self._batch(rows)
        actions = {OURS: self._our_step(x, labels, lr)}
        for kind in ("default", "fused"):
            model = bench_torch.rebuild(self.build(Stream(0)))
            adam = torch.optim.Adam(
                model.parameters(), lr=lr, weight_decay=self.weight_decay, fused=kind == "fused"
            )
            actions[f"PyTorch, {kind} Adam"] = bench_torch.training_step(model, adam, x, labels)
        return actions

    def inference(self, rows: int) -> Mapping[str, Action]:
        """The outputs of each contender for one batch."""
        x, _ = self._batch(rows)
        network = self.build(Stream(0))
        theirs = bench_torch.rebuild(network)
        ours: Layer = Parallel(network) if self.parallel else network
        return {OURS: lambda: ours.forward(x), "PyTorch": bench_torch.inference(theirs, x)}

    def _batch(self, rows: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(1)
        return rng.random((rows, *self.sample), dtype=np.float32), rng.integers(0, self.classes, rows)

    def _our_step(self, x: np.ndarray, labels: np.ndarray, lr: float) -> Action:
        stream = Stream(0)
        network = self.build(stream)
        model: Layer = Parallel(network) if self.parallel else network
        model.skip_input_grad()
        optimizer = Adam(model.parameters(), weight_decay=self.weight_decay)

        def step() -> Any:
            stream.seek(0, optimizer.steps)
            loss, dlogits = softmax_cross_entropy(model.forward(x, train=True), labels)
            model.backward(dlogits)
            optimizer.step(lr)
            return loss

        return step


MLP_MNIST = Case(
    name="mlp_mnist",
    what="MLP 784-256-128-10, Adam",
    build=lambda stream: build(Architecture(), stream=stream),
    sample=(28, 28),
    classes=10,
    training_batch=128,
)
PRESET = PRESETS["default"]
CASES = (
    MLP_MNIST,
    replace(
        MLP_MNIST,
        name="mlp_mnist_default",
        what=f"the same with the dropout ({PRESET.input_dropout:g}, {PRESET.dropout:g}) and L2 of the default preset",
        build=lambda stream: build(PRESET.architecture(10), stream=stream),
        training_batch=PRESET.batch_size,
        weight_decay=PRESET.weight_decay,
        random=bool(PRESET.dropout or PRESET.input_dropout),
    ),
)
