import json

import numpy as np
import pytest

from core.data.normalize import BLOCK, Normalize

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (30, 8, 6, 3), np.uint8)


def test_uint8_statistics_are_in_units_of_0_to_1():
    normalize = Normalize.fit(IMAGES)
    assert normalize.mean == pytest.approx((IMAGES / 255).mean(), rel=1e-6)
    assert normalize.std == pytest.approx((IMAGES / 255).std(), rel=1e-6)


def test_channel_statistics_are_those_of_the_last_axis():
    normalize = Normalize.fit(IMAGES, per_channel=True)
    np.testing.assert_allclose(normalize.mean, (IMAGES / 255).mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(normalize.std, (IMAGES / 255).std(axis=(0, 1, 2)), rtol=1e-6)


def test_statistics_of_more_than_one_block_and_of_large_offsets_are_exact():
    table = (RNG.normal(size=(BLOCK + 17, 2)) * [1, 5] + [1e6, -3]).astype(np.float64)
    normalize = Normalize.fit(table, per_channel=True)
    np.testing.assert_allclose(normalize.std, table.std(axis=0), rtol=1e-6)
    np.testing.assert_allclose(normalize.mean, table.mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("x", [IMAGES, RNG.normal(3, 2, (50, 7)), RNG.normal(3, 2, (50, 7)).astype(np.float32)])
def test_training_data_come_out_with_mean_0_and_deviation_1(x, per_channel):
    y = Normalize.fit(x, per_channel)(x)
    assert y.dtype == np.float32
    axes = tuple(range(x.ndim - 1)) if per_channel else None
    np.testing.assert_allclose(y.mean(axis=axes, dtype=np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=axes, dtype=np.float64), 1, atol=1e-5)


@pytest.mark.parametrize("mean", [0.0, 0.3, [0.1, 0.0, 0.4]])
def test_every_value_follows_the_formula(mean):
    std = np.full_like(mean, 0.25) + np.multiply(mean, 0.1)
    expected = (IMAGES / 255.0 - mean) / std
    np.testing.assert_allclose(Normalize(mean, std)(IMAGES), expected, rtol=1e-5, atol=1e-5)


def test_without_statistics_uint8_is_divided_by_255_and_float32_stays_bit_for_bit():
    np.testing.assert_allclose(Normalize()(IMAGES), IMAGES / 255, rtol=1e-6)
    x = RNG.normal(size=(4, 5)).astype(np.float32)
    np.testing.assert_array_equal(Normalize()(x), x)


def test_out_is_filled_and_returned_and_the_input_left_alone():
    x = RNG.normal(size=(4, 5)).astype(np.float32)
    before, out = x.copy(), np.empty_like(x)
    assert Normalize(1, 2)(x, out=out) is out
    np.testing.assert_array_equal(x, before)
    assert Normalize(1, 2)(x, out=x) is x
    np.testing.assert_array_equal(x, out)


def test_a_part_of_a_larger_array_can_be_normalised_in_place():
    x = RNG.random((4, 9, 9, 3)).astype(np.float32)
    expected = x.copy()
    expected[:, 2:5] = (expected[:, 2:5] - [1, 2, 3]) / [4, 5, 6]
    part = x[:, 2:5]
    Normalize([1, 2, 3], [4, 5, 6])(part, out=part)
    np.testing.assert_allclose(x, expected, rtol=1e-6)


def test_a_constant_channel_becomes_zero_instead_of_nan():
    x = np.stack([np.full(100, 0.1), RNG.normal(size=100), np.zeros(100)], axis=1)
    np.testing.assert_allclose(Normalize.fit(x, per_channel=True)(x)[:, [0, 2]], 0, atol=1e-6)


@pytest.mark.parametrize("normalize", [Normalize.fit(IMAGES), Normalize.fit(IMAGES, per_channel=True)])
def test_statistics_survive_json_exactly(normalize):
    again = Normalize.from_dict(json.loads(json.dumps(normalize.to_dict())))
    np.testing.assert_array_equal(again.mean, normalize.mean)
    np.testing.assert_array_equal(again.std, normalize.std)
    np.testing.assert_array_equal(again(IMAGES), normalize(IMAGES))


@pytest.mark.parametrize(
    ("mean", "std"),
    [(0, 0), (0, -1), (float("nan"), 1), (0, float("inf")), ([0, 0], 1), ([0, 0], [1, 1, 1]), ([[0]], [[1]])],
)
def test_impossible_statistics_are_refused(mean, std):
    with pytest.raises(ValueError, match="Normalize expected"):
        Normalize(mean, std)


@pytest.mark.parametrize("stored", [{}, {"mean": 0}, {"mean": 0, "std": "wide"}, {"mean": None, "std": None}])
def test_damaged_statistics_are_refused(stored):
    with pytest.raises(ValueError, match=r"Normalize expected|could not convert"):
        Normalize.from_dict(stored)


def test_a_spread_too_small_for_float32_counts_as_none():
    tiny = np.array([0.0, 1e-50, 2e-50])
    assert Normalize.fit(tiny).std == 1


def test_wrong_channels_and_empty_data_are_refused():
    with pytest.raises(ValueError, match=r"expected \(N, ..., 2\), got \(30, 8, 6, 3\)"):
        Normalize([0, 0], [1, 1])(IMAGES)
    with pytest.raises(ValueError, match="got none"):
        Normalize.fit(IMAGES[:0])
