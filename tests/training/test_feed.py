"""Batches hold the samples that were asked for, whoever reads them; a mask or a row that is not there is refused."""

from __future__ import annotations

import numpy as np
import pytest
import toy_run

from core.random import Stream
from core.training.feed import Feed
from core.workers import set_threads


@pytest.mark.parametrize("augment", [None, toy_run.AddNoise(), toy_run.add_noise])
def test_what_is_fed_does_not_depend_on_the_workers(augment):
    """Nor on what was read before."""
    x, labels = toy_run.data()
    found = []
    for threads in (1, 3):
        set_threads(threads)
        stream = Stream(4)
        feed = Feed([x, labels], stream, "cpu", augment=augment)
        for batch in (0, 1)[threads == 3 :]:
            stream.seek(2, batch)
            inputs, of_inputs = feed.read(np.arange(20, 51))
        found.append(inputs.copy())
        np.testing.assert_array_equal(of_inputs, labels[20:51])
    np.testing.assert_array_equal(found[0], found[1])
    assert inputs.dtype == np.float32
    assert (augment is None) == np.array_equal(inputs, x[20:51])
    set_threads(1)


@pytest.mark.parametrize("kind", [np.array, list, tuple, np.uint8])
def test_rows_are_samples_of_whatever_kind_of_integers(kind):
    feed = Feed(toy_run.data(), Stream(4), "cpu", rows=kind([3, 149, 7]), numbers=True)
    (_, labels, numbers), *others = feed.epoch(0, 5)
    assert (sorted(numbers), numbers.dtype, others) == ([3, 7, 149], np.int64, [])
    np.testing.assert_array_equal(labels, toy_run.data()[1][numbers])


class Ordered:
    """Rows that come in an order of their own."""

    def __init__(self, rows):
        self.rows = np.array(rows)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, order):
        return np.sort(self.rows[order])


def test_rows_may_come_in_an_order_of_their_own():
    feed = Feed(toy_run.data(), Stream(4), "cpu", rows=Ordered([9, 2, 5, 1]), numbers=True)
    assert [numbers.tolist() for *_, numbers in feed.epoch(0, 3)] == [[1, 2, 5], [9]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.arange(150) < 100, r"Feed expected integers \(n,\), got bool \(150,\); of a mask, give np.flatnonzero"),
        ([1.0, 2.0], "Feed expected integers .* got float64"),
        ([[1], [2]], r"Feed expected integers \(n,\), got int64 \(2, 1\)"),
        ([0, 150], "Feed expected indices from 0 to 149, got 0 to 150"),
        ([-1, 3], "Feed expected indices from 0 to 149, got -1 to 3"),
        (Ordered([0, 150]), "Feed expected indices from 0 to 149, got 0 to 150"),
    ],
)
def test_rows_that_are_no_samples_are_refused(rows, message):
    with pytest.raises(IndexError, match=message):
        Feed(toy_run.data(), Stream(4), "cpu", rows=rows)
