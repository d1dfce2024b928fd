"""Packed sequences: every step finds its way in and out, in the order of the batch."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.kernels.emulated import emulated_gpu
from core.layers import Linear, Sequences
from core.layers.sequences import Layout

LENGTHS = np.array([3, 1, 6, 4, 1, 6])


def sequences(lengths, width=2):
    """Sequences in which sequence s has at step t the row (s, t)."""
    return [
        np.array([[s, t] for t in range(length)], np.float32).reshape(-1, width) for s, length in enumerate(lengths)
    ]


def packed(lengths):
    return Sequences.pack(np.concatenate(sequences(lengths)), np.array(lengths))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_steps_lie_one_after_the_other_and_the_longest_first(lengths):
    x = packed(lengths)
    assert x.layout.rows == sum(lengths) == sum(count for _, count in x.layout.spans)
    seen = []
    for step, (start, count) in enumerate(x.layout.spans):
        rows = x.rows[start : start + count]
        assert (rows[:, 1] == step).all()
        assert list(rows[:, 0]) == list(x.layout.order[:count])
        assert sorted(rows[:, 0]) == [s for s, length in enumerate(lengths) if length > step]
        seen.append(count)
    assert seen == sorted(seen, reverse=True)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_what_is_packed_comes_out_again(lengths):
    x = packed(lengths)
    assert x.shape == (len(lengths), max(lengths), 2)
    assert x.dtype == np.float32
    padded = x.to_padded(-1)
    for number, sequence in enumerate(sequences(lengths)):
        np.testing.assert_array_equal(padded[number, : len(sequence)], sequence)
        assert (padded[number, len(sequence) :] == -1).all()
    np.testing.assert_array_equal(Sequences.pack_padded(padded, np.array(lengths)).rows, x.rows)


@pytest.mark.parametrize("chosen", [slice(1, 4), slice(0, 0), np.array([4, 2, 2, 0]), np.arange(6) % 2 == 0])
def test_slices_and_indices_count_sequences(chosen):
    x = packed(LENGTHS)
    x.last = np.arange(12.0).reshape(6, 2)
    part = x[chosen]
    kept = np.arange(6)[chosen]
    assert len(part) == len(kept)
    np.testing.assert_array_equal(part.lengths, LENGTHS[kept])
    np.testing.assert_array_equal(part.last, x.last[kept])
    for padded, number in zip(part.to_padded(), kept, strict=True):
        np.testing.assert_array_equal(padded[: LENGTHS[number]], sequences(LENGTHS)[number])


def test_sequences_of_several_batches_are_joined_in_their_order():
    whole = packed(LENGTHS)
    whole.last = np.arange(12.0).reshape(6, 2)
    joined = Sequences.join([whole[:2], whole[2:2], whole[2:]])
    np.testing.assert_array_equal(joined.lengths, whole.lengths)
    np.testing.assert_array_equal(joined.rows, whole.rows)
    np.testing.assert_array_equal(joined.last, whole.last)
    assert Sequences.join([packed(LENGTHS), whole]).last is None


def test_sequences_are_unpacked_as_they_were_given():
    np.testing.assert_array_equal(packed(LENGTHS).unpack(), np.concatenate(sequences(LENGTHS)))


def test_a_layer_of_arrays_says_how_it_can_take_sequences():
    with pytest.raises(AttributeError, match="LastState or MeanState makes an array of them, and EachStep takes"):
        Linear(2, 3, rng=np.random.default_rng(0)).forward(packed(LENGTHS))
    again = pickle.loads(pickle.dumps(copy.deepcopy(packed(LENGTHS))))
    np.testing.assert_array_equal(again.rows, packed(LENGTHS).rows)


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        ([2, 0], ValueError, "at least one step, number 1 has 0"),
        ([3, -1], ValueError, "at least one step"),
        ([1.0, 1.0], TypeError, "integers"),
        ([[1, 1]], TypeError, "integers"),
        ([2, 2], ValueError, "expected values"),
    ],
)
def test_wrong_lengths_are_refused(lengths, error, message):
    with pytest.raises(error, match=message):
        Sequences.pack(np.zeros((2, 3)), np.array(lengths))


@pytest.mark.parametrize(("shape", "lengths"), [((2, 3), [3, 3]), ((2, 3, 1), [3, 4]), ((2, 3, 1), [3])])
def test_wrong_padded_arrays_are_refused(shape, lengths):
    with pytest.raises(ValueError, match="pack_padded"):
        Sequences.pack_padded(np.zeros(shape), np.array(lengths))


@pytest.mark.parametrize("use", [np.asarray, lambda x: np.stack([x, x]), lambda x: np.float32(2) * x])
def test_sequences_are_no_array(use):
    with pytest.raises(TypeError, match=r"sequences are no array: to_padded\(\) and unpack\(\) make one"):
        use(packed(LENGTHS))


@pytest.mark.parametrize("use", [lambda x: x[0], lambda x: x[np.int64(-1)], list, lambda x: x[[[0, 1]]]])
def test_sequences_are_not_taken_out_one_by_one(use):
    with pytest.raises(
        TypeError, match=r"sequences are chosen by a slice or by indices \(n,\), such as \[\[0\]\], got"
    ):
        use(packed(LENGTHS))


@pytest.mark.parametrize(
    ("name", "array", "count"),
    [("rows", np.ones((20, 2)), 21), ("rows", np.ones(21), 21), ("last", np.ones((5, 2)), 6)],
)
def test_arrays_that_do_not_fit_the_lengths_are_refused(name, array, count):
    with pytest.raises(ValueError, match=rf"Sequences expected {name} \({count}, C\) .*, got"):
        Sequences(**{"rows": None, "layout": Layout(LENGTHS)} | {name: array})


def test_a_gradient_without_rows_has_no_shape():
    with pytest.raises(ValueError, match="without rows"):
        _ = Sequences(None, packed(LENGTHS).layout).shape


def test_a_layout_is_sent_to_a_gpu_once():
    layout = Layout([2, 3])
    with emulated_gpu() as gpu:
        there = gpu.zeros(1)
        sent = [layout.spans.array(there), layout.spans_from_end.array(there), layout.order_like(there)]
        uploads = gpu.uploads
        assert layout.spans.array(there) is sent[0]
        assert layout.order_like(there) is sent[2]
        assert gpu.uploads == uploads
        assert [array.get().tolist() for array in sent] == [[[0, 2], [2, 2], [4, 1]], [[4, 1], [2, 2], [0, 2]], [1, 0]]
