"""Everything that a training consists of at one moment: what a checkpoint holds and a resume puts back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from core.backend import Array
from core.errors import UserError
from core.layers import Layer, MixedPrecision
from core.optim import Optimizer
from core.schedules import ReduceOnPlateau, Schedule
from core.training.checkpoint import TRAINING_STATE, Tensors, part_of
from core.training.early_stopping import EarlyStopping
from core.training.ema import Ema
from core.training.history import History, Row, Tally
from core.training.settings import TrainingSettings


class TrainingState:
    """The model and everything around it that changes from step to step.

    `epoch` and `batch` say where the training stands: how many epochs, and how many batches of the next one, are done.
    """

    def __init__(self, settings: TrainingSettings, model: Layer, optimizer: Optimizer, schedule: Schedule) -> None:
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.mixed = model if isinstance(model, MixedPrecision) else None
        self.ema = Ema(model, settings.ema_decay, settings.ema_every) if settings.ema_decay else None
        self.stopping = EarlyStopping(settings.patience, settings.min_delta, settings.monitor != "loss")
        self.epochs, self.monitor = settings.epochs, settings.monitor
        self.history = History()
        self.tally = Tally()
        self.epoch = self.batch = self.step = 0
        self.best: Row = {}  # the best epoch's row of the history
        self.finished = False
        self._begin = time.perf_counter()

    @property
    def seconds(self) -> float:
        """How long the training has run, all its parts together."""
        return time.perf_counter() - self._begin

    def end_step(self, norm: Any, size: int) -> None:
        """Count an update of the weights, from a batch of `size` samples with a gradient of this norm."""
        if self.ema is not None:
            self.ema.update()
        self.tally.add(size, {"gradient_norm": norm})
        self.step += 1

    def skip_step(self) -> None:
        """Count a step without an update: the schedule goes on, and all else stays as it is."""
        self.optimizer.flat.zero_grad()
        self.step += 1

    def end_epoch(self, figures: Mapping[str, float]) -> tuple[Row, bool]:
        """Count an epoch with these validation figures; returns its row of the history and whether it is the best."""
        train = self.tally.means()
        norm = train.pop("gradient_norm", None)
        row: Row = {"epoch": self.epoch + 1, "step": self.step, "learning_rate": self.schedule(max(0, self.step - 1))}
        row |= {f"train_{name}": value for name, value in train.items()}
        row |= {f"validation_{name}": float(value) for name, value in figures.items()}
        row |= {"gradient_norm": norm} if norm is not None else {}
        row |= {"loss_scale": self.mixed.scale.value} if self.mixed is not None else {}
        row["seconds"] = round(self.seconds, 3)
        best = self.stopping.observe(float(figures[self.monitor])) if figures else True
        if isinstance(self.schedule, ReduceOnPlateau):
            self.schedule.observe(float(figures["loss"]))
        if best:
            self.best = row
        self.history.rows.append(row)
        self.epoch, self.batch, self.tally = self.epoch + 1, 0, Tally()
        self.finished = self.epoch >= self.epochs or self.stopping.should_stop
        return row, best

    def forget_best(self) -> None:
        """Let the next epoch be the best one, as if none had been before; the patience goes on."""
        self.best, self.stopping.best = {}, None

    def collect(self) -> tuple[Tensors, dict[str, Any]]:
        """The arrays and the description of a checkpoint."""
        parts = {"model": self._weights(averaged=False), "optimizer": self.optimizer.state_dict()}
        if self.ema is not None:
            parts["ema"] = self.ema.state_dict()
        if self.mixed is not None:
            parts["loss_scale"] = self.mixed.scale.state_dict()
        if isinstance(self.schedule, ReduceOnPlateau):
            parts["schedule"] = {name: np.array(value) for name, value in self.schedule.state_dict().items()}
        tensors = {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}
        return tensors, {
            "kind": TRAINING_STATE,
            "position": [self.epoch, self.batch, self.step],
            "seconds": self.seconds,
            "finished": self.finished,
            "best": self.best,
            "stopping": self.stopping.state(),
            "tally": self.tally.state(),
            "history": self.history.rows,
        }

    def restore(self, tensors: Mapping[str, Array], description: Mapping[str, Any], path: Path) -> None:
        """Continue from what `collect` returned and `path` held; UserError if it belongs to something else."""
        if description.get("kind") != TRAINING_STATE:
            raise UserError(f"{path} holds weights only; a training cannot go on from it")
        try:
            _check(description)
            self.model.load_state_dict(part_of(tensors, "model"))
            self.optimizer.load_state_dict(part_of(tensors, "optimizer"))
            if self.ema is not None:
                self.ema.load_state_dict(part_of(tensors, "ema"))
            if self.mixed is not None:
                self.mixed.scale.load_state_dict(part_of(tensors, "loss_scale"))
            if isinstance(self.schedule, ReduceOnPlateau):
                self.schedule.load_state_dict(
                    {name: float(value) for name, value in part_of(tensors, "schedule").items()}
                )
            self.epoch, self.batch, self.step = description["position"]
            self._begin = time.perf_counter() - description["seconds"]
            self.finished, self.best = description["finished"], description["best"]
            self.stopping.load_state(description["stopping"])
            self.tally.load_state(description["tally"])
            self.history = History(description["history"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} does not fit this training: {error}") from error

    def best_weights(self) -> Tensors:
        """The weights to validate and to publish: the averaged ones if there are any."""
        return self._weights(averaged=True)

    def _weights(self, averaged: bool) -> Tensors:
        with nullcontext() if self.ema is None else self.ema.worn(averaged):
            return self.model.state_dict()


def _check(description: Mapping[str, Any]) -> None:
    """Raise ValueError unless the numbers that nothing else would complain about are such numbers."""
    if not (len(description["position"]) == 3 and all(type(n) is int and n >= 0 for n in description["position"])):
        raise ValueError(f"its position is {description['position']}")
    if type(description["finished"]) is not bool:
        raise ValueError(f"its finished is {description['finished']!r}")
    for row in [*description["history"], description["best"]]:
        if not all(type(number) in (int, float) for number in row.values()):
            raise ValueError(f"its history holds {row}")
