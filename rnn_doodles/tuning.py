"""Looking for better settings: the range test of the learning rate, sweeps, and a search with a training at its end.

The test drawings stay closed until --auto has trained on the best settings; everything before looks at held-out ones.
"""

from __future__ import annotations

from functools import partial

from core.backend import select_device
from core.losses import softmax_cross_entropy
from core.training.feed import Feed
from core.training.lr_finder import lr_range_test
from core.training.search import search
from core.training.sweep import sweep
from rnn_doodles import test_model, training
from rnn_doodles.settings import Settings
from rnn_doodles.training import Inputs, train


def tune(settings: Settings) -> None:
    """Do the first of --lr-find, --sweep and --search; with --auto, train and test after the search."""
    runs, name = training.PROJECT / "runs", settings.run_name
    notice = str(training.load(settings).info["notice"])
    if settings.lr_find:
        find_lr(settings)
    elif settings.sweep:
        sweep(settings, train, runs / f"{name}-sweep", notice)
    else:
        best = search(settings, train, runs / f"{name}-search", notice)
        print(f"\nbest: --lr {best.lr:.3g} --weight-decay {best.weight_decay:.3g}", flush=True)
        if settings.auto:
            train(best)
            test_model.test(test_model.Settings(run=str(runs / best.run_name), data=settings.data))


def find_lr(settings: Settings) -> None:
    """Raise the learning rate step by step; print where the loss falls most steeply, and plot."""
    data, device = training.load(settings), select_device(settings.device)
    model, optimizer, stream = training.make_model(settings, data)
    inputs = Inputs(data.drawings, settings.augmentation(), stream, device)
    feed = Feed(data.arrays(), stream, device, rows=data.rows, numbers=True)
    batches = inputs.of(feed.endless(settings.batch_size))
    loss_of = partial(softmax_cross_entropy, label_smoothing=settings.label_smoothing)
    found = lr_range_test(model, optimizer, loss_of, batches, lowest=1e-5)
    folder = training.PROJECT / "runs" / f"{settings.run_name}-lr-find"
    found.save(folder, str(data.info["notice"]))
    print(f"the loss falls most steeply at a learning rate of {found.suggestion:.2g}; {folder / 'lr_find.png'}")
