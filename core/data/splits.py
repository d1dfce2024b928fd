"""Parting data into training and validation, once or in folds: deterministic, and in the proportions of the classes."""

from __future__ import annotations

import numpy as np

from core.backend import Array
from core.errors import UserError


def split_indices(labels: Array, fraction: float, seed: int, stratified: bool = True) -> tuple[Array, Array]:
    """Choose a random `fraction` of the samples to hold out: returns the indices to train on and those held out.

    `labels` (N,) are integers. Both results are sorted int64 and together 0 ... N - 1; the same arguments give the same
    split. round(fraction N) samples are held out; stratified, each class gives its share, rounded up or down. Raises
    UserError when one side, or the training samples of a class, would be empty.
    """
    N = len(labels)
    size = round(fraction * N) if 0 < fraction < 1 else 0
    if not 0 < size < N:
        raise UserError(f"cannot hold out a fraction of {fraction} of {N} samples: one side would be empty")
    held_out = choose_indices(labels, size, seed, stratified)
    train = np.delete(np.arange(N), held_out)
    if stratified:
        require_every_class(labels, train)
    return train, held_out


def choose_indices(labels: Array, size: int, seed: int, stratified: bool = True) -> Array:
    """Choose `size` random samples, 0 to N of `labels` (N,): their indices, sorted int64 (size,).

    The same arguments give the same choice; stratified, each class gives its share, rounded up or down.
    """
    order, N = shuffled(labels, seed, stratified), len(labels)
    # Every (N / size)-th place of the order, which is sorted by class: so each class gives its share.
    place = np.arange(N)
    return np.sort(order[(place + 1) * size // N > place * size // N])


def fold_indices(labels: Array, folds: int, seed: int, stratified: bool = True) -> list[tuple[Array, Array]]:
    """Part the samples into `folds` for cross-validation: a list of (indices to train on, indices held out).

    `labels` (N,) are integers. Every sample is held out exactly once; fold sizes, and stratified also the number of
    samples of a class in each fold, differ by at most one. Indices are sorted int64. Raises UserError for fewer than 2
    folds, for more folds than samples, and for a class of which a fold would have nothing to train on.
    """
    N = len(labels)
    if not 2 <= folds <= N:
        raise UserError(f"cannot part {N} samples into {folds} folds: give a number from 2 to {N}")
    order = shuffled(labels, seed, stratified)
    result = []
    for fold in range(folds):
        held_out = np.sort(order[fold::folds])
        train = np.setdiff1d(order, held_out)
        if stratified:
            require_every_class(labels, train)
        result.append((train, held_out))
    return result


def shuffled(labels: Array, seed: int, by_class: bool) -> Array:
    """All indices in random order; `by_class` puts those of the lowest label first, and so on. int64 (N,)."""
    order = np.random.default_rng(seed).permutation(len(labels))
    if by_class:
        order = order[np.argsort(np.asarray(labels)[order], kind="stable")]
    return order


def require_every_class(labels: Array, train: Array) -> None:
    """Raise UserError if a class has no sample among those to train on."""
    missing = np.setdiff1d(labels, np.asarray(labels)[train])
    if len(missing):
        raise UserError(
            f"class {missing[0]} has too few samples to be trained on and held out; "
            "hold out less, or take the class out of the data"
        )
