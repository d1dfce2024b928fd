"""The network of music_cuda: its form, its gradients, and the normal scores that may come first."""

from __future__ import annotations

import numpy as np
import pytest

from core.backend import to_cpu, to_device
from core.data.normalize import Normalize
from core.frozen import freeze
from core.gradcheck import gradcheck
from core.kernels.emulated import emulated_gpu
from core.layers import Linear
from core.losses import softmax_cross_entropy
from core.random import Stream
from music_cuda.model import Architecture, NormalScores, build, fit_scores, preprocess
from music_cuda.table import FEATURES, GENRES

EVERYTHING = Architecture(
    hidden=(12, 6), normal_scores=True, batch_norm=True, dropout=0.3, input_dropout=0.1, members=3
)


def songs(n=40, seed=0):
    return np.random.default_rng(seed).standard_normal((n, len(FEATURES))).astype(np.float32)


def test_the_default_is_57_32_16_10_with_he_weights():
    network = build(Architecture())
    linears = [layer for layer in network.layers.values() if isinstance(layer, Linear)]
    assert [linear.weight.data.shape for linear in linears] == [(57, 32), (32, 16), (16, 10)]
    for linear in linears:
        expected = np.sqrt(2 / linear.in_features)
        assert linear.weight.data.std() == pytest.approx(expected, rel=0.15)
        assert not linear.bias.data.any()
    assert str(Architecture()) == "perceptron 57-32-16-10"
    assert str(EVERYTHING) == "committee of 3 perceptrons 57-12-6-10"


def test_the_gradients_are_right():
    network = build(Architecture(hidden=(9, 5))).to(dtype=np.float64)
    assert gradcheck(network, songs(7).astype(np.float64), np.random.default_rng(0)) < 1e-6


def test_everything_at_once_runs_and_comes_back_from_its_description():
    assert Architecture.from_dict(EVERYTHING.to_dict()) == EVERYTHING
    network, x = build(EVERYTHING, stream=Stream(0)), songs()
    fit_scores(network, x)
    network.skip_input_grad()
    assert sorted(a.shape for a in network.state_dict().values() if a.ndim == 2) == sorted(EVERYTHING.matrices())
    logits = network.forward(x, train=True)
    assert logits.shape == (3 * len(x), len(GENRES))
    assert logits.dtype == np.float32
    _, dlogits = softmax_cross_entropy(logits, np.zeros(len(logits), np.int64))
    assert network.backward(dlogits) is None, "nothing below the members learns"
    assert all(np.abs(parameter.grad).max() > 0 for parameter in network.parameters())
    assert network.forward(x).shape == (len(x), len(GENRES))


def test_normal_scores_agree_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    x = np.exp(np.random.default_rng(0).normal(3, 2, (2000, 3))).astype(np.float32)
    layer = NormalScores(3)
    layer.fit(x)
    scores = layer.forward(x)
    assert scores.dtype == np.float32
    expected = stats.norm.ppf((stats.rankdata(x, axis=0) - 0.5) / len(x))
    inner = np.abs(expected) < 2
    np.testing.assert_allclose(scores[inner], expected[inner], atol=0.03)


def test_normal_scores_are_the_same_on_a_gpu():
    x = songs()
    layer = NormalScores(x.shape[1])
    layer.fit(x)
    expected = layer.forward(x)
    with emulated_gpu():
        np.testing.assert_allclose(to_cpu(layer.to("gpu").forward(to_device(x, "gpu"))), expected, rtol=1e-6)


def test_normal_scores_of_ties_lie_in_their_middle_and_strange_values_are_not_extreme():
    x = np.repeat([1.0, 2.0, 3.0], 100)[:, None].astype(np.float32)
    layer = NormalScores(1)
    layer.fit(x)
    low, middle, high = layer.forward(np.array([[1], [2], [3]], np.float32))[:, 0]
    assert middle == pytest.approx(0, abs=0.02)
    assert low == pytest.approx(-high, abs=0.02)
    beyond = layer.forward(np.array([[-1e30], [1e30]], np.float32))[:, 0]
    assert -3 < beyond[0] <= low
    assert high <= beyond[1] < 3


def test_normal_scores_never_fall():
    x = songs(300)
    layer = NormalScores(x.shape[1])
    layer.fit(x)
    line = np.repeat(np.linspace(-5, 5, 500, dtype=np.float32)[:, None], x.shape[1], axis=1)
    assert (np.diff(layer.forward(line).copy(), axis=0) >= 0).all()


def test_normal_scores_pass_a_gradient_back_once_and_where_it_is_wanted():
    x = songs(300)
    x[:, 0] = x[:, 0].round()  # where many knots coincide
    layer = NormalScores(x.shape[1])
    layer.fit(x)
    layer.to(dtype=np.float64)
    other = np.random.default_rng(1).standard_normal((6, x.shape[1]))
    other[0] = 9  # beyond all knots
    assert gradcheck(layer, other, np.random.default_rng(0), samples=200) < 1e-6
    layer.forward(other, train=True)
    dx = layer.backward(np.ones_like(other))
    assert not dx[0].any()
    assert (dx[1:, 1:] > 0).mean() > 0.9
    with pytest.raises(RuntimeError, match=r"NormalScores.backward needs a forward"):
        layer.backward(np.ones_like(other))
    layer.skip_input_grad().forward(other, train=True)
    assert layer.backward(np.ones_like(other)) is None


def test_a_frozen_network_of_everything_has_the_gradient_of_its_input():
    network, x = build(EVERYTHING), songs(300)
    fit_scores(network, x)
    frozen = freeze(network.to(dtype=np.float64).skip_input_grad())
    assert gradcheck(frozen, songs(5, seed=1).astype(np.float64), np.random.default_rng(0)) < 1e-5


def test_normal_scores_want_their_features():
    with pytest.raises(ValueError, match=r"NormalScores expected \(N, ..., 57\), got \(3, 4\)"):
        NormalScores(57).forward(np.zeros((3, 4), np.float32))


def test_preprocess_gives_z_scores_of_the_training_songs():
    features = songs() * 1e4 + 3e5
    z = preprocess(features, Normalize.fit(features, per_channel=True))
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=1e-3)
