"""Pictures of two-digit numbers: pairs of digits side by side, and how they are parted without sharing a digit.

There are more places in the pairs than digits, so most digits are used twice. A pair held out for validation must not
contain a digit that was trained on, in company with another: the network would know it. So the digits are parted into
folds first, and both digits of a pair come from one fold; whole folds are then held out.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from core.backend import Array, array_module
from core.errors import UserError
from core.random import Stream

SIDE = 28
HEIGHT, WIDTH = SIDE, 2 * SIDE
CLASSES = tuple(f"{number:02d}" for number in range(100))
FOLDS = 20
EXCHANGE_SALT = 1 << 16  # far above those that layers draw with

Bytes = NDArray[np.uint8]


def make_pairs(images: Bytes, labels: Bytes, per_class: int, seed: int, folds: int = 1) -> tuple[Bytes, Bytes, Bytes]:
    """`per_class` pictures of each number from 00 to 99, made of digits uint8 (n, 28, 28) with labels (n,).

    Returns images uint8 (N, 28, 56), labels uint8 (N,) and the fold of each, uint8 (N,), shuffled. Every image is used
    once before any is used twice, and so on. Raises UserError when a digit has fewer images than there are folds.
    """
    bits = np.random.Philox(key=[seed, folds])
    numbers = np.repeat(np.arange(len(CLASSES)), per_class)  # (N,)
    count = np.tile(np.arange(per_class), len(CLASSES))
    tens, units = np.divmod(numbers, 10)
    fold_of = (count + 3 * tens + 7 * units) % folds  # (N,) so that few pairs a class, too, spread over all folds
    wanted = np.stack([tens, units], axis=1)  # (N, 2)
    chosen = np.empty(wanted.shape, np.intp)  # (N, 2) which image
    for digit in range(10):
        stock = np.flatnonzero(labels == digit)
        if len(stock) < folds:
            raise UserError(f"{len(stock)} images of the digit {digit} are too few: at least {folds} are needed")
        stock = stock[permutation(len(stock), bits)]
        for fold in range(folds):
            places = np.nonzero((wanted == digit) & (fold_of == fold)[:, None])
            chosen[places] = deal(stock[fold::folds], len(places[0]), bits)
    order = permutation(len(numbers), bits)
    left, right = chosen[order].T
    pictures = np.concatenate([images[left], images[right]], axis=2)  # (N, 28, 56)
    return pictures, numbers[order].astype(np.uint8), fold_of[order].astype(np.uint8)


def deal(stock: Array, count: int, bits: np.random.Philox) -> Array:
    """`count` elements of `stock` in random order, each used as often as any other, or once more."""
    rounds = [stock[permutation(len(stock), bits)] for _ in range(-(-count // len(stock)))]
    dealt = np.concatenate(rounds)[:count] if rounds else stock[:0]
    return dealt[permutation(count, bits)]


def permutation(n: int, bits: np.random.Philox) -> Array:
    """The numbers 0 ... n - 1 in random order.

    From the generator's raw bits: these stay the same in every version of NumPy, which does not promise that of
    `Generator.permutation`, and so the pairs have checksums.
    """
    return np.argsort(bits.random_raw(n), kind="stable")


def find_folds(pictures: Bytes) -> tuple[Bytes, bool]:
    """Part pairs (N, 28, 56) of unknown making into FOLDS of about equal size that share no digit image.

    Returns the fold of each, uint8 (N,), and whether that was possible: pairs that digits in common link go into one
    fold, and when more than two folds' worth are linked, the pairs are parted at random instead.
    """
    groups, sizes = np.unique(linked_groups(digit_ids(pictures)), return_inverse=True, return_counts=True)[1:]
    if sizes.max() > 2 * len(pictures) / FOLDS:
        bits = np.random.Philox(key=[0, FOLDS])
        return (permutation(len(pictures), bits) % FOLDS).astype(np.uint8), False
    filled = [(0, fold) for fold in range(FOLDS)]  # a heap: the emptiest fold comes first
    fold_of_group = np.empty(len(sizes), np.uint8)
    for group in np.argsort(-sizes, kind="stable"):
        size, fold = heapq.heappop(filled)
        fold_of_group[group] = fold
        heapq.heappush(filled, (size + int(sizes[group]), fold))
    return fold_of_group[groups], True


def digit_ids(pictures: Bytes) -> Array:
    """A number for each half of each pair, the same for equal images only: (N, 2)."""
    halves = np.concatenate([pictures[:, :, :SIDE], pictures[:, :, SIDE:]])  # (2 N, 28, 28)
    as_one_value = halves.reshape(len(halves), -1).view(f"V{SIDE * SIDE}")[:, 0]
    return np.unique(as_one_value, return_inverse=True)[1].reshape(2, -1).T


def linked_groups(ids: Array) -> Array:
    """For pairs of ids (N, 2), the group of each pair, (N,): two pairs are in one group if ids in common link them."""
    group = np.arange(ids.max() + 1)  # of each id; the smallest id of a group stands for it
    while True:
        smaller = group[ids].min(axis=1)  # (N,)
        before = group.copy()
        for side in (0, 1):
            np.minimum.at(group, ids[:, side], smaller)
        group = group[group]  # a shortcut that halves the number of rounds
        if (group == before).all():
            return group[ids[:, 0]]


def exchange(batches: Iterable[tuple[Array, ...]], stream: Stream) -> Iterator[tuple[Array, Array]]:
    """The batches (x, labels) with all their digits in new places, so that no two epochs see the same pairs.

    x (N, 28, 56, 1) is changed in place; labels (N,) from 0 to 99. All pairs of a batch come from the same side of the
    split, so nothing held out gets among them.
    """
    for x, labels in batches:
        xp, N = array_module(x), len(x)
        halves = xp.concatenate([x[:, :, :SIDE], x[:, :, SIDE:]])  # (2 N, 28, 28, 1)
        digits = xp.concatenate([labels // 10, labels % 10])  # (2 N,)
        order = xp.asarray(stream.generator(EXCHANGE_SALT).permutation(2 * N))
        x[:, :, :SIDE], x[:, :, SIDE:] = halves[order[:N]], halves[order[N:]]
        yield x, 10 * digits[order[:N]] + digits[order[N:]]
