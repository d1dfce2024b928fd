"""Train a recurrent network to recognise drawings by their strokes.

    python rnn_doodles/training.py                      # a bidirectional GRU
    python rnn_doodles/training.py --preset best        # see README.md for what the presets reach
    python rnn_doodles/training.py --cell lstm --hidden 128 --epochs 5 --name mine

The data must have been prepared by setup_data.py; test_model.py measures the result on the test drawings.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from core.backend import Array, Device, select_device
    from core.cli import main
    from core.data.normalize import Normalize
    from core.data.prepared import load_prepared
    from core.data.quickdraw import Drawings
    from core.data.splits import split_indices
    from core.layers import Layer, Sequences
    from core.losses import accuracy, loss_and_accuracy, softmax_cross_entropy
    from core.optim import Optimizer
    from core.random import Stream
    from core.training.feed import AUGMENT_SALT
    from core.training.history import Row
    from core.training.run import Run, Watch
    from core.training.settings import make_optimizer, make_schedule
    from core.workers import set_threads
    from rnn_doodles.augment import Augment
    from rnn_doodles.buckets import Buckets
    from rnn_doodles.ink import Ink, encode
    from rnn_doodles.model import answer, build
    from rnn_doodles.settings import PRESETS, Settings
    from rnn_doodles.trained import DATASET
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C


def start(settings: Settings) -> None:
    """Train, or look for better settings first, as the flags say."""
    if settings.lr_find or settings.sweep or settings.search:
        from rnn_doodles import tuning  # late, because it calls `train`

        tuning.tune(settings)
    else:
        train(settings)


def train(settings: Settings, *, watch: Watch | None = None) -> Row:
    """Train as `settings` say; everything goes to runs/<name>. Returns the best epoch's row of the history."""
    data = load(settings)
    model, optimizer, stream = make_model(settings, data)
    schedule = make_schedule(settings, len(data.rows))
    folder, smoothing = PROJECT / "runs" / settings.run_name, settings.label_smoothing
    inputs = Inputs(data.drawings, settings.augmentation(), stream, select_device(settings.device))
    arrays = data.arrays()
    order = Buckets(data.rows, data.drawings.lengths, settings.micro_batch_size, settings.buckets)
    held_out, labels_held_out = data.drawings[data.held_out], data.labels[data.held_out]

    with Run(
        settings,
        model,
        optimizer,
        schedule,
        folder=folder,
        stream=stream,
        data_info=data.info,
        about=describe(settings, data),
        watch=watch,
    ) as run:
        for _ in run.epochs():
            for x, t in inputs.of(run.batches(*arrays, rows=order, numbers=True)):
                logits = model.forward(x, train=True)
                loss, dlogits = softmax_cross_entropy(logits, t, smoothing)
                model.backward(dlogits)
                run.step(loss, accuracy=accuracy(logits, t))
            with run.averaged():
                run.validate(**loss_and_accuracy(answer(model, held_out), labels_held_out))
    return run.best


class Data(NamedTuple):
    """The prepared training drawings, and which of them are trained on."""

    drawings: Drawings
    labels: Array
    """int64 (N,)."""
    rows: Array
    """Indices of the drawings to train on."""
    held_out: Array
    """Indices of the drawings that validate."""
    info: dict[str, Any]
    """What the prepared data says of itself."""

    def arrays(self) -> tuple[Array, Array]:
        """What `Run.batches` picks from: it takes arrays with one row a sample, so drawings go by their numbers."""
        return self.drawings.lengths.astype(np.float32), self.labels


def load(settings: Settings) -> Data:
    """The prepared training drawings; the test drawings stay closed."""
    folder = Path(settings.data) if settings.data else PROJECT / "archive" / DATASET
    prepared = load_prepared(folder, ["train_points", "train_lengths", "train_labels"])
    points, lengths, labels = prepared.arrays.values()
    rows, held_out = split_indices(labels, settings.validation, settings.seed)
    return Data(Drawings(points, lengths), labels.astype(np.int64), rows, held_out, prepared.info)


def make_model(settings: Settings, data: Data) -> tuple[Layer, Optimizer, Stream]:
    """The network, its optimizer, and the stream that its dropout draws from."""
    set_threads(settings.threads)
    stream = Stream(settings.seed)
    network = build(settings.architecture(len(data.info["classes"])), seed=settings.seed, stream=stream)
    model = network.to(select_device(settings.device)).skip_input_grad()
    return model, make_optimizer(settings, model), stream


def describe(settings: Settings, data: Data) -> dict[str, Any]:
    """What the saved weights have to say of themselves, so that test and demo can use them."""
    classes = list(data.info["classes"])
    architecture = settings.architecture(len(classes))
    return {"architecture": architecture.to_dict(), "normalize": Normalize().to_dict(), "classes": classes}


@dataclass
class Inputs:
    """Makes what the network sees of the numbers of the drawings in a batch."""

    drawings: Drawings
    augment: Augment
    stream: Stream
    device: Device

    def of(self, batches: Iterable[tuple[Array, ...]]) -> Iterator[tuple[Sequences, Array]]:
        """Augmented and encoded drawings and their labels, for batches of `Data.arrays` with numbers."""
        for _, labels, numbers in batches:
            ink = self.augment(Ink.of(self.drawings[numbers]), self.stream.generator(AUGMENT_SALT))
            yield encode(ink).to(self.device), labels


if __name__ == "__main__":
    main(start, Settings, description=__doc__, presets=PRESETS)
