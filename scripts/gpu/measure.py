"""What `gpu_check.py` measures: bandwidth of the memory-bound operations, products of matrices, training steps."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import cifar.model
import cnn_mnist100.model
import mlp_mnist.model
import rnn_doodles.model
from core.backend import gpu_module, to_cpu, to_device
from core.layers import Layer, MixedPrecision, Sequences
from core.losses import softmax_cross_entropy
from core.ops import gpu
from core.optim import Adam
from core.params import pack
from core.random import Stream

Action = Callable[[], Any]


@dataclass
class Clock:
    """Times what a GPU does: events around several calls in a row, the median of some rounds."""

    rounds: int = 15
    calls: int = 10

    def seconds(self, action: Action) -> float:
        """Seconds a call takes, after one that does not count."""
        action()
        cuda = gpu_module().cuda
        if not hasattr(cuda, "Event"):  # the emulated GPU, in tests
            begin = time.perf_counter()
            action()
            return time.perf_counter() - begin
        times = []
        for _ in range(self.rounds):
            begin, end = cuda.Event(), cuda.Event()
            begin.record()
            for _ in range(self.calls):
                action()
            end.record()
            end.synchronize()
            times.append(cuda.get_elapsed_time(begin, end) / 1000 / self.calls)
        return statistics.median(times)


@dataclass
class Sizes:
    """How much work to measure with; the defaults fill a large GPU."""

    elements: int = 1 << 26
    columns: int = 256
    matrices: tuple[int, ...] = (1024, 2048, 4096)
    batch: int = 256
    clock: Clock = field(default_factory=Clock)


def copy_bandwidth(sizes: Sizes) -> float:
    """GB/s at which the GPU copies an array, counting what it reads and what it writes."""
    x = gpu_module().zeros(sizes.elements, np.float32)
    y = gpu_module().empty_like(x)

    def copy() -> None:
        y[...] = x

    return 2 * x.nbytes / sizes.clock.seconds(copy) / 1e9


def bandwidths(sizes: Sizes) -> Iterator[tuple[str, float]]:
    """(operation, GB/s) of everything that the way to memory should limit."""
    for name, moved, action in memory_bound(sizes):
        yield name, moved / sizes.clock.seconds(action) / 1e9


def memory_bound(sizes: Sizes) -> Iterator[tuple[str, int, Action]]:
    """(operation, bytes that it must read and write, a call of it)."""
    xp, C = gpu_module(), sizes.columns
    M = sizes.elements // C
    N = M * C
    x, y, z, w = (xp.full((M, C), 0.5, np.float32) for _ in range(4))
    flat = [array.reshape(-1) for array in (x, y, z, w)]
    row = xp.full(C, 0.5, np.float32)
    factors, labels = xp.full(3, 0.5, np.float32), xp.zeros(M, np.int64)
    half = xp.zeros(N, np.float16)
    draws = Stream(0).draws(1, M, C)
    overflow = xp.zeros(1, np.int32)
    inverse = xp.ones((M, 1), np.float32)
    yield "relu_forward", 8 * N, lambda: gpu.relu_forward(x, y)
    yield "relu_backward", 12 * N, lambda: gpu.relu_backward(x, y, z)
    yield "gelu_forward", 8 * N, lambda: gpu.gelu_forward(x, y)
    yield "gelu_backward", 12 * N, lambda: gpu.gelu_backward(x, y, z)
    yield "dropout_forward", 12 * N, lambda: gpu.dropout_forward(x, draws, 0.5, y, z)
    yield "dropout_backward", 12 * N, lambda: gpu.dropout_backward(x, y, z)
    yield "column_sums", 4 * N, lambda: gpu.column_sums(x)
    yield "square_sum", 4 * N, lambda: gpu.square_sum(flat[0])
    yield "normalize_forward", 12 * N, lambda: gpu.normalize_forward(x, row, row, row, row, y, z)
    yield "normalize_backward", 12 * N, lambda: gpu.normalize_backward(x, y, row, row, row, z)
    yield "layer_norm_forward", 12 * N, lambda: gpu.layer_norm_forward(x, row, row, 1e-5, y, z)
    yield "layer_norm_backward", 12 * N, lambda: gpu.layer_norm_backward(x, y, row, inverse, z)
    yield "softmax_cross_entropy", 8 * N, lambda: gpu.softmax_cross_entropy(x, labels, 0.0, 1.0, None)
    yield "sgd_update", 20 * N, lambda: gpu.sgd_update(*flat[:3], factors, flat[3], 0.9, False, 0.0)
    yield "adam_update", 28 * N, lambda: gpu.adam_update(*flat, None, factors, flat[3], (0.9, 0.999), 0.0, False)
    yield "cast to float16", 6 * N, lambda: gpu.cast(flat[0], half)
    yield "unscale", 8 * N, lambda: gpu.unscale(flat[0], 0.5, overflow)


def products(sizes: Sizes) -> Iterator[dict[str, Any]]:
    """How fast our products of matrices are, in TFLOP/s and as a share of cuBLAS in the same precision."""
    xp = gpu_module()
    of_dtype = {"float32": ("gemm_naive", "gemm_tiled", "gemm_blocked"), "float16": ("gemm_blocked",)}
    for side, (dtype, names) in itertools.product(sizes.matrices, of_dtype.items()):
        a, b, c = (xp.ones((side, side), dtype) for _ in range(3))
        kind = {"side": side, "dtype": dtype}
        theirs = sizes.clock.seconds(lambda a=a, b=b, c=c: xp.matmul(a, b, out=c))
        yield {**kind, "name": "cuBLAS", "tflops": 2e-12 * side**3 / theirs, "share": 1.0}
        for name in names:
            ours = sizes.clock.seconds(lambda a=a, b=b, c=c, name=name: getattr(gpu, name)(a, b, c))
            yield {**kind, "name": name, "tflops": 2e-12 * side**3 / ours, "share": theirs / ours}


# -- training steps ----------------------------------------------------------------------------------------------------

NETWORKS: dict[str, tuple[Callable[[Stream], Layer], tuple[int, ...], int]] = {
    "mlp_mnist": (lambda s: mlp_mnist.model.build(mlp_mnist.model.Architecture(), stream=s), (784,), 10),
    "cnn_mnist100": (
        lambda s: cnn_mnist100.model.build(cnn_mnist100.model.Architecture(dropout=0.0), stream=s),
        (28, 56, 1),
        100,
    ),
    "cifar cnn": (
        lambda s: cifar.model.build(cifar.model.Architecture("cnn", widths=(32, 64, 128), hidden=(256,)), stream=s),
        (32, 32, 3),
        10,
    ),
    "cifar resnet": (
        lambda s: cifar.model.build(cifar.model.Architecture("resnet", widths=(16, 32, 64)), stream=s),
        (32, 32, 3),
        10,
    ),
    "rnn_doodles": (
        lambda s: rnn_doodles.model.build(rnn_doodles.model.Architecture(classes=10, dropout=0.0), stream=s),
        (64, rnn_doodles.model.FEATURES),
        10,
    ),
}

SEQUENCES = ("rnn_doodles",)  # whose layers have no float16


def training_steps(sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Milliseconds a training step with Adam takes, ours and, where PyTorch and its CUDA are there, PyTorch's.

    In float32 and, but for sequences, in mixed precision.
    """
    for name, amp in itertools.product(NETWORKS, (False, True)):
        if amp and name in SEQUENCES:
            continue
        build, x, labels = example(name, sizes.batch)
        row: dict[str, Any] = {"network": name, "precision": "mixed" if amp else "float32", "batch": sizes.batch}
        row["ours_ms"] = 1000 * sizes.clock.seconds(our_step(build, x, labels, amp))
        try:
            theirs = torch_step(build, x, labels, amp)
        except Exception as error:  # a layer that has no twin there; the other networks are still worth their time
            theirs, row["without_pytorch"] = None, f"{type(error).__name__}: {error}"
        if theirs is not None:
            row["pytorch_ms"] = 1000 * sizes.clock.seconds(theirs)
            row["speed_up"] = row["pytorch_ms"] / row["ours_ms"]
        yield row


def example(name: str, batch: int) -> tuple[Callable[[Stream], Layer], np.ndarray, np.ndarray]:
    """How a network is built, and a batch for it: float32 (N, ...) and int64 (N,)."""
    build, shape, classes = NETWORKS[name]
    rng = np.random.default_rng(0)
    return build, rng.random((batch, *shape), np.float32), rng.integers(0, classes, batch)


def mixed_errors(sizes: Sizes) -> Iterator[tuple[str, float]]:
    """(network, relative distance of its gradient in mixed precision from that in float32), both on the GPU."""
    for name in (name for name in NETWORKS if name not in SEQUENCES):
        build, x, labels = example(name, sizes.batch)
        gradients = []
        for amp in (False, True):
            stream = Stream(0)
            network = build(stream).to("gpu").skip_input_grad()
            flat, model = pack(network.parameters()), MixedPrecision(network) if amp else network
            stream.seek(0, 0)
            logits = model.forward(to_device(x, "gpu"), train=True)
            model.backward(softmax_cross_entropy(logits, to_device(labels, "gpu"))[1])
            flat.settle()
            gradients.append(to_cpu(flat.grad))
        yield name, float(np.linalg.norm(gradients[1] - gradients[0]) / np.linalg.norm(gradients[0]))


def our_step(build: Callable[[Stream], Layer], x: np.ndarray, labels: np.ndarray, amp: bool = False) -> Action:
    """A training step on the GPU that starts with the batch there; returns the loss, which nobody looks at."""
    stream = Stream(0)
    network = build(stream).to("gpu").skip_input_grad()
    optimizer = Adam(network.parameters())
    mixed = MixedPrecision(network) if amp else None
    model = mixed or network
    batch: Any = to_device(x, "gpu")
    if x.ndim == 3:
        batch = Sequences.pack_padded(batch, ragged(*x.shape[:2]))
    there = to_device(labels, "gpu")

    def step() -> Any:
        stream.seek(0, optimizer.steps)
        loss, dlogits = softmax_cross_entropy(model.forward(batch, train=True), there)
        model.backward(dlogits)
        if mixed and mixed.overflowed():
            optimizer.flat.zero_grad()
        else:
            optimizer.step(1e-7)
        return loss

    return step


def torch_step(build: Callable[[Stream], Layer], x: np.ndarray, labels: np.ndarray, amp: bool = False) -> Action | None:
    """The same in PyTorch, whose stream is CuPy's too; None without PyTorch or its CUDA."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    from scripts.bench.torch_rivals import Rival

    rival = Rival("eager", fused=True, channels_last=x.ndim == 4)
    model = rival.rebuild(build(Stream(0))).cuda()
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
