"""Feature maps: what each convolution finds, and how the maps are laid out."""

from __future__ import annotations

import numpy as np
import pytest

from core.demo.feature_maps import FeatureMaps, mosaic
from core.demo.mosaic import GAP, GAP_GREY
from core.layers import Conv2d, ConvReLUPool, Flatten, Linear, MaxPool2d, ReLU, Sequential

RNG = np.random.default_rng(0)


def test_they_are_what_the_plain_layers_compute():
    fused = ConvReLUPool(1, 3, 3, rng=RNG)
    plain = Conv2d(3, 5, 3, rng=RNG)
    network = Sequential(first=fused, second=plain, flatten=Flatten(), last=Linear(5 * 2 * 3, 4, rng=RNG))
    x = RNG.standard_normal((1, 10, 12, 1), np.float32)
    maps = FeatureMaps(network)(x)
    assert {name: found.shape for name, found in maps.items()} == {"first": (8, 10, 3), "second": (2, 3, 5)}
    same = Conv2d(1, 3, 3, rng=RNG)
    same.load_state_dict(fused.state_dict())
    found = ReLU().forward(same.forward(x))
    np.testing.assert_allclose(maps["first"], found[0], atol=1e-6)
    np.testing.assert_allclose(maps["second"], plain.forward(MaxPool2d(2).forward(found))[0], atol=1e-5)


@pytest.mark.parametrize(("K", "columns"), [(1, 1), (7, 3), (16, 4), (32, 8)])
def test_the_maps_stand_in_rows(K, columns):
    maps = np.zeros((4, 8, K))
    maps[1, 2, K - 1] = 5.0
    picture = mosaic(maps)
    rows = -(-K // columns)
    assert picture.shape == (rows * (4 + GAP) - GAP, columns * (8 + GAP) - GAP)
    top, left = (K - 1) // columns * (4 + GAP), (K - 1) % columns * (8 + GAP)
    assert np.argwhere(picture == 255).tolist() == [[top + 1, left + 2]]
    if columns > 1:
        assert (picture[:4, 8] == GAP_GREY).all()


def test_maps_of_nothing_are_black():
    assert not mosaic(np.zeros((3, 6, 1))).any()
