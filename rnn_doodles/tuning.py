"""Looking for better settings: the range test of the learning rate, sweeps, and a search with a training at its end.

The test drawings stay closed until --auto has trained on the best settings; everything before looks at held-out ones.
"""

from __future__ import annotations

from functools import partial

from core.backend import select_device
from core.losses import softmax_cross_entropy
from core.training.feed import Feed
from core.training.improve import improve
from core.training.lr_finder import lr_range_test
from rnn_doodles import test_model, training
from rnn_doodles.settings import Settings
from rnn_doodles.training import Data, Inputs, train


def tune(settings: Settings) -> None:
    """Do the first of --lr-find, --sweep and --search; with --auto, train and test after the search."""
    data = training.load(settings)
    if settings.lr_find:
        find_lr(settings, data)
        return

    def test(run: str) -> None:
        test_model.test(test_model.Settings(run=run, data=settings.data))

    improve(settings, train, test, training.PROJECT / "runs", data.info)


def find_lr(settings: Settings, data: Data) -> None:
    """Raise the learning rate step by step; print where the loss falls most steeply, and plot."""
    device = select_device(settings.device)
    model, optimizer, stream = training.make_model(settings, data)
    inputs = Inputs(data.drawings, settings.augmentation(), stream, device)
    feed = Feed(data.arrays(), stream, device, rows=data.rows, numbers=True)
    batches = inputs.of(feed.endless(settings.batch_size))
    loss_of = partial(softmax_cross_entropy, label_smoothing=settings.label_smoothing)
    found = lr_range_test(model, optimizer, loss_of, batches, lowest=1e-5)
    found.save(training.PROJECT / "runs" / f"{settings.run_name}-lr-find", data.info["notice"])
