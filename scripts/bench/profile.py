"""Where a training step of ours spends its time: by layer and pass, against what the machine can do.

Two ceilings are measured first: the fastest matrix product and the fastest copy, with all workers at it. A layer's
operations are those of the plain formula, so one that saves some (Winograd) may pass 100 %; its bytes are what it must
at least read and write: input, output and weights, each once.

Where the workers share the batch, the times are those of the first worker with its share of the rows; those of a
BatchNorm include waiting for the others.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.layers import Conv2d, Layer, Linear, Sequences
from core.layers.recurrent import Recurrent
from core.losses import softmax_cross_entropy
from core.workers import workers
from scripts.bench.case import TIMED_LEARNING_RATE, Case

SIDE = 1024  # of the matrices of the fastest product
COPIED = 1 << 24  # floats: far more than the caches hold
WARM_UP, STEPS = 3, 10
LEAST = 0.005  # of a step, for a line of its own


@dataclass(frozen=True)
class Ceilings:
    """What all workers together reach."""

    flops: float  # a second
    bytes: float  # read or written, a second


@dataclass
class Pass:
    """What one pass of one layer costs."""

    seconds: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0


def measure_ceilings() -> Ceilings:
    """The fastest of several tries of each."""
    count = workers().count
    a, b = np.ones((2, SIDE, SIDE), np.float32)
    products = np.empty((count, SIDE, SIDE), np.float32)
    source, target = np.ones((2, count, COPIED // count), np.float32)
    product = _fastest(lambda rank: np.matmul(a, b, out=products[rank]))
    copy = _fastest(lambda rank: np.copyto(target[rank], source[rank]))
    return Ceilings(flops=count * 2 * SIDE**3 / product, bytes=2 * source.nbytes / copy)


def _fastest(task: Callable[[int], Any]) -> float:
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        workers().run(task)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def print_profile(case: Case, ceilings: Ceilings) -> None:
    """Print the table of one network."""
    model, stream = case.our_model()
    optimizer, (x, labels) = case.our_optimizer(model), case.batch(case.training_batch)
    passes: dict[tuple[str, str], Pass] = defaultdict(Pass)
    own: dict[str, float] = defaultdict(float)

    def timed(name: str, work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        result = work(*arguments, **options)
        own[name] += time.perf_counter() - start
        return result

    def step() -> None:
        stream.seek(0, optimizer.steps)
        logits = timed("forward", model.forward, x, train=True)
        _, dlogits = timed("loss", softmax_cross_entropy, logits, labels)
        timed("backward", model.backward, dlogits)
        timed("update", optimizer.step, TIMED_LEARNING_RATE)

    for _ in range(WARM_UP):
        step()
    for name, layer in _leaves(model):
        _watch(name, layer, passes)
    own.clear()
    for _ in range(STEPS):
        step()
    _print(case, ceilings, passes, own)


def _leaves(layer: Layer, prefix: str = "") -> Iterator[tuple[str, Layer]]:
    """The layers that compute something themselves."""
    children = [] if isinstance(layer, Recurrent) else list(layer.children())
    if not children:
        yield prefix, layer
    for name, child in children:
        yield from _leaves(child, f"{prefix}.{name}" if prefix else name)


def _watch(name: str, layer: Layer, passes: dict[tuple[str, str], Pass]) -> None:
    """Let each pass of a layer note what it costs."""
    weights = sum(parameter.data.nbytes for parameter in layer.parameters())

    def watched(kind: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(x: Any, *arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            y = work(x, *arguments, **options)
            cost = passes[name, kind]
            cost.seconds += time.perf_counter() - start
            both = size(x) + size(y)
            if kind == "forward":
                flops[:] = flops_of(layer, x), flops_on_input(layer, x)
                cost.flops += flops[0]
                cost.bytes += both + weights
            else:  # as many for the weights' gradients, and again for those of what they multiply
                cost.flops += 2 * flops[0] - (flops[1] if y is None else 0)
                cost.bytes += both + 2 * weights + size(x)  # the gradient, what forward kept, and the weights twice
            return y

        return run

    flops = [0.0, 0.0]  # of the last forward: all, and those on its input
    layer.forward = watched("forward", layer.forward)  # type: ignore[method-assign]
    layer.backward = watched("backward", layer.backward)  # type: ignore[method-assign]


def size(x: Any) -> int:
    """The bytes of an array, or of the steps of sequences."""
    array = (x.rows if x.rows is not None else x.last) if isinstance(x, Sequences) else x
    return 0 if array is None else int(array.nbytes)


def flops_of(layer: Layer, x: Any) -> float:
    """The operations of a forward's matrix products, a multiplication and an addition counted as two."""
    if isinstance(layer, Linear):
        return 2.0 * x.size * layer.out_features
    if isinstance(layer, Conv2d):
        OH, OW = layer.windows.count(*x.shape[1:3])
        return 2.0 * len(x) * OH * OW * layer.weight.data.size
    if isinstance(layer, Recurrent):
        return (
            2.0 * _steps(x) * sum(parameter.data.size for parameter in layer.parameters() if parameter.data.ndim == 3)
        )
    return 0.0


def flops_on_input(layer: Layer, x: Any) -> float:
    """Those of the products with the input itself, which a backward leaves out where nobody wants its gradient."""
    if isinstance(layer, Recurrent):
        return 2.0 * _steps(x) * sum(direction.weight_ih.data.size for direction in layer.directions_of(0))
    return flops_of(layer, x)


def _steps(x: Any) -> int:
    """Those of all sequences."""
    return x.layout.rows if isinstance(x, Sequences) else int(x.shape[0] * x.shape[1])


def _print(case: Case, ceilings: Ceilings, passes: dict[tuple[str, str], Pass], own: dict[str, float]) -> None:
    total, share = sum(own.values()), 1 / workers().count if case.parallel else 1.0
    print(f"\n{case.what}: a training step of batch {case.training_batch} takes {total / STEPS * 1e3:.3f} ms")
    print(f"ceilings: {ceilings.flops / 1e9:.0f} GFLOP/s, copy {ceilings.bytes / 1e9:.1f} GB/s")
    print(f"  {'layer':28} {'pass':9} {'ms':>9} {'of step':>8} {'GFLOP':>7} {'MB':>7} {'of GEMM':>8} {'of copy':>8}")
    passes = {key: cost for key, cost in passes.items() if cost.seconds > LEAST * total}
    for (name, kind), cost in passes.items():
        of_gemm, of_copy = (
            amount / cost.seconds / (ceiling * share)
            for amount, ceiling in ((cost.flops, ceilings.flops), (cost.bytes, ceilings.bytes))
        )
        print(
            f"  {name:28} {kind:9} {cost.seconds / STEPS * 1e3:9.3f} {cost.seconds / total:8.1%} "
            f"{cost.flops / STEPS / 1e9:7.2f} {cost.bytes / STEPS / 1e6:7.1f} {of_gemm:8.0%} {of_copy:8.0%}"
        )
    for kind in ("forward", "backward"):
        inside = sum(cost.seconds for (_, one), cost in passes.items() if one == kind)
        rest = own[kind] - inside  # small layers, handing over, putting parts together
        print(f"  {'everything else':28} {kind:9} {rest / STEPS * 1e3:9.3f} {rest / total:8.1%}")
    for kind in ("loss", "update"):
        print(f"  {kind:28} {'':9} {own[kind] / STEPS * 1e3:9.3f} {own[kind] / total:8.1%}")
