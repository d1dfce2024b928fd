"""Pairs of digits: what they are made of, how often each digit is used, and that no two folds share one."""

from __future__ import annotations

import numpy as np
import pytest

from cnn_mnist100.pairs import FOLDS, deal, digit_ids, exchange, find_folds, linked_groups, make_pairs, permutation
from core.errors import UserError
from core.random import Stream

PER_CLASS = 6
RNG = np.random.default_rng(0)


def marked_digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` images of each digit; the first pixel is the digit, and the next two are the image's number."""
    labels = np.tile(np.arange(10), count)
    images = RNG.integers(0, 256, (len(labels), 28, 28)).astype(np.uint8)
    images[:, 0, 0] = labels
    images[:, 0, 1], images[:, 0, 2] = np.divmod(np.arange(len(labels)), 256)
    return images, labels


def numbers_of(pictures: np.ndarray) -> np.ndarray:
    """Which image each half is, (N, 2)."""
    marks = np.stack([pictures[:, 0, :3], pictures[:, 0, 28:31]], axis=1).astype(int)  # (N, 2, 3)
    return marks[:, :, 1] * 256 + marks[:, :, 2]


def test_each_picture_is_two_whole_digits_of_its_label():
    images, labels = marked_digits(25)
    pictures, numbers, _ = make_pairs(images, labels, PER_CLASS, seed=0, folds=FOLDS)
    assert (pictures.shape, pictures.dtype) == ((100 * PER_CLASS, 28, 56), np.uint8)
    assert (np.bincount(numbers, minlength=100) == PER_CLASS).all()
    assert (pictures[:, 0, 0] == numbers // 10).all()
    assert (pictures[:, 0, 28] == numbers % 10).all()
    which = numbers_of(pictures)
    np.testing.assert_array_equal(pictures[:, :, :28], images[which[:, 0]])
    np.testing.assert_array_equal(pictures[:, :, 28:], images[which[:, 1]])


def test_no_two_folds_share_a_digit():
    images, labels = marked_digits(45)
    pictures, _, folds = make_pairs(images, labels, PER_CLASS, seed=0, folds=FOLDS)
    assert np.ptp(np.bincount(folds, minlength=FOLDS)) <= 2
    owners: dict[int, int] = {}
    for pair, fold in zip(numbers_of(pictures), folds, strict=True):
        for number in pair:
            assert owners.setdefault(int(number), int(fold)) == fold
    assert len(owners) > 400, "most digits are used"


@pytest.mark.parametrize("folds", [1, 5])
def test_every_digit_is_used_equally_often(folds):
    images, labels = marked_digits(20)
    pictures, _, _ = make_pairs(images, labels, 5, seed=0, folds=folds)  # each digit is wanted 100 times
    uses = np.bincount(numbers_of(pictures).ravel(), minlength=len(images))
    assert (uses == 5).all()


def test_the_seed_decides_and_the_order_is_mixed():
    images, labels = marked_digits(20)
    first, same, other = (make_pairs(images, labels, 2, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], same[0])
    assert (first[0] != other[0]).any()
    assert (np.diff(first[1].astype(int)) < 0).any()


def test_too_few_digits_are_an_error():
    images, labels = marked_digits(3)
    with pytest.raises(UserError, match=f"3 images of the digit 0 are too few: at least {FOLDS}"):
        make_pairs(images, labels, 1, seed=0, folds=FOLDS)
    with pytest.raises(UserError, match="0 images of the digit 7"):
        make_pairs(images[labels != 7], labels[labels != 7], 1, seed=0)


def test_dealing_uses_everything_before_anything_twice():
    bits = np.random.Philox(key=[0, 0])
    stock = np.arange(10, 17)
    assert sorted(deal(stock, 7, bits)) == list(stock)
    counts = np.bincount(deal(stock, 17, bits), minlength=17)[10:]
    assert set(counts) == {2, 3}
    assert len(deal(stock, 0, bits)) == 0
    assert sorted(permutation(9, bits)) == list(range(9))


def test_folds_are_found_again_from_the_pictures_alone():
    images, labels = marked_digits(20)
    pictures, _, folds = make_pairs(images, labels, 12, seed=0, folds=FOLDS)
    found, parted = find_folds(pictures)
    assert parted
    owners: dict[int, int] = {}
    for pair, fold in zip(numbers_of(pictures), found, strict=True):
        for number in pair:
            assert owners.setdefault(int(number), int(fold)) == fold
    assert np.ptp(np.bincount(found, minlength=FOLDS)) <= np.ptp(np.bincount(folds)) + 4


def test_pairs_that_share_too_many_digits_are_parted_at_random():
    images, labels = marked_digits(10)
    pictures, _, _ = make_pairs(images, labels, 10, seed=0, folds=1)
    found, parted = find_folds(pictures)
    assert not parted
    assert (np.bincount(found) == 1000 / FOLDS).all()


def test_equal_halves_get_equal_ids_and_links_make_groups():
    halves = RNG.integers(0, 256, (4, 28, 28)).astype(np.uint8)
    ids = digit_ids(np.stack([np.hstack([halves[0], halves[1]]), np.hstack([halves[1], halves[2]])]))
    assert ids[0, 1] == ids[1, 0]
    assert len(np.unique(ids)) == 3
    chain = np.array([[0, 1], [4, 5], [1, 2], [2, 3], [6, 6], [7, 4]])
    groups = linked_groups(chain)
    assert groups[0] == groups[2] == groups[3]
    assert groups[1] == groups[5]
    assert len(np.unique(groups)) == 3


def test_exchanged_pairs_are_what_their_labels_say():
    left, right = np.arange(8), np.array([5, 3, 3, 9, 0, 1, 2, 7])
    x = np.zeros((8, 28, 56, 1), np.float32)
    x[:, :, :28], x[:, :, 28:] = left[:, None, None, None], right[:, None, None, None]
    given = x.copy()

    def exchanged(batch):
        stream.seek(2, batch)
        return next(exchange([(given.copy(), 10 * left + right)], stream))

    stream = Stream(0)
    pictures, labels = exchanged(4)
    np.testing.assert_array_equal(pictures[:, 0, 27, 0], labels // 10)
    np.testing.assert_array_equal(pictures[:, 5, 28, 0], labels % 10)
    assert (pictures[:, :, :28] == pictures[:, :1, :1]).all()
    assert (pictures[:, :, 28:] == pictures[:, :1, 28:29]).all()
    assert sorted([*(labels // 10), *(labels % 10)]) == sorted([*left, *right])  # no digit lost, none twice
    assert set(labels // 10) & set(right) - set(left) or set(labels % 10) & set(left) - set(right)  # also across
    np.testing.assert_array_equal(exchanged(4)[1], labels)  # the same batch after a resume
    assert (exchanged(5)[1] != labels).any()
