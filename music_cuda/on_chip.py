"""The epochs that run in kernels of our own: `Fused`, one launch for all songs, and `Naive`, nine launches a song.

With arrays on the CPU the same kernels run there, thread by thread, which is slow but needs no GPU: so they are tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.backend import Array, array_module
from core.errors import UserError
from core.kernels import THREADS, Kernels, blocks_for
from core.kernels.arguments import MOST_SHARED
from core.layers import Linear

KERNELS = Kernels(Path(__file__).resolve().parent / "kernels")
MOST_CLASSES = 32  # the lanes of a warp, which shares a softmax
LARGEST = (60, 32, 16, 16)  # what one_by_one.cu has registers for: features, hidden units, genres


class Fused:
    """Trains three Linear layers with ReLU between them on songs x (N, D), labels (N,); an epoch is one launch."""

    def __init__(self, linears: Sequence[Linear], x: Array, labels: Array, batch_size: int) -> None:
        """Raises UserError for a network and a batch that are too large for the memory on the chip."""
        first, second, third = self.linears = tuple(linears)
        self.x, self.labels, self.batch_size = x, labels.astype(np.int32), min(batch_size, len(x))
        sizes = [(linear.in_features, linear.out_features) for linear in self.linears]
        weights = sum(inputs * padded(outputs) + outputs for inputs, outputs in sizes)
        song = 2 * first.in_features + 2 * first.out_features + 2 * second.out_features + third.out_features
        self.shared = (weights + self.batch_size * song) * x.itemsize
        if self.shared > MOST_SHARED:
            most = (MOST_SHARED // x.itemsize - weights) // song
            advice = f"a --batch-size up to {most}" if most > 0 else "smaller --hidden1 and --hidden2"
            raise UserError(
                f"--fused keeps all weights and a batch on the chip, which has no room for this: try {advice}"
            )
        if third.out_features > MOST_CLASSES:
            raise ValueError(f"Fused expected at most {MOST_CLASSES} classes, got {third.out_features}")
        widths = (first.in_features, first.out_features, second.out_features, third.out_features)
        small = all(width <= most for width, most in zip(widths, LARGEST, strict=True))
        self.one_by_one = batch_size == 1 and small and x.dtype == np.float32

    def __call__(self, order: Array, rates: Sequence[float]) -> tuple[float, float]:
        """Train on the songs of `order` with a learning rate for each batch; returns the mean loss and the accuracy."""
        xp, x = array_module(self.x), self.x
        losses, right = xp.empty(len(order), x.dtype), xp.empty(len(order), np.int32)
        arrays = {}
        for number, linear in enumerate(self.linears, start=1):
            assert linear.bias is not None
            arrays |= {f"w{number}": linear.weight.data, f"b{number}": linear.bias.data}
        arrays |= {
            "x": x,
            "labels": self.labels,
            "order": xp.asarray(order, np.int32),
            "losses": losses,
            "right": right,
        }
        arrays["rates"] = xp.asarray(rates, x.dtype)
        if self.one_by_one:
            KERNELS.launch("one_by_one_epoch", 1, 32, **arrays)
        else:
            KERNELS.launch("fused_epoch", 1, THREADS, shared_bytes=self.shared, **arrays, B=self.batch_size)
        return float(losses.mean()), float(right.mean())


def padded(columns: int) -> int:
    """How far apart rows of so many columns lie on the chip, see fused.cu."""
    return columns + (12 - columns % 8) % 8


class Naive:
    """The same with one song at a time and a kernel for each layer and pass."""

    def __init__(self, linears: Sequence[Linear], x: Array, labels: Array) -> None:
        self.linears, self.x, self.labels = tuple(linears), x, labels.astype(np.int32)
        empty = array_module(x).empty
        self.outputs = [empty(linear.out_features, x.dtype) for linear in self.linears]
        self.deltas = [empty(linear.out_features, x.dtype) for linear in self.linears]

    def __call__(self, order: Array, rates: Sequence[float]) -> tuple[float, float]:
        """As `Fused`; the host never waits for the GPU before the end."""
        xp, x = array_module(self.x), self.x
        losses, right = xp.empty(len(order), x.dtype), xp.empty(len(order), np.int32)
        last = len(self.linears) - 1
        for place, (song, rate) in enumerate(zip(order.tolist(), rates, strict=True)):
            inputs = [x[song], *self.outputs[:-1]]
            for k, linear in enumerate(self.linears):
                KERNELS.launch(
                    "naive_forward", blocks_for(linear.out_features), THREADS, x=inputs[k], weight=linear.weight.data,
                    bias=linear.bias.data, y=self.outputs[k], relu=k < last,
                )  # fmt: skip
            KERNELS.launch(
                "naive_softmax_gradient", 1, 1, z=self.outputs[last], labels=self.labels, dz=self.deltas[last],
                losses=losses, right=right, song=song, place=place,
            )  # fmt: skip
            for k in range(last, 0, -1):
                KERNELS.launch(
                    "naive_backward", blocks_for(self.linears[k].in_features), THREADS, dy=self.deltas[k],
                    weight=self.linears[k].weight.data, x=inputs[k], dx=self.deltas[k - 1],
                )  # fmt: skip
            for k, linear in enumerate(self.linears):
                KERNELS.launch(
                    "naive_update", blocks_for(linear.weight.data.size), THREADS, x=inputs[k], dy=self.deltas[k],
                    weight=linear.weight.data, bias=linear.bias.data, rate=rate,
                )  # fmt: skip
        return float(losses.mean()), float(right.mean())
