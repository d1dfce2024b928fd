"""Noticing at once that a loss, a gradient or a weight is not a number any more, and saying where it began."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from core.backend import array_module
from core.errors import UserError
from core.layers import Layer, MixedPrecision

REMEDY = "a lower --lr, a --warm-up or --clip-norm 1 may help"


class NotFiniteError(UserError):
    """The training's numbers have become infinite or NaN."""


@contextmanager
def no_warnings() -> Iterator[None]:
    """Within this context NumPy does not warn of numbers that overflow: what it computes is checked here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* encountered in ", RuntimeWarning)
        yield


def finite(*numbers: Any) -> bool:
    """Whether all of these scalars are finite; on a GPU this waits for them."""
    return all(math.isfinite(float(number)) for number in numbers)


def bad_step(model: Layer, loss: Any, norm: Any, where: str, safe: str) -> NotFiniteError:
    """The error for a step whose loss or gradient is not finite, to be raised before the update.

    `where` names epoch, batch, step and learning rate, and `safe` says where the last good weights are.
    """
    what = "the gradient is not finite" if finite(loss) else f"the loss is {float(loss):g}"
    remedy = f"leaving out --amp, {REMEDY}" if isinstance(model, MixedPrecision) else REMEDY
    return NotFiniteError(f"{what} in {where}, gradient norm {float(norm):g}: {_suspect(model)}. {safe}; {remedy}")


def check_weights(model: Layer, where: str, safe: str) -> None:
    """Raise NotFiniteError unless every weight and buffer is finite; before they are saved."""
    for name, array in model.named_state():
        if not _finite(array):
            raise NotFiniteError(f"{name} holds values that are not finite in {where}. {safe}; {REMEDY}")


def _suspect(model: Layer) -> str:
    """The parameter where it began, in words.

    Backward runs from the output to the input, so the last parameter with a bad gradient is the first that got one.
    """
    for name, array in model.named_state():
        if not _finite(array):
            return f"{name} holds values that are not finite"
    bad = [name for name, parameter in model.named_parameters() if not _finite(parameter.grad)]
    if bad:
        return f"{len(bad)} gradients are bad, from that of {bad[-1]} back to that of {bad[0]}"
    return "no single weight or gradient is bad, so the loss or the data are, or the norm is too large for its dtype"


def _finite(array: Any) -> bool:
    return bool(array_module(array).isfinite(array).all())
