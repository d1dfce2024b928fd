"""Ways to train that take a whole epoch at once instead of a batch, and how they tell the run of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from core.backend import Array, Device, device_of, select_device, why_no_gpu
from core.data.batches import epoch_order
from core.errors import UserError
from core.kernels.shim import compiler
from core.layers import Linear, Sequential
from core.training.guard import NotFiniteError
from core.training.run import Run
from core.training.settings import steps_per_epoch
from music_cuda.per_sample import PerSample
from music_cuda.settings import Settings

Epoch = Callable[[Array, Sequence[float]], tuple[float, float]]
"""Trains on songs in the given order, with a learning rate for each batch; returns the mean loss and the accuracy."""


def choose_device(settings: Settings) -> Device:
    """Where to train; UserError where that is not possible.

    The kernels of --fused and --naive take a GPU, or, if the CPU is asked for, run there thread by thread.
    """
    if not (settings.fused or settings.naive):
        return select_device(settings.device)
    flag = "--fused" if settings.fused else "--naive"
    if settings.device != "cpu":
        if why_no_gpu():
            raise UserError(f"{flag}: {why_no_gpu()}; --device cpu runs the kernel on the CPU, which is slow")
        return "gpu"
    if compiler() is None:
        raise UserError(f"{flag} --device cpu needs a C++ compiler, g++ or clang++, and there is none")
    return "cpu"


def choose_way(
    settings: Settings, network: Sequential, x: Array, labels: Array, rows: Array, run: Run
) -> Callable[[int], None] | None:
    """A function of the epoch's number that trains on the songs at `rows`; None where batches go through the layers.

    x: prepared songs float32 (N, 57); labels: int64 (N,), both where the network is.
    """
    way = settings.way(device_of(x))
    if way == "layers":
        return None
    linears = [layer for layer in network.layers.values() if isinstance(layer, Linear)]
    try:
        train = make_epoch(way, linears, x, labels, settings.batch_size)
    except UserError:
        if settings.fused or settings.naive:
            raise
        return None  # nobody has asked for the kernel, which has no room on the chip

    def whole_epoch(epoch: int) -> None:
        done = run.state.batch  # where a training through the layers, on another device, was interrupted
        steps = steps_per_epoch(len(rows), settings.batch_size) - done
        if not steps:
            return
        order = rows[epoch_order(len(rows), settings.seed, epoch)]  # the order that Run.batches has, too
        order = order[done * settings.batch_size :]
        rates = [run.state.schedule(run.state.step + number) for number in range(steps)]
        with np.errstate(all="ignore"):  # bad numbers end in a bad loss, which is looked at
            loss, accuracy = train(order, rates)
        if not np.isfinite(loss):
            raise NotFiniteError(f"the loss of epoch {epoch + 1} is {loss}: try a --lr below {settings.lr:g}")
        run.count_epoch(len(order), steps, loss=loss, accuracy=accuracy)

    return whole_epoch


def make_epoch(way: str, linears: Sequence[Linear], x: Array, labels: Array, batch_size: int) -> Epoch:
    """One of the ways "vectors", "fused" and "naive"."""
    if way == "vectors":
        return PerSample(linears, x, labels)
    from music_cuda.on_chip import Fused, Naive  # late, because it needs kernels

    return Fused(linears, x, labels, batch_size) if way == "fused" else Naive(linears, x, labels)
