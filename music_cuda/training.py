"""Train a small perceptron to hear a song's genre in 57 numbers about its sound.

    python music_cuda/training.py                    # 57-32-16-10, gradient descent song by song
    python music_cuda/training.py --preset best      # a committee of wider networks, see README.md
    python music_cuda/training.py --fused            # on a GPU: a whole epoch in one kernel
    python music_cuda/training.py --folds 10         # cross-validate

The data must have been prepared by setup_data.py; test_model.py measures the result on the test songs.
"""

from __future__ import annotations

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from core.backend import Array, to_device
    from core.cli import main
    from core.data.normalize import Normalize
    from core.data.splits import split_indices
    from core.layers import Sequential
    from core.losses import accuracy, loss_and_accuracy
    from core.predict import predict
    from core.random import Stream
    from core.training.checkpoint import load_weights
    from core.training.find import BEST
    from core.training.run import Run
    from core.training.settings import make_optimizer, make_schedule
    from core.workers import set_threads
    from music_cuda.mixup import Mixup, mixture_loss
    from music_cuda.model import build, fit_scores, preprocess, probabilities_of
    from music_cuda.settings import PRESETS, Settings
    from music_cuda.songs import Data, load_songs, with_more
    from music_cuda.table import GENRES
    from music_cuda.whole_epochs import choose_device, choose_way
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C


def start(settings: Settings) -> None:
    """Train, or cross-validate, as the flags say."""
    if settings.folds:
        from music_cuda.folds import cross_validate  # late, because it calls `fit`

        cross_validate(settings, PROJECT / "runs")
    else:
        train(settings)


def train(settings: Settings) -> None:
    """Train as `settings` say, everything goes to runs/<name>; and ask the network about one song."""
    data = load_songs(settings.dataset)
    rows, held_out = np.arange(len(data.labels)), None
    if settings.validation:
        rows, held_out = split_indices(data.labels, settings.validation, settings.seed)
    extended = with_more(data, settings.more)
    rows = np.concatenate([rows, np.arange(len(data.labels), len(extended.labels))])
    network, normalize = fit(settings, extended, rows, held_out, PROJECT / "runs" / settings.run_name)
    sample = int(rows[0] if held_out is None else held_out[0])
    show_answer(network, normalize, data, sample, "it was trained on" if held_out is None else "it has not heard")


def fit(
    settings: Settings, data: Data, rows: Array, held_out: Array | None, folder: Path
) -> tuple[Sequential, Normalize]:
    """Train on the songs at `rows` (n,) and validate on those at `held_out`, if any; a run in `folder`.

    Returns the network of the best epoch (of the last one, if there are no songs to validate on), and its
    normalisation, which comes from `rows` alone.
    """
    device = choose_device(settings)
    set_threads(settings.threads)
    normalize = Normalize.fit(data.features[rows], per_channel=True)
    stream = Stream(settings.seed)
    network = build(settings.architecture, seed=settings.seed, stream=stream)
    prepared = preprocess(data.features, normalize)  # (N, 57)
    fit_scores(network, prepared[rows])
    network.to(device).skip_input_grad()
    mixup = Mixup(settings.mixup, stream)
    optimizer = make_optimizer(settings, network)
    schedule = make_schedule(settings, len(rows))
    about = {
        "architecture": settings.architecture.to_dict(), "normalize": normalize.to_dict(), "classes": list(GENRES),
    }  # fmt: skip
    x, labels = to_device(prepared, device), to_device(data.labels, device)
    judged = [] if held_out is None else [to_device(array[held_out], device) for array in (prepared, data.labels)]
    run = Run(settings, network, optimizer, schedule, folder=folder, stream=stream, data_info=data.info, about=about)
    whole_epoch = choose_way(settings, network, x, labels, rows, run)

    with run:
        for epoch in run.epochs():
            if whole_epoch is not None:  # all songs at once, in one of the ways of whole_epochs.py
                whole_epoch(epoch)
            else:
                for inputs, t in run.batches(data.features, data.labels, rows=rows, normalize=normalize):
                    mixture = mixup(inputs, t)
                    logits = network.forward(mixture.x, train=True)
                    loss, dlogits = mixture_loss(logits, mixture, settings.label_smoothing)
                    network.backward(dlogits)
                    run.step(loss, accuracy=accuracy(logits, np.tile(t, settings.members)))
            with run.averaged():
                figures = loss_and_accuracy(predict(network, judged[0]), judged[1]) if judged else {}
                run.validate(**figures)
    load_weights(network, folder / BEST)
    return network, normalize


def show_answer(network: Sequential, normalize: Normalize, data: Data, row: int, kind: str) -> None:
    """Print what the network says of one song, which is of a kind such as "it has not heard"."""
    probabilities = probabilities_of(network, normalize, data.features[row : row + 1])[0]
    best = np.argsort(-probabilities)[:3]
    answer = ", ".join(f"{GENRES[k]} {probabilities[k]:.1%}" for k in best)
    print(f"a song that {kind}: {data.names[row]} ({GENRES[data.labels[row]]}): {answer}")


if __name__ == "__main__":
    main(start, Settings, description=__doc__, presets=PRESETS)
