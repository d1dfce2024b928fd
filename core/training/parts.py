"""The gradient of a batch that is computed in parts, to save memory (gradient accumulation)."""

from __future__ import annotations

from core.params import FlatParameters


class BatchParts:
    """Makes the gradient of several parts the mean over all their samples, whatever the parts' sizes.

    Backward adds a part's mean gradient to what is there. With S the sum over the samples of all parts so far, and n
    the size of the latest, the buffer holds S / n after each backward; so before a part of another size it is scaled by
    the ratio of the sizes, and at the end by n / N. For equal parts only the end costs anything.
    """

    def __init__(self, flat: FlatParameters) -> None:
        self._flat = flat
        self.size = 0  # samples in the latest part
        self.total = 0  # samples whose gradients are in the buffer
        self.is_open = False  # a part has begun and is not counted yet

    def begin(self, size: int) -> None:
        """Prepare for the backward of a part of `size` samples."""
        if self.total and size != self.size:
            self._scale(self.size / size)
        self.size, self.is_open = size, True

    def count(self) -> None:
        """Note that the part's backward is done."""
        self.total += self.size
        self.is_open = False

    def finish(self) -> int:
        """Make the gradient the mean over the batch; returns the batch's size."""
        if self.total != self.size:
            self._scale(self.size / self.total)
        total, self.size, self.total = self.total, 0, 0
        return total

    def discard(self) -> None:
        """Forget a batch that is not finished, and what it has added to the gradient."""
        if self.size or self.total:
            self._flat.zero_grad()
            self.size, self.total, self.is_open = 0, 0, False

    def _scale(self, factor: float) -> None:
        self._flat.settle()
        self._flat.grad *= factor
