"""Songs between songs: training on mixtures keeps a network from knowing its few songs by heart."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from core.backend import Array
from core.losses import softmax_cross_entropy
from core.random import Stream


class Mixture(NamedTuple):
    """A batch in which each song is mixed with another one of it."""

    x: Array
    """(N, D)."""
    labels: Array
    """int64 (N,), of what most of each mixture comes from."""
    others: Array
    """int64 (N,), of the rest."""
    share: float
    """How much of each mixture has its label, 0.5 to 1."""


class Mixup:
    """Mixes the first song of a batch with the last one, the second with the last but one, and so on.

    The share is drawn for each batch from Beta(strength, strength); with strength 0 nothing is mixed. Zhang et al.,
    "mixup: Beyond empirical risk minimization", 2018.
    """

    def __init__(self, strength: float, stream: Stream) -> None:
        self.strength, self.stream, self.salt = strength, stream, stream.new_salt()

    def __call__(self, x: Array, labels: Array) -> Mixture:
        """Mix a batch x (N, D) with labels (N,), for the batch at which the stream stands."""
        if not self.strength:
            return Mixture(x, labels, labels, 1.0)
        share = self.stream.generator(self.salt).beta(self.strength, self.strength)
        share = float(max(share, 1 - share))
        return Mixture(np.float32(share) * x + np.float32(1 - share) * x[::-1], labels, labels[::-1], share)


def mixture_loss(logits: Array, mixture: Mixture, label_smoothing: float) -> tuple[Any, Array]:
    """The cross-entropy of logits (members * N, C) with both labels, in their shares; and its gradient.

    Every member of a committee answers for itself.
    """
    members = len(logits) // len(mixture.labels)
    loss, dlogits = softmax_cross_entropy(logits, np.tile(mixture.labels, members), label_smoothing)
    if mixture.share == 1.0:
        return loss, dlogits
    dlogits = mixture.share * dlogits
    other, dother = softmax_cross_entropy(logits, np.tile(mixture.others, members), label_smoothing)
    dlogits += (1 - mixture.share) * dother
    return mixture.share * loss + (1 - mixture.share) * other, dlogits
