"""Looking for better settings: the range test of the learning rate, sweeps, and a search with a training at its end.

The test pairs stay closed until --auto has trained on the best settings; everything before looks at held-out pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

from cnn_mnist100 import test_model, training
from cnn_mnist100.pairs import exchange
from cnn_mnist100.settings import Settings
from cnn_mnist100.training import Pairs, make_loss, make_model, train
from core.backend import Array, select_device
from core.random import Stream
from core.training.feed import Feed
from core.training.improve import improve
from core.training.lr_finder import lr_range_test


def tune(settings: Settings) -> None:
    """Do the first of --lr-find, --sweep and --search; with --auto, train and test after the search."""
    pairs = training.load(settings)
    if settings.lr_find:
        find_lr(settings, pairs)
        return

    def test(run: str) -> None:
        test_model.test(test_model.Settings(run=run, data=settings.data))

    improve(settings, train, test, training.PROJECT / "runs", pairs.info)


def find_lr(settings: Settings, pairs: Pairs) -> None:
    """Raise the learning rate step by step; print where the loss falls most steeply, and plot."""
    model, optimizer, stream = make_model(settings)
    found = lr_range_test(model, optimizer, make_loss(settings), endless_batches(settings, pairs, stream))
    found.save(training.PROJECT / "runs" / f"{settings.run_name}-lr-find", pairs.info["notice"])


def endless_batches(settings: Settings, pairs: Pairs, stream: Stream) -> Iterator[tuple[Array, ...]]:
    """Augmented batches (x, labels), epoch after epoch."""
    arrays = pairs.images[..., None], pairs.labels  # (N, 28, 56, 1), (N,)
    device = select_device(settings.device)
    feed = Feed(arrays, stream, device, pairs.normalize, settings.augmentation(), pairs.rows)
    batches = feed.endless(settings.batch_size)
    return exchange(batches, stream) if settings.exchange else batches
