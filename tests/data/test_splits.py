import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.splits import choose_indices, fold_indices, split_indices
from core.errors import UserError

LABELS = np.random.default_rng(0).choice(4, size=1003, p=[0.6, 0.25, 0.1, 0.05])


@pytest.mark.parametrize("stratified", [True, False])
@pytest.mark.parametrize("fraction", [0.05, 0.1, 1 / 3, 0.9])
def test_a_split_parts_all_samples_in_the_asked_proportion(fraction, stratified):
    train, held_out = split_indices(LABELS, fraction, seed=1, stratified=stratified)
    assert train.dtype == held_out.dtype == np.int64
    assert len(held_out) == round(fraction * len(LABELS))
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held_out])), np.arange(len(LABELS)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(held_out) > 0).all()


def test_a_stratified_split_gives_every_class_its_share_rounded_up_or_down():
    for seed in range(20):
        _, held_out = split_indices(LABELS, 0.137, seed)
        share = len(held_out) / len(LABELS) * np.bincount(LABELS)
        assert (np.abs(np.bincount(LABELS[held_out], minlength=4) - share) < 1).all()


def test_a_split_depends_on_the_seed_alone():
    first, again, other = (split_indices(LABELS, 0.2, seed)[1] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_held_out_samples_come_from_everywhere_in_the_data():
    _, held_out = split_indices(np.zeros(10_000, int), 0.5, seed=0)
    assert 2300 < (held_out < 5000).sum() < 2700
    assert len(np.unique(np.diff(held_out))) > 2  # not simply every other one


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 1.5, float("nan"), 1e-9])
def test_a_split_with_an_empty_side_is_refused(fraction):
    with pytest.raises(UserError, match="one side would be empty"):
        split_indices(LABELS, fraction, seed=0)


def test_a_class_without_anything_to_train_on_is_refused():
    labels = np.array([0] * 9 + [7])
    with pytest.raises(UserError, match="class 7 has too few samples"):
        split_indices(labels, 0.9, seed=0)
    with pytest.raises(UserError, match="class 7 has too few samples"):
        fold_indices(labels, 2, seed=0)


@pytest.mark.parametrize("stratified", [True, False])
@pytest.mark.parametrize("size", [0, 1, 50, 1002, 1003])
def test_a_choice_has_its_size_and_the_proportions_of_the_classes(size, stratified):
    rows = choose_indices(LABELS, size, seed=0, stratified=stratified)
    assert rows.dtype == np.int64
    assert len(np.unique(rows)) == len(rows) == size
    assert (np.diff(rows) > 0).all()
    if stratified:
        share = size / len(LABELS) * np.bincount(LABELS)
        assert (np.abs(np.bincount(LABELS[rows], minlength=4) - share) < 1).all()


@given(st.integers(2, 60), st.integers(2, 12), st.integers(0, 5), st.booleans())
def test_folds_hold_out_every_sample_once_and_are_even(n, folds, seed, stratified):
    folds = min(folds, n)
    labels = np.repeat(np.arange(n), folds + 1) % n if stratified else np.arange(n)
    parts = fold_indices(labels, folds, seed, stratified)
    everything = np.arange(len(labels))
    assert len(parts) == folds
    np.testing.assert_array_equal(np.sort(np.concatenate([held_out for _, held_out in parts])), everything)
    for train, held_out in parts:
        np.testing.assert_array_equal(np.sort(np.concatenate([train, held_out])), everything)
        assert len(labels) // folds <= len(held_out) <= -(-len(labels) // folds)
        if stratified:
            assert np.ptp(np.bincount(labels[held_out], minlength=n)) <= 1


@pytest.mark.parametrize("folds", [-1, 0, 1, 1004])
def test_impossible_numbers_of_folds_are_refused(folds):
    with pytest.raises(UserError, match="from 2 to 1003"):
        fold_indices(LABELS, folds, seed=0)
