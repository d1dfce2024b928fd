"""Networks of classes of one's own are frozen whole, wherever these keep their layers and arrays."""

from __future__ import annotations

import numpy as np
import pytest

from core.frozen import freeze
from core.frozen.replay import WORTH_WRITING_DOWN
from core.layers import BatchNorm, Dropout, Flatten, Linear, Residual, Sequential, Tanh
from core.layers.base import Wrapper
from core.random import Stream


class WithHead(Sequential):
    """A chain with further layers, through which it goes last."""

    def __init__(self, rng, *layers):
        super().__init__(*layers)
        self.norm, self.head = BatchNorm(4, dtype=np.float64), Linear(4, 2, rng=rng, dtype=np.float64)

    def forward(self, x, train=False):
        return self.head.forward(self.norm.forward(super().forward(x, train), train), train)


def test_layers_beside_those_of_a_chain_are_frozen_too():
    rng = np.random.default_rng(0)
    network = WithHead(rng, Linear(5, 4, rng=rng, dtype=np.float64), BatchNorm(4, dtype=np.float64), Tanh())
    x = rng.standard_normal((6, 5))
    network.forward(x, train=True)
    expected = network.forward(x).copy()
    frozen = freeze(network)
    assert not frozen.parameters()
    for parameter in network.parameters():
        parameter.data[...] = 0
    network.norm.running_mean[...] = 7
    np.testing.assert_allclose(frozen.forward(x), expected, atol=1e-12)
    np.testing.assert_allclose(freeze(frozen).forward(x), expected, atol=1e-12)


def test_a_norm_with_two_names_is_frozen_under_both():
    rng = np.random.default_rng(0)

    class Again(Sequential):
        def __init__(self):
            super().__init__(norm=BatchNorm(3, dtype=np.float64))
            self.again = self.layers["norm"]

        def forward(self, x, train=False):
            return self.again.forward(super().forward(x, train), train)

    network, x = Again(), rng.standard_normal((6, 3))
    network.layers["norm"].running_mean[...] = 2
    expected = network.forward(x).copy()
    frozen = freeze(network)
    network.layers["norm"].running_mean[...] = 7
    np.testing.assert_allclose(frozen.forward(x), expected, atol=1e-12)


def test_layers_of_a_class_that_calls_them_otherwise_are_replaced():
    class Renamed(Residual):
        def __init__(self, **layers):
            super().__init__(Flatten())
            self.layers = layers

        def children(self):
            yield from ((name.upper(), layer) for name, layer in self.layers.items())

        def forward(self, x, train=False):
            return self.layers["norm"].forward(x, train)

    network, x = Renamed(norm=BatchNorm(2)), np.ones((3, 2), np.float32)
    expected = network.forward(x).copy()
    np.testing.assert_allclose(freeze(network).forward(x), expected, atol=1e-6)


def test_what_is_inside_a_wrapper_in_a_chain_is_frozen():
    rng = np.random.default_rng(0)
    inner = Linear(3, 3, rng=rng)
    network, x = Sequential(Wrapped(inner), Tanh()), rng.standard_normal((2, 3), np.float32)
    frozen = freeze(network)
    expected = frozen.forward(x).copy()
    inner.weight.data[...] = 0
    np.testing.assert_array_equal(frozen.forward(x), expected)
    assert not frozen.parameters()


class Wrapped(Wrapper):
    """A wrapper that adds nothing."""

    def forward(self, x, train=False):
        return self.network.forward(x, train)


def test_a_chain_of_its_own_class_has_its_norms_folded():
    class Chain(Sequential):
        """Says what is inside."""

    rng = np.random.default_rng(0)
    network = Chain(Linear(5, 4, rng=rng), BatchNorm(4), Dropout(0.5, stream=Stream(0)), Tanh())
    assert [type(layer) for _, layer in freeze(network).children()] == [Linear, Tanh]


class NormReLU(BatchNorm):
    """A norm with an activation."""

    def forward(self, x, train=False):
        return np.maximum(super().forward(x, train), 0)


class MonteCarlo(Dropout):
    """Dropout that goes on in use, for an idea of how sure an answer is (Gal and Ghahramani, 2016)."""

    def forward(self, x, train=False):
        return super().forward(x, train=True)


@pytest.mark.parametrize("own", [lambda: NormReLU(16), lambda: MonteCarlo(0.5, stream=Stream(1))])
@pytest.mark.parametrize("place", [lambda own, linear: Sequential(linear, own), lambda own, _: Residual(own)])
def test_what_has_a_forward_of_its_own_keeps_it(own, place):
    rng = np.random.default_rng(0)
    network = Sequential(Linear(8, 16, rng=rng), place(own(), Linear(16, 16, rng=rng)), Linear(16, 4, rng=rng))
    frozen = freeze(network)
    for batch in range(2 * WORTH_WRITING_DOWN):
        for _, layer in (*network.walk(), *frozen.walk()):
            if hasattr(layer, "stream"):
                layer.stream.seek(0, batch)
        x = rng.standard_normal((5, 8), np.float32)
        np.testing.assert_allclose(frozen.forward(x), network.forward(x), rtol=1e-5, atol=1e-5)


def test_buffers_are_copied_and_layers_out_of_reach_are_refused():
    class Shift(Flatten):
        buffer_names = ("amount",)

        def __init__(self):
            super().__init__()
            self.amount = np.ones(1)

        def forward(self, x, train=False):
            return x + self.amount

    layer, x = Shift(), np.zeros((1, 2))
    frozen = freeze(layer)
    layer.amount[:] = 5
    assert frozen.forward(x).tolist() == [[1, 1]]

    class Both(Residual):
        def __init__(self, *layers):
            super().__init__(Flatten())
            del self.body
            self.pair = list(layers)

        def children(self):
            yield from zip("ab", self.pair, strict=True)

    with pytest.raises(TypeError, match="keep layers as attributes"):
        freeze(Both(BatchNorm(2), Flatten()))
