"""Cross-validation: every song is judged once, by a network that has not heard it."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.backend import Array
from core.data.splits import fold_indices
from core.report.metrics import wilson_interval
from core.training.files import write_checked
from core.training.lock import FolderLock
from music_cuda.model import probabilities_of
from music_cuda.settings import Settings
from music_cuda.songs import Data, load_songs
from music_cuda.training import fit


class Fold(NamedTuple):
    """What one training brought."""

    songs: int
    right: int

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.right / self.songs


def cross_validate(settings: Settings, runs: Path) -> list[Fold]:
    """Train `settings.folds` times and print each accuracy, their mean and deviation; runs/<name>-folds/folds.csv.

    All songs take part, training and test songs alike: no setting is chosen by the result. With --inner only the
    training songs do, and settings may be chosen by it. Networks train for all their epochs, because there is nothing
    to choose the best one by. UserError when another process cross-validates under this name.
    """
    data = load_songs(settings.dataset, ("train",) if settings.inner else ("train", "test"))
    folder = runs / f"{settings.run_name}-{'inner' if settings.inner else 'folds'}"
    with FolderLock(folder):
        return judge_all(settings, data, folder)


def judge_all(settings: Settings, data: Data, folder: Path) -> list[Fold]:
    """Train and judge fold after fold, and sum up; everything goes to `folder`."""
    if data.info["notice"]:
        print(f"NOTICE: {data.info['notice']}")
    folds, answers = [], np.zeros(len(data.labels), np.int64)
    for number, (rows, held_out) in enumerate(fold_indices(data.labels, settings.folds, settings.seed), start=1):
        answers[held_out] = answer_fold(settings, data, rows, held_out, folder / f"fold-{number}")
        folds.append(Fold(len(held_out), int((answers[held_out] == data.labels[held_out]).sum())))
        print(f"fold {number:>2}: {folds[-1].right} of {folds[-1].songs} right, {folds[-1].accuracy:.2%}", flush=True)
    summarise(folds)
    if not settings.inner:
        tell_of_unseen(data, answers)
    write_checked(folder / "folds.csv", as_csv(folds))
    return folds


def answer_fold(settings: Settings, data: Data, rows: Array, held_out: Array, folder: Path) -> Array:
    """The answers (H,) for the songs held out, by a network trained on the others."""
    if not settings.resume:
        with FolderLock(folder):  # a training may have been given this name
            shutil.rmtree(folder, ignore_errors=True)
    with contextlib.redirect_stdout(io.StringIO()):  # a line for each epoch of each fold would be too much
        network, normalize = fit(dataclasses.replace(settings, folds=0, inner=False), data, rows, None, folder)
    return probabilities_of(network, normalize, data.features[held_out]).argmax(axis=1)


def summarise(folds: list[Fold]) -> None:
    """Print the mean over the folds and the deviation, and the share of all songs with its interval."""
    accuracies = np.array([fold.accuracy for fold in folds])
    right, songs = sum(fold.right for fold in folds), sum(fold.songs for fold in folds)
    low, high = wilson_interval(right, songs)
    print(f"mean {accuracies.mean():.2%}, standard deviation {accuracies.std(ddof=1):.2%} over {len(folds)} folds;")
    print(f"{right} of {songs} songs right (95 % interval {low:.1%} to {high:.1%})")


def tell_of_unseen(data: Data, answers: Array) -> None:
    """Print the accuracy on the songs that took no part in any choice: those of the test part, the last ones."""
    unseen = len(data.info["songs"]["test"])
    right = int((answers == data.labels)[-unseen:].sum())
    print(f"{right / unseen:.2%} of the {unseen} test songs among them, by which nothing was chosen")


def as_csv(folds: list[Fold]) -> str:
    """The folds as a table."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("fold", "songs", "right", "accuracy"))
    table.writerows((number, *fold, f"{fold.accuracy:.6f}") for number, fold in enumerate(folds, start=1))
    return text.getvalue()
