"""The settings that every training script has, checked in one place, and what is built from them."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, get_args, get_origin, get_type_hints

from core import schedules
from core.backend import DeviceChoice
from core.errors import UserError
from core.layers import Layer
from core.optim import SGD, Adam, AdamW, AMSGrad, Optimizer

SECONDS_BETWEEN_CHECKPOINTS = 60.0
MOST_THREADS = 1024  # more than any processor has cores; a system starts only so many


@dataclass
class TrainingSettings:
    """What a project's own settings inherit; the string below a field is its help on the command line."""

    epochs: int = 20
    """Passes over the training data."""
    batch_size: int = 128
    """Samples for each update of the weights."""
    accumulate: int = 1
    """Parts that each batch is computed in, one after the other, to save memory."""
    lr: float = 1e-3
    """Learning rate, the highest one where a schedule changes it."""
    optimizer: Literal["adam", "adamw", "amsgrad", "sgd"] = "adam"
    """How gradients become updates."""
    momentum: float = 0.9
    """Momentum (sgd only)."""
    nesterov: bool = False
    """Nesterov's form of momentum (sgd only)."""
    weight_decay: float = 0.0
    """Pull of the weights towards zero: an L2 penalty, or apart from the gradient with adamw."""
    schedule: Literal["constant", "step", "linear", "cosine", "one_cycle", "plateau"] = "constant"
    """How the learning rate changes over time."""
    warm_up: float = 0.0
    """Epochs in which the learning rate rises to its full value (linear and cosine)."""
    min_lr: float = 0.0
    """Lowest learning rate (linear, cosine and plateau)."""
    decay_every: float = 10.0
    """Epochs between two reductions of the learning rate (step only)."""
    decay_factor: float = 0.1
    """Factor of each reduction (step and plateau)."""
    decay_patience: int = 3
    """Epochs without a lower validation loss before a reduction (plateau only)."""
    clip_value: float = 0.0
    """Limit for each element of the gradient; 0 for none."""
    clip_norm: float = 0.0
    """Limit for the norm of the whole gradient; 0 for none."""
    label_smoothing: float = 0.0
    """Share of the target spread over all classes."""
    ema_decay: float = 0.0
    """Decay a step of the averaged weights that are validated and saved; 0 for no averaging."""
    ema_every: int = 1
    """Steps between two updates of the averaged weights."""
    monitor: Literal["accuracy", "loss"] = "accuracy"
    """Validation figure that decides which epoch is the best, and when to stop early."""
    patience: int = 0
    """Epochs without an improvement before training stops early; 0 for never."""
    min_delta: float = 0.0
    """What counts as an improvement for the patience: more than this."""
    seed: int = 0
    """Seed of the initial weights, the order of the samples, dropout and augmentation."""
    device: DeviceChoice = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    threads: int = 0
    """Worker threads on the CPU; 0 for one a core."""
    name: str = "default"
    """Name of the folder in runs/ that receives everything."""
    resume: bool = False
    """Go on with the run of this name where it was interrupted."""
    checkpoint_seconds: float = SECONDS_BETWEEN_CHECKPOINTS
    """Longest time between two checkpoints within an epoch."""
    plot: bool = False
    """Show the curves in a window while training (they are always saved as a picture)."""
    tensorboard: bool = False
    """Also write TensorBoard events (needs the extra "tensorboard")."""

    def __post_init__(self) -> None:
        """Check every value; UserError names the first flag that is wrong."""
        check_choices(self)
        check_at_least(self, epochs=1, batch_size=1, accumulate=1, ema_every=1)
        check_at_least(self, weight_decay=0, warm_up=0, min_lr=0, decay_patience=0, clip_value=0, clip_norm=0)
        check_at_least(self, patience=0, min_delta=0, seed=0, threads=0, checkpoint_seconds=0)
        check_above_zero(self, "lr", "decay_every", "decay_factor")
        check_below_one(self, "momentum", "label_smoothing", "ema_decay", "decay_factor")
        check_at_most(self, threads=MOST_THREADS)
        if self.batch_size % self.accumulate:
            raise UserError(f"--batch-size {self.batch_size} cannot be cut into --accumulate {self.accumulate} parts")
        if self.nesterov and not self.momentum:
            raise UserError("--nesterov needs a --momentum above 0")
        if self.min_lr > self.lr:
            raise UserError(f"--min-lr {self.min_lr:g} is larger than --lr {self.lr:g}")
        if self.warm_up >= self.epochs:
            raise UserError(f"--warm-up must be shorter than --epochs {self.epochs}, got {self.warm_up:g}")
        if not re.fullmatch(r"\w[\w.+-]{0,99}(/\w[\w.+-]{0,99})*", self.name):
            raise UserError(
                f"--name must be a folder name of up to 100 letters, digits, - _ + and ., got {self.name!r}"
            )

    @property
    def run_name(self) -> str:
        """The name of the run's folder in runs/."""
        return self.name

    @property
    def micro_batch_size(self) -> int:
        """Samples in each part of a batch: what goes through the network at once."""
        return self.batch_size // self.accumulate


def kinds_of(settings: Any) -> dict[str, Any]:
    """The declared type of each setting, such as float, tuple[int, ...] or Literal["adam", "sgd"]."""
    return _type_hints(type(settings))


_type_hints: Callable[[Any], dict[str, Any]] = cache(get_type_hints)  # half a millisecond, and each preset asks


def check_choices(settings: Any) -> None:
    """UserError unless each setting that is one of several words is one of them.

    The command line sees to that by itself, but not all settings come from there.
    """
    for name, kind in kinds_of(settings).items():
        value = getattr(settings, name)
        if get_origin(kind) is Literal and value not in get_args(kind):
            choices = ", ".join(map(str, get_args(kind)))
            raise UserError(f"--{name.replace('_', '-')} must be one of {choices}, got {value!r}")


def check_at_least(settings: Any, **lowest: float) -> None:
    """UserError unless each named setting, or each element of a tuple, is a finite number of at least the given one."""
    for name, low in lowest.items():
        _check(settings, name, partial(operator.le, low), f"at least {low:g}")


def check_at_most(settings: Any, **highest: float) -> None:
    """UserError unless each named setting, or each element of a tuple, is a finite number of at most the given one."""
    for name, high in highest.items():
        _check(settings, name, partial(operator.ge, high), f"at most {high:g}")


def check_above_zero(settings: Any, *names: str) -> None:
    """UserError unless each named setting is a finite number above 0."""
    for name in names:
        _check(settings, name, lambda value: value > 0, "above 0")


def check_below_one(settings: Any, *names: str) -> None:
    """UserError unless each named setting lies in [0, 1)."""
    for name in names:
        _check(settings, name, lambda value: 0 <= value < 1, "at least 0 and below 1")


def _check(settings: Any, name: str, holds: Callable[[float], bool], wanted: str) -> None:
    value = getattr(settings, name)
    for number in value if isinstance(value, tuple | list) else (value,):
        if not (math.isfinite(number) and holds(number)):
            raise UserError(f"--{name.replace('_', '-')} must be {wanted}, got {number:g}")


def check_batch_norm(settings: Any) -> None:
    """UserError for settings with batch_norm by which it would normalise a single row: to zeros, whatever it is."""
    if settings.batch_norm and settings.micro_batch_size < 2:
        raise UserError("--batch-norm needs 2 samples at a time: give a larger --batch-size or a smaller --accumulate")


def check_validated(settings: TrainingSettings, validation: float) -> None:
    """UserError where settings wait for a validation figure although nothing is held out: a `validation` of 0."""
    if validation:
        return
    if settings.schedule == "plateau":
        raise UserError("--schedule plateau waits for the validation loss: give a --validation above 0")
    if settings.patience:
        raise UserError(
            f"--patience {settings.patience} waits for validation figures: give a --validation above 0, or --patience 0"
        )


def make_optimizer(settings: TrainingSettings, model: Layer) -> Optimizer:
    """The optimizer that the settings name, for all parameters of the model; ValueError for another name."""
    parameters, decay = model.parameters(), settings.weight_decay
    if settings.optimizer == "sgd":
        return SGD(parameters, momentum=settings.momentum, nesterov=settings.nesterov, weight_decay=decay)
    kinds = {"adam": Adam, "adamw": AdamW, "amsgrad": AMSGrad}
    if settings.optimizer not in kinds:
        raise ValueError(f"make_optimizer expected sgd, {', '.join(kinds)}, got {settings.optimizer!r}")
    return kinds[settings.optimizer](parameters, weight_decay=decay)


def make_schedule(settings: TrainingSettings, samples: int) -> schedules.Schedule:
    """The schedule that the settings name, for training on `samples` samples; ValueError for another name.

    Raises UserError for reductions of the learning rate that are less than a batch apart.
    """
    lr, an_epoch = settings.lr, steps_per_epoch(samples, settings.batch_size)
    steps = settings.epochs * an_epoch
    if settings.schedule == "step":
        if settings.decay_every * an_epoch < 1:
            raise UserError(
                f"--decay-every {settings.decay_every:g} is shorter than a batch: 1 / {an_epoch} of an epoch"
            )
        reductions = math.ceil(settings.epochs / settings.decay_every)
        milestones = [round(n * settings.decay_every * an_epoch) for n in range(1, reductions + 1)]
        return schedules.step_decay(lr, milestones, settings.decay_factor)
    if settings.schedule in ("linear", "cosine"):
        shape = schedules.linear if settings.schedule == "linear" else schedules.cosine
        warm_up = min(round(settings.warm_up * an_epoch), steps - 1)
        return shape(lr, steps, warm_up=warm_up, minimum=settings.min_lr)
    if settings.schedule == "one_cycle":
        return schedules.one_cycle(lr, steps)
    if settings.schedule == "plateau":
        return schedules.ReduceOnPlateau(lr, settings.decay_factor, settings.decay_patience, minimum=settings.min_lr)
    if settings.schedule == "constant":
        return schedules.constant(lr)
    raise ValueError(f"make_schedule expected the name of a schedule, got {settings.schedule!r}")


def steps_per_epoch(samples: int, batch_size: int) -> int:
    """Updates of the weights in an epoch; the last batch may be smaller than the others."""
    return -(-samples // batch_size)
