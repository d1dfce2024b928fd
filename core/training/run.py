"""The helper around a visible training loop: everything but the verbs of learning.

    with Run(settings, model, optimizer, schedule, folder=folder, stream=stream) as run:
        for _ in run.epochs():
            for x, labels in run.batches(images, labels):
                loss, dlogits = softmax_cross_entropy(model.forward(x, train=True), labels)
                model.backward(dlogits)
                run.step(loss)
            with run.averaged():
                run.validate(**loss_and_accuracy(predict(model, x_held_out), labels_held_out))

It saves and resumes, bit for bit on the CPU; stops tidily on Ctrl-C and SIGTERM; stops before bad numbers reach a
checkpoint; clips, averages, logs, draws the curves, keeps the best weights and stops early. With a model in
`MixedPrecision` it leaves out the steps whose gradients overflow.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import ArrayLike

from core.backend import Array, device_of
from core.data.normalize import Normalize
from core.errors import UserError
from core.layers import Layer
from core.optim import Optimizer, clip_by_norm, clip_by_value, gradient_norm
from core.random import Stream
from core.schedules import ReduceOnPlateau, Schedule
from core.training.checkpoint import WEIGHTS, load_checkpoint, save_checkpoint
from core.training.feed import Augment, Feed, RowOrder
from core.training.files import write_checked
from core.training.folder import RunFolder
from core.training.guard import NotFiniteError, bad_step, check_weights, finite, no_warnings
from core.training.history import Row
from core.training.outputs import Outputs
from core.training.parts import BatchParts
from core.training.record import RunRecord
from core.training.settings import TrainingSettings, steps_per_epoch
from core.training.signals import StopSignals
from core.training.state import TrainingState

STEPS_BETWEEN_GPU_CHECKS = 50  # each look at a number on a GPU waits for it

Watch = Callable[[int, Row], None]


class Run:
    """A training run in `folder`, which receives config.json, history.csv, curves.png and the checkpoints.

    `stream` is the one that the model's dropout draws from. `data_info` (the info of the prepared data) and `notice`
    (its own by default) travel into everything that is written; `about` is what else the saved weights should say of
    themselves, such as class names. `watch(epoch, row)` is called after each epoch, for a search that gives up on a bad
    run by raising.

    Entering raises UserError when another run uses the folder, or when --resume finds other settings or data.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        model: Layer,
        optimizer: Optimizer,
        schedule: Schedule,
        *,
        folder: Path,
        stream: Stream,
        notice: str = "",
        data_info: Mapping[str, Any] | None = None,
        about: Mapping[str, Any] | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.settings, self.model, self.optimizer, self.stream = settings, model, optimizer, stream
        self.device = device_of(optimizer.flat.data)
        self.folder = RunFolder(folder)
        self.state = TrainingState(settings, model, optimizer, schedule)
        self._record = RunRecord(settings, self.device, data_info, notice)
        self._outputs = Outputs(settings, self.folder, self._record.notice)
        self._about, self._watch = dict(about or {}), watch
        self._signals = StopSignals()
        self._stack = ExitStack()
        self._parts = BatchParts(optimizer.flat)
        self._parts_an_epoch = 0
        self._place = 0  # in its epoch, of the batch that `batches` has yielded
        self._losses: list[Any] = []  # of the parts whose gradients are in the buffer
        self._feed: Feed | None = None
        self._fed: tuple[Any, ...] = ()
        self._last_save = time.monotonic()
        self._epoch_averaged = -1
        self._has_begun = False

    @property
    def best(self) -> Row:
        """The best epoch's row of the history, such as {"epoch": 7, "validation_accuracy": 0.98, ...}."""
        return self.state.best

    # -- beginning and end --------------------------------------------------------------------------------------

    def __enter__(self) -> Run:
        if self._has_begun:
            raise RuntimeError("a Run is for one training: make another one")
        self._has_begun = True
        with ExitStack() as stack:
            self._say(self.folder.open(self.settings.resume))
            stack.callback(self.folder.close)
            resumed = self.settings.resume and self._restore()
            if not resumed:
                write_checked(self.folder.config, self._record.as_json())
            stack.callback(self._outputs.close)
            self._outputs.begin(self.state.step)
            if not self.state.finished:
                self._say_notice()
            stack.enter_context(self._signals)
            stack.enter_context(no_warnings())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None and self.state.finished:
                self._outputs.draw(self.state)
                self._say_notice()
                self._outputs.progress.summary(self.state.history.rows[-1], self.state.best, self.folder.best)

    def _restore(self) -> bool:
        """Continue from the last checkpoint; False when there is none yet."""
        state, path = self.state, self.folder.path
        found = self.folder.load_last()
        if found is None:
            self._say(f"nothing to resume in {path} yet: starting at the first epoch")
            return False
        tensors, metadata, trouble = found
        self._record.refuse_changes(path, metadata)
        state.restore(tensors, metadata, self.folder.last)
        write_checked(self.folder.history, state.history.as_csv())
        self._say(trouble)
        self._check_best()
        if state.finished:
            self._say(f"the run in {path} is finished: there is nothing to resume")
        else:
            self._say(f"resuming {path} after {state.epoch} epochs and {state.batch} batches (step {state.step})")
            self._say(self._record.other_machine(metadata))
        return True

    def _check_best(self) -> None:
        """Notice that the best weights so far are gone: then the next epoch is the best, or UserError if none comes."""
        if not self.state.best:
            return
        try:
            load_checkpoint(self.folder.best)
        except UserError as error:
            if self.state.finished:
                raise UserError(f"the run is finished, but its best weights are lost: {error}") from error
            self._say(f"note: the best weights so far are lost, so the next epoch counts as the best: {error}")
            self.state.forget_best()

    # -- the loop -----------------------------------------------------------------------------------------------

    def epochs(self) -> Iterator[int]:
        """The numbers, from 0, of the epochs still to train; none when a resumed run is finished."""
        while not self.state.finished:
            epoch = self.state.epoch
            yield epoch
            if self.state.epoch == epoch:  # the script has no validation
                self.validate()

    def batches(
        self,
        *arrays: Array,
        rows: ArrayLike | RowOrder | None = None,
        normalize: Normalize | None = None,
        augment: Augment | None = None,
        numbers: bool = False,
    ) -> Iterator[tuple[Array, ...]]:
        """The rest of the epoch's batches, in the epoch's order: (x, labels, ...) for arrays (inputs, labels, ...).

        `rows` (n,) are the samples to train on, integers from 0 to N - 1 (IndexError for others), all by default.
        Inputs become float32, uint8 as 0 to 1, pass through `augment` and then through `normalize`. With --accumulate
        each batch comes in that many parts. What is yielded may be overwritten by the next batch. With `numbers` each
        batch ends with those of its samples, int64 (n,). Leave the arrays as they are: a GPU may have copied them in an
        earlier epoch.
        """
        state, size = self.state, self.settings.micro_batch_size
        feed = self._feed_of(arrays, normalize, augment, rows, numbers)
        self._parts_an_epoch = steps_per_epoch(len(feed), size)
        self._outputs.progress.begin(state.epoch, self._parts_an_epoch, state.batch)
        for self._place, batch in enumerate(feed.epoch(state.epoch, size, first=state.batch), start=state.batch):
            self._parts.begin(len(batch[0]))
            yield batch

    def step(self, loss: Any, **metrics: Any) -> None:
        """Finish a batch after its backward: check, clip, update the weights, count.

        `loss` and `metrics`, such as accuracy=..., are means over the batch; their means over the epoch go into the
        history as train_loss, train_accuracy ... Raises UserError when the loss or the gradient is not finite, and
        SystemExit with code 130 or 143, after saving, when Ctrl-C or SIGTERM came in the meantime.
        """
        if not self._parts.is_open or self._place != self.state.batch:
            raise RuntimeError("Run.step expected one call for each batch that Run.batches yields")
        state = self.state
        state.tally.add(self._parts.size, {"loss": loss, **metrics})
        self._parts.count()
        self._losses.append(loss)
        self._outputs.progress.advance()
        state.batch += 1
        if state.batch % self.settings.accumulate and state.batch < self._parts_an_epoch:
            return
        self._update()
        if self._signals.caught:
            self.save()
            self._stop()
        if time.monotonic() - self._last_save > self.settings.checkpoint_seconds:
            self.save()

    def count_epoch(self, samples: int, steps: int, **means: float) -> None:
        """Count an epoch trained all at once, without `batches` and `step`: so many updates on so many samples.

        `means`, such as loss=... and accuracy=..., are those over its samples, and must be finite. What `step` does for
        each batch, such as clipping or averaging weights, is up to whoever trains so; `validate` follows as always.
        """
        self.state.tally.add(samples, means)
        self.state.step += steps

    def averaged(self) -> AbstractContextManager[None]:
        """Within this context the model has the averaged weights of --ema-decay; without that, nothing happens."""
        self._epoch_averaged = self.state.epoch
        return self.state.ema.worn() if self.state.ema else nullcontext()

    def validate(self, **metrics: float) -> None:
        """Finish an epoch with its validation figures, such as loss=... and accuracy=...: log, save, stop early.

        Without any figure each epoch counts as the best so far. A batch that has been left in the middle is forgotten.
        Raises UserError for a figure that is not finite, and SystemExit as `step` does.
        """
        state = self.state
        self._parts.discard()
        self._losses.clear()
        self._check_figures(metrics)
        self._check_state(f"epoch {state.epoch + 1}")
        row, best = state.end_epoch(metrics)
        if best:
            description = {"kind": WEIGHTS, "metrics": row, "about": self._about}
            save_checkpoint(self.folder.best, state.best_weights(), self._record.identity | description)
        self.save()
        self._outputs.epoch(state, row, best)
        if state.finished and state.epoch < self.settings.epochs:
            self._say(f"stopping early: {self.settings.patience} epochs without an improvement")
        if self._watch is not None:
            self._watch(int(row["epoch"]), row)
        if self._signals.caught:
            self._stop()

    def save(self) -> None:
        """Save the state of the training, from which --resume goes on; RuntimeError in the middle of a batch."""
        if self._parts.total:
            raise RuntimeError("Run.save expected whole batches: with --accumulate, not between the parts of one")
        self._check_state(f"step {self.state.step}")
        tensors, description = self.state.collect()
        self.folder.save_last(tensors, self._record.identity | description)
        self._last_save = time.monotonic()

    # -- details ------------------------------------------------------------------------------------------------

    def _feed_of(self, arrays: tuple[Array, ...], *how: Any) -> Feed:
        """The feed, which stays the same from epoch to epoch: it may have copied the arrays to a GPU."""
        given = (*arrays, *how)
        known = len(given) == len(self._fed) and all(one is other for one, other in zip(given, self._fed, strict=True))
        if self._feed is None or not known:
            self._feed = None  # frees what it holds before the next one takes memory
            self._feed, self._fed = Feed(arrays, self.stream, self.device, *how), given
        return self._feed

    def _update(self) -> None:
        state, flat, settings = self.state, self.optimizer.flat, self.settings
        losses, self._losses = self._losses, []
        size = self._parts.finish()
        lr = state.schedule(state.step)
        look = self.device == "cpu" or state.step % STEPS_BETWEEN_GPU_CHECKS == 0
        norm = gradient_norm(flat)  # first, so that a GPU has it while the host waits for what follows
        if state.mixed is not None and state.mixed.overflowed():
            if state.mixed.scale.helps and finite(*losses):
                state.skip_step()
                return
            look = True
        if look and not finite(*losses, norm):
            loss = next((loss for loss in losses if not finite(loss)), losses[-1])
            where = f"epoch {state.epoch + 1}, batch {state.batch} (step {state.step}, lr {lr:.3g})"
            raise bad_step(self.model, loss, norm, where, self._safe())
        if settings.clip_value:
            clip_by_value(flat, settings.clip_value)
        if settings.clip_norm:
            clip_by_norm(flat, settings.clip_norm)
        self.optimizer.step(lr)
        state.end_step(norm, size)

    def _check_state(self, where: str) -> None:
        """Raise NotFiniteError unless all that would be saved is finite: also the weights that are not averaged."""
        ema = self.state.ema
        for averaged in (False,) if ema is None else (False, True):
            with nullcontext() if ema is None else ema.worn(averaged):
                check_weights(self.model, where, self._safe())
        for name, mean in self.state.tally.means().items():
            if not math.isfinite(mean):
                raise NotFiniteError(f"the training's {name} is {mean:g} in {where}. {self._safe()}")

    def _check_figures(self, metrics: Mapping[str, float]) -> None:
        if isinstance(self.state.schedule, ReduceOnPlateau) and "loss" not in metrics:
            raise ValueError("with --schedule plateau, Run.validate expected loss=..., by which the rate is reduced")
        if not metrics:
            return
        if self.settings.monitor not in metrics:
            raise ValueError(f"Run.validate expected {self.settings.monitor}=..., got {sorted(metrics)}")
        if self.state.ema is not None and self._epoch_averaged != self.state.epoch:
            raise RuntimeError("with --ema-decay, Run.validate expected figures measured inside `with run.averaged()`")
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise NotFiniteError(
                    f"the validation {name} of epoch {self.state.epoch + 1} is {value:g}. {self._safe()}"
                )

    def _safe(self) -> str:
        path = self.folder.last
        return f"The last good checkpoint is {path}" if path.exists() else "No checkpoint was saved before"

    def _stop(self) -> None:
        """End the process as the signal asked; everything is saved."""
        self._outputs.draw(self.state)
        self._say(
            f"stopped after {self.state.epoch} epochs and {self.state.batch} batches; --resume goes on from there"
        )
        raise SystemExit(self._signals.exit_code)

    def _say_notice(self) -> None:
        """What must be said of the data goes before the first figures, and before the last ones."""
        if self._record.notice:
            self._say(f"NOTICE: {self._record.notice}")

    def _say(self, line: str) -> None:
        if line:
            self._outputs.progress.say(line)
