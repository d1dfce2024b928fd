"""A training that is a formula, for sweeps and searches of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10

from core.cli import parse
from core.training.guard import NotFiniteError
from core.training.tuning import TuningSettings

trained: list = []  # the settings of each, until a test asks for `nothing_trained`


@dataclass
class FakeSettings(TuningSettings):
    """Settings of a training that is a formula."""

    hidden: tuple[int, ...] = (256, 128)
    """Sizes of the hidden layers."""
    rotate: float = 0
    """A fraction whose value happens to be whole, as in some presets."""
    preset: str = "default"
    """The values that all other flags start from."""


def fake_train(settings, *, watch=None):
    """A training whose accuracy is best at lr 1e-2, told epoch by epoch."""
    trained.append(settings)
    if settings.lr > 0.05:
        raise NotFiniteError("the loss is nan")
    final = 1 - 0.1 * abs(log10(settings.lr) + 2)
    for epoch in range(1, 6):
        row = {"epoch": epoch, "validation_accuracy": final * epoch / 5, "validation_loss": 1 - final, "seconds": 0.1}
        if watch is not None:
            watch(epoch, row)
    return row


def settings_of(*flags):
    return parse(FakeSettings, flags)
