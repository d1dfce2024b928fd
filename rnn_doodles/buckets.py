"""Batches of drawings of like length, without giving up the random order."""

from __future__ import annotations

import numpy as np

from core.backend import Array


class Buckets:
    """`rows` (n,) that come, in whatever order they are asked for, with drawings of like length beside each other.

    Every `bucket` batches in a row are sorted by length and cut into batches again, which then come in random order; a
    bucket of 0 batches leaves the order alone. A batch takes as many steps as its longest drawing, so fewer are needed.
    """

    def __init__(self, rows: Array, lengths: Array, batch_size: int, bucket: int) -> None:
        self.rows, self.lengths = rows, lengths
        self.batch_size, self.bucket = batch_size, bucket

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, order: Array) -> Array:
        """The rows in the given order, (n,), rearranged; the same order always gives the same."""
        rows = self.rows[order]
        if not self.bucket:
            return rows
        size, span = self.batch_size, self.batch_size * self.bucket
        batches: list[Array] = []
        for start in range(0, len(rows), span):
            part = rows[start : start + span]
            part = part[np.argsort(self.lengths[part], kind="stable")]
            batches += [part[first : first + size] for first in range(0, len(part), size)]
        # The last batch may be smaller, and only the last one may be. The order, which comes from the stream's seed and
        # the epoch, is all that there is to draw from; its first four places differ from epoch to epoch.
        *whole, last = batches
        shuffled = np.random.default_rng(order[:4]).permutation(len(whole))
        return np.concatenate([*(whole[place] for place in shuffled), last])
