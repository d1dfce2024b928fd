"""Training steps on a GPU, ours and PyTorch's, and how exact mixed precision is. For `gpu_check.py`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

import cifar.model
import cifar.settings
import cnn_mnist100.model
import mlp_mnist.model
import rnn_doodles.model
from core.backend import to_cpu, to_device
from core.layers import Layer, MixedPrecision, Sequences
from core.losses import softmax_cross_entropy
from core.optim import Adam
from core.params import pack
from core.random import Stream
from scripts.gpu.clock import Action, Sizes


@dataclass(frozen=True)
class Network:
    """One of the projects' networks, and the shape of a sample and the number of classes of its task."""

    project: ModuleType  # its model.py
    architecture: Any
    shape: tuple[int, ...]
    classes: int

    def build(self, stream: Stream) -> Layer:
        """The network on the CPU."""
        built: Layer = self.project.build(self.architecture, stream=stream)
        return built

    def example(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        """A batch: float32 (N, ...) and int64 (N,)."""
        rng = np.random.default_rng(0)
        return rng.random((batch, *self.shape), np.float32), rng.integers(0, self.classes, batch)


PICTURE = (32, 32, 3)
CNN, RESNET = (cifar.settings.PRESETS[name].architecture() for name in ("cnn", "resnet"))
NETWORKS = {
    "mlp_mnist": Network(mlp_mnist.model, mlp_mnist.model.Architecture(), (784,), 10),
    "cnn_mnist100": Network(cnn_mnist100.model, cnn_mnist100.model.Architecture(dropout=0.0), (28, 56, 1), 100),
    "cifar cnn": Network(cifar.model, CNN, PICTURE, 10),
    "cifar resnet": Network(cifar.model, replace(RESNET, dropout=0.0), PICTURE, 10),
    "rnn_doodles": Network(
        rnn_doodles.model,
        rnn_doodles.model.Architecture(classes=10, dropout=0.0),
        (64, rnn_doodles.model.FEATURES),
        10,
    ),
}
SEQUENCES = ("rnn_doodles",)  # whose layers have no float16


def training_steps(sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Milliseconds a training step with Adam takes, ours and, where PyTorch and its CUDA are there, PyTorch's.

    In float32 and, but for sequences, in mixed precision. PyTorch runs as it does best of its two orders of images in
    memory, and in float32 without and, for comparison, with TF32, which rounds products to 10 bits.
    """
    for (name, network), amp in itertools.product(NETWORKS.items(), (False, True)):
        if amp and name in SEQUENCES:
            continue
        row: dict[str, Any] = {"network": name, "precision": "mixed" if amp else "float32", "batch": sizes.batch}
        row["ours_ms"] = 1000 * sizes.clock.seconds(our_step(network, sizes.batch, amp))
        with suppress(ImportError):  # no PyTorch, nothing to compare with
            row |= their_figures(network, sizes, amp)
        if "pytorch_ms" in row:
            row["speed_up"] = row["pytorch_ms"] / row["ours_ms"]
        yield row


def their_figures(network: Network, sizes: Sizes, amp: bool) -> dict[str, float]:
    """`pytorch_ms`, and in float32 `pytorch_tf32_ms`; nothing without CUDA. ImportError without PyTorch."""
    import torch

    if not torch.cuda.is_available():
        return {}
    found = {}
    for name, tf32 in (("pytorch_ms", False), ("pytorch_tf32_ms", True))[: 1 if amp else 2]:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        orders = (False, True) if len(network.shape) == 3 else (False,)
        found[name] = 1000 * min(
            sizes.clock.seconds(torch_step(network, sizes.batch, amp, channels_last)) for channels_last in orders
        )
    return found


def mixed_errors(sizes: Sizes) -> Iterator[tuple[str, float]]:
    """(network, relative distance of its gradient in mixed precision from that in float32), both on the GPU."""
    for name, network in NETWORKS.items():
        if name in SEQUENCES:
            continue
        x, labels = network.example(sizes.batch)
        gradients = []
        for amp in (False, True):
            stream = Stream(0)
            layers = network.build(stream).to("gpu").skip_input_grad()
            flat, model = pack(layers.parameters()), MixedPrecision(layers) if amp else layers
            stream.seek(0, 0)
            logits = model.forward(to_device(x, "gpu"), train=True)
            model.backward(softmax_cross_entropy(logits, to_device(labels, "gpu"))[1])
            flat.settle()
            gradients.append(to_cpu(flat.grad))
        yield name, float(np.linalg.norm(gradients[1] - gradients[0]) / np.linalg.norm(gradients[0]))


def our_step(network: Network, batch: int, amp: bool = False) -> Action:
    """A training step on the GPU that starts with the batch there; returns the loss, which nobody looks at."""
    x, labels = network.example(batch)
    stream = Stream(0)
    layers = network.build(stream).to("gpu").skip_input_grad()
    optimizer = Adam(layers.parameters())
    mixed = MixedPrecision(layers) if amp else None
    model = mixed or layers
    inputs: Any = to_device(x, "gpu")
    if x.ndim == 3:
        inputs = Sequences.pack_padded(inputs, ragged(*x.shape[:2]))
    there = to_device(labels, "gpu")

    def step() -> Any:
        stream.seek(0, optimizer.steps)
        loss, dlogits = softmax_cross_entropy(model.forward(inputs, train=True), there)
        model.backward(dlogits)
        if mixed and mixed.overflowed():
            optimizer.flat.zero_grad()
        else:
            optimizer.step(1e-7)
        return loss

    return step


def torch_step(network: Network, batch: int, amp: bool, channels_last: bool) -> Action:
    """The same in PyTorch, whose stream is CuPy's too."""
    import torch

    from scripts.bench.torch_rivals import Rival

    x, labels = network.example(batch)
    rival = Rival("eager", fused=True, channels_last=channels_last)
    model = rival.rebuild(network.build(Stream(0))).cuda()
    given: Any = Sequences.pack_padded(x, ragged(*x.shape[:2])) if x.ndim == 3 else x
    inputs, targets = rival.inputs(given).to("cuda"), torch.from_numpy(labels).cuda()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-7, fused=True)
    loss_of, scaler = torch.nn.CrossEntropyLoss(), torch.amp.GradScaler("cuda", enabled=amp)
    model.train()

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.float16, enabled=amp):
            loss = loss_of(model(inputs), targets)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    return step


def ragged(N: int, longest: int) -> np.ndarray:
    """Lengths of N sequences, as uneven as drawings."""
    return np.random.default_rng(2).integers(max(1, longest // 4), longest + 1, N)
