"""The learning-rate range test: raise the learning rate step by step and see where the loss falls fastest.

Smith 2017, "Cyclical learning rates for training neural networks", section 3.3, in the exponential form of fastai.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.backend import Array
from core.errors import UserError
from core.layers import Layer, MixedPrecision
from core.losses import LossFunction
from core.optim import Optimizer
from core.training.files import save_picture, write_checked
from core.training.guard import no_warnings

SMOOTHING = 0.9  # weight of the past in the running mean of the loss
BLOWN_UP = 4.0  # times the best smoothed loss: going on would show nothing
FIRST_STEPS = 5  # their smoothed loss is too rough to trust


@dataclass(frozen=True)
class RangeTest:
    """The outcome of a range test: the learning rate, the batch's loss and the smoothed loss of every step."""

    lrs: list[float]
    losses: list[float]
    smoothed: list[float]

    @property
    def suggestion(self) -> float:
        """Where the smoothed loss falls most steeply over the logarithm of the rate, on its way down to its lowest."""
        slope = np.gradient(np.asarray(self.smoothed))
        lowest = max(FIRST_STEPS, int(np.argmin(self.smoothed)))
        return self.lrs[FIRST_STEPS + int(slope[FIRST_STEPS : lowest + 1].argmin())]

    def save(self, folder: Path, notice: str = "") -> None:
        """Write lr_find.csv and lr_find.png into `folder`, and say where the loss falls."""
        from core.report import tuning

        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(("learning_rate", "loss", "smoothed_loss"))
        table.writerows(zip(self.lrs, self.losses, self.smoothed, strict=True))
        write_checked(folder / "lr_find.csv", text.getvalue())
        figure = tuning.lr_range(self.lrs, self.losses, self.smoothed, self.suggestion, notice)
        save_picture(figure, folder / "lr_find.png")
        print(f"the loss falls most steeply at a learning rate of {self.suggestion:.2g}; {folder / 'lr_find.png'}")


def lr_range_test(
    model: Layer,
    optimizer: Optimizer,
    loss_of: LossFunction,
    batches: Iterable[tuple[Array, ...]],
    *,
    lowest: float = 1e-7,
    highest: float = 1.0,
    steps: int = 100,
) -> RangeTest:
    """Train for up to `steps` batches (x, labels) with a learning rate that rises from `lowest` to `highest`.

    `loss_of(outputs, labels)` returns (loss, doutputs). Where there are fewer batches, the rate ends below `highest`:
    give it `Feed.endless`. Stops early when the smoothed loss is four times its best.
    Model and optimizer come back exactly as they were, running statistics included. Raises UserError when the loss
    is not finite before anything can be seen, ValueError for a range or a number of batches that is too small.
    """
    if not (0 < lowest < highest and steps > 2 * FIRST_STEPS):
        raise ValueError(f"lr_range_test expected 0 < lowest < highest and more than {2 * FIRST_STEPS} steps")
    weights, memory = model.state_dict(), optimizer.state_dict()
    scale = model.scale if isinstance(model, MixedPrecision) else None
    scale_before = scale.state_dict() if scale else {}
    found = RangeTest([], [], [])
    try:
        with no_warnings():  # numbers overflow at the end: that is the test
            for lr, batch in zip(np.geomspace(lowest, highest, steps), itertools.islice(batches, steps), strict=False):
                if not _step(model, optimizer, loss_of, batch, float(lr), found):
                    break
    finally:
        model.load_state_dict(weights)
        optimizer.load_state_dict(memory)
        optimizer.flat.zero_grad()
        if scale:
            scale.load_state_dict(scale_before)
    if len(found.lrs) <= 2 * FIRST_STEPS:
        raise UserError(f"the learning-rate range test ended after {len(found.lrs)} batches: too few to see anything")
    return found


def _step(
    model: Layer, optimizer: Optimizer, loss_of: LossFunction, batch: tuple[Array, ...], lr: float, found: RangeTest
) -> bool:
    """One step of training, noted in `found`; False when the loss has blown up."""
    x, labels = batch
    loss, doutputs = loss_of(model.forward(x, train=True), labels)
    if not math.isfinite(float(loss)):
        return False
    before = found.smoothed[-1] if found.smoothed else float(loss)
    found.lrs.append(lr)
    found.losses.append(float(loss))
    found.smoothed.append(SMOOTHING * before + (1 - SMOOTHING) * float(loss))
    if found.smoothed[-1] > BLOWN_UP * min(found.smoothed):
        return False
    model.backward(doutputs)
    if isinstance(model, MixedPrecision) and model.overflowed():
        optimizer.flat.zero_grad()  # as in a training, this step is left out
        return model.scale.helps
    optimizer.step(lr)
    return True
