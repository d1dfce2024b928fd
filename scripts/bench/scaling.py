"""How the time of our training step and of our answers grows with the batch, the width of the layers and the length.

The exponent is the slope of log(time) over log(size): 1 is time in proportion, 2 its square. Products of matrices grow
with the square of the width, everything else in proportion; what is below that is overhead that size makes up for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from core.layers import GRU, ConvReLUPool, Flatten, LastState, Layer, Linear, Parallel, ReLU, Sequential
from core.losses import softmax_cross_entropy
from core.optim import Adam
from core.predict import predict

CLASSES = 10
SHORTEST = 0.15  # seconds that each time is measured for


@dataclass(frozen=True)
class Family:
    """Networks of one kind: `build(width, length)`, and the shape of a sample for each length."""

    name: str
    build: Callable[[int, int], Layer]
    sample: Callable[[int], tuple[int, ...]]
    batches: Sequence[int]
    widths: Sequence[int]
    lengths: Sequence[int]
    length_is: str  # what the length means; "" where there is none


def _mlp(width: int, length: int) -> Layer:
    rng = np.random.default_rng(0)
    return Sequential(
        Linear(784, width, rng=rng), ReLU(), Linear(width, width, rng=rng), ReLU(), Linear(width, CLASSES, rng=rng)
    )


def _cnn(width: int, length: int) -> Layer:
    rng = np.random.default_rng(0)
    return Parallel(
        Sequential(
            ConvReLUPool(3, width, 3, padding=1, rng=rng),
            ConvReLUPool(width, 2 * width, 3, padding=1, rng=rng),
            Flatten(),
            Linear((length // 4) ** 2 * 2 * width, CLASSES, rng=rng),
        )
    )


def _gru(width: int, length: int) -> Layer:
    rng = np.random.default_rng(0)
    return Sequential(GRU(3, width, rng=rng, bidirectional=True), LastState(), Linear(2 * width, CLASSES, rng=rng))


FAMILIES = (
    Family("MLP 784-w-w-10", _mlp, lambda length: (784,), (1, 8, 64, 512), (64, 128, 256, 512, 1024), (0,), ""),
    Family(
        "CNN w-2w", _cnn, lambda length: (length, length, 3), (1, 8, 64, 256), (8, 16, 32, 64), (16, 32, 64),
        "side of the image",
    ),
    Family(
        "bidirectional GRU w", _gru, lambda length: (length, 3), (1, 8, 64, 256), (48, 96, 192, 384), (16, 32, 64, 128),
        "steps",
    ),
)  # fmt: skip


def print_scaling(families: Sequence[Family] = FAMILIES) -> None:
    """Print a table for each family and each of the three sizes, the other two in the middle of their range."""
    for family in families:
        middle = {
            "batch": family.batches[-2],
            "width": family.widths[len(family.widths) // 2],
            "length": family.lengths[len(family.lengths) // 2],
        }
        ranges = {"batch": family.batches, "width": family.widths, "length": family.lengths}
        for what, sizes in ranges.items():
            if len(sizes) > 1:
                name = family.length_is if what == "length" else what
                others = ", ".join(f"{key} {value}" for key, value in middle.items() if key != what and value)
                print(f"\n{family.name}, {others}")
                _print(name, sizes, [_times(family, **(middle | {what: size})) for size in sizes])


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """The slope of log(time) over log(size), by least squares."""
    slope: float = np.polyfit(np.log(sizes), np.log(times), 1)[0]
    return slope


def _print(name: str, sizes: Sequence[int], times: Sequence[tuple[float, float]]) -> None:
    print(f"  {name:>18} {'training, ms':>14} {'inference, ms':>14}")
    for size, (training, inference) in zip(sizes, times, strict=True):
        print(f"  {size:18} {training * 1e3:14.3f} {inference * 1e3:14.3f}")
    training, inference = (exponent(sizes, column) for column in zip(*times, strict=True))
    print(f"  {'exponent':>18} {training:14.2f} {inference:14.2f}", flush=True)


def _times(family: Family, batch: int, width: int, length: int) -> tuple[float, float]:
    """Seconds of a training step and of an answer."""
    model, rng = family.build(width, length).skip_input_grad(), np.random.default_rng(1)
    x = rng.random((batch, *family.sample(length)), dtype=np.float32)
    labels = rng.integers(0, CLASSES, batch)
    optimizer = Adam(model.parameters())

    def step() -> Any:
        _, dlogits = softmax_cross_entropy(model.forward(x, train=True), labels)
        model.backward(dlogits)
        optimizer.step(0.0)

    return _seconds(step), _seconds(partial(predict, model, x))


def _seconds(action: Callable[[], Any]) -> float:
    """The fastest call, over `SHORTEST` seconds and at least three calls."""
    action()
    times: list[float] = []
    while len(times) < 3 or sum(times) < SHORTEST:
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)
