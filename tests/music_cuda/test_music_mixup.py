"""Mixtures of songs: what is mixed with what, in which shares, and the gradient of their loss."""

from __future__ import annotations

import numpy as np
import pytest

from core.gradcheck import gradcheck_loss
from core.losses import softmax_cross_entropy
from core.random import Stream
from music_cuda.mixup import Mixture, Mixup, mixture_loss


def test_a_mixture_lies_between_its_two_songs_nearer_to_its_label():
    x, labels = np.random.default_rng(0).standard_normal((7, 57)).astype(np.float32), np.arange(7)
    stream = Stream(0)
    mixup = Mixup(0.4, stream)
    shares = set()
    for batch in range(200):
        stream.seek(0, batch)
        mixture = mixup(x, labels)
        assert 0.5 <= mixture.share <= 1
        assert mixture.x.dtype == np.float32
        np.testing.assert_array_equal(mixture.others, labels[::-1])
        expected = mixture.share * x + (1 - mixture.share) * x[::-1]
        np.testing.assert_allclose(mixture.x, expected, atol=1e-6)
        shares.add(mixture.share)
    assert len(shares) > 190
    assert min(shares) < 0.6
    assert max(shares) > 0.95


def test_the_draw_belongs_to_the_batch():
    x, labels, shares = np.zeros((2, 3), np.float32), np.arange(2), []
    for epoch, batch in ((3, 4), (3, 5), (3, 4)):
        stream = Stream(1)
        mixup = Mixup(0.2, stream)
        stream.seek(epoch, batch)
        shares.append(mixup(x, labels).share)
    assert shares[0] == shares[2] != shares[1]


def test_without_strength_nothing_is_mixed():
    x, labels = np.ones((2, 3), np.float32), np.arange(2)
    mixture = Mixup(0.0, Stream(0))(x, labels)
    assert mixture.x is x
    loss, dlogits = mixture_loss(x, mixture, 0.1)
    expected, expected_d = softmax_cross_entropy(x, labels, 0.1)
    assert loss == expected
    np.testing.assert_array_equal(dlogits, expected_d)


@pytest.mark.parametrize("members", [1, 3])
def test_the_gradient_of_a_mixtures_loss(members):
    rng = np.random.default_rng(0)
    mixture = Mixture(np.zeros((4, 2)), np.array([0, 1, 2, 1]), np.array([1, 2, 1, 0]), 0.7)
    logits = rng.standard_normal((4 * members, 5))
    assert gradcheck_loss(lambda z: mixture_loss(z, mixture, 0.1), logits, rng) < 1e-7
    target = np.zeros((4, 5))
    target[np.arange(4), mixture.labels] += 0.7
    target[np.arange(4), mixture.others] += 0.3
    target = np.tile(0.9 * target + 0.02, (members, 1))
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert mixture_loss(logits, mixture, 0.1)[0] == pytest.approx(-(target * log_p).sum() / len(logits))
