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
from core.training.lr_finder import lr_range_test
from core.training.search import search
from core.training.sweep import sweep


def tune(settings: Settings) -> None:
    """Do the first of --lr-find, --sweep and --search; with --auto, train and test after the search."""
    runs, name = training.PROJECT / "runs", settings.run_name
    pairs = training.load(settings)
    notice = str(pairs.info["notice"])
    if settings.lr_find:
        find_lr(settings, pairs)
    elif settings.sweep:
        sweep(settings, train, runs / f"{name}-sweep", notice)
    else:
        best = search(settings, train, runs / f"{name}-search", notice)
        print(f"\nbest: --lr {best.lr:.3g} --weight-decay {best.weight_decay:.3g}", flush=True)
        if settings.auto:
            train(best)
            test_model.test(test_model.Settings(run=str(runs / best.run_name), data=settings.data))


def find_lr(settings: Settings, pairs: Pairs) -> None:
    """Raise the learning rate step by step; print where the loss falls most steeply, and plot."""
    folder = training.PROJECT / "runs" / f"{settings.run_name}-lr-find"
    model, optimizer, stream = make_model(settings)
    found = lr_range_test(model, optimizer, make_loss(settings), endless_batches(settings, pairs, stream))
    found.save(folder, str(pairs.info["notice"]))
    print(f"the loss falls most steeply at a learning rate of {found.suggestion:.2g}; {folder / 'lr_find.png'}")


def endless_batches(settings: Settings, pairs: Pairs, stream: Stream) -> Iterator[tuple[Array, ...]]:
    """Augmented batches (x, labels), epoch after epoch."""
    arrays = pairs.images[..., None], pairs.labels  # (N, 28, 56, 1), (N,)
    device = select_device(settings.device)
    feed = Feed(arrays, stream, device, pairs.normalize, settings.augmentation(), pairs.rows)
    batches = feed.endless(settings.batch_size)
    return exchange(batches, stream) if settings.exchange else batches
