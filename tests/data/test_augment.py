"""Compose, and the transforms that move whole pixels or change colours; test_warp.py has the geometric ones."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from core.data.augment import Affine, ColourJitter, Compose, Cutout, Elastic, HorizontalFlip, RandomCrop
from core.random import Stream

RNG = np.random.default_rng(0)
IMAGES = RNG.random((9, 12, 10, 3), np.float32)
EVERYTHING = [
    RandomCrop(3, border="reflect"),
    HorizontalFlip(),
    Affine(rotate=15, scale=0.1, shift=1),
    Elastic(alpha=10, sigma=2),
    ColourJitter(0.2, 0.2, 0.2),
    Cutout(4, fill=0.5),
]
SINGLE = [[transform] for transform in EVERYTHING]


def draws_for(augment, images, seed=1):
    return np.random.default_rng(seed).random((len(images), augment.columns(images.shape[1:])), np.float32)


@pytest.mark.parametrize("transforms", [[], *SINGLE, EVERYTHING], ids=repr)
@pytest.mark.parametrize("shape", [(5, 12, 10), (5, 12, 10, 1), (5, 9, 14, 3), (0, 12, 10, 3)])
def test_float32_of_the_same_shape_comes_out_and_the_input_stays(transforms, shape):
    images = RNG.random(shape, np.float32)
    before = images.copy()
    result = Compose(transforms)(images, np.random.default_rng(3))
    assert result.dtype == np.float32
    assert result.shape == shape
    assert np.isfinite(result).all()
    np.testing.assert_array_equal(images, before)
    assert not np.shares_memory(result, images)


@pytest.mark.parametrize("transforms", [*SINGLE, EVERYTHING], ids=repr)
def test_a_sample_does_not_depend_on_how_the_batch_is_split(transforms, monkeypatch):
    images = RNG.random((150, 12, 10, 3), np.float32)
    augment = Compose(transforms)
    draws = draws_for(augment, images)
    whole = augment.apply(images, draws).copy()
    for cuts in ([0, 75, 150], [0, 1, 30, 149, 150]):
        shards = [augment.apply(images[a:b], draws[a:b]).copy() for a, b in pairwise(cuts)]
        np.testing.assert_array_equal(np.concatenate(shards), whole)
    monkeypatch.setattr("core.data.augment.CHUNK", 1)
    np.testing.assert_array_equal(augment.apply(images, draws), whole)


def test_shards_with_the_draws_of_a_stream_make_up_the_batch():
    augment = Compose(EVERYTHING)
    width = augment.columns(IMAGES.shape[1:])
    stream = Stream(seed=4)
    stream.seek(epoch=2, batch=7)
    whole = augment.apply(IMAGES, stream.uint16(1, len(IMAGES), width)).copy()
    stream.first_row = 5
    shard = augment.apply(IMAGES[5:], stream.uint16(1, len(IMAGES) - 5, width))
    np.testing.assert_array_equal(shard, whole[5:])


def test_a_generator_gives_the_first_images_the_first_draws():
    augment = Compose(EVERYTHING)
    whole = augment(IMAGES, np.random.default_rng(8)).copy()
    np.testing.assert_array_equal(augment(IMAGES[:4], np.random.default_rng(8)), whole[:4])
    assert not np.array_equal(augment(IMAGES, np.random.default_rng(9)), whole)


def test_equal_images_are_augmented_differently():
    same = np.repeat(IMAGES[:1], 9, axis=0)
    result = Compose(EVERYTHING)(same, np.random.default_rng(0))
    assert len(np.unique(result.reshape(9, -1), axis=0)) == 9


def test_uint16_draws_stand_for_fractions_of_65536():
    augment = Compose(EVERYTHING)
    coarse = np.random.default_rng(0).integers(0, 2**16, (9, augment.columns((12, 10, 3))), np.uint16)
    expected = augment.apply(IMAGES, (coarse / 65536).astype(np.float32)).copy()
    np.testing.assert_array_equal(augment.apply(IMAGES, coarse), expected)


def test_the_workspace_is_used_again_and_each_thread_has_its_own():
    augment = Compose(EVERYTHING)
    tables = [draws_for(augment, IMAGES, seed) for seed in range(40)]
    expected = [augment.apply(IMAGES, draws).copy() for draws in tables]
    first = augment.apply(IMAGES, tables[0])
    assert np.shares_memory(first, augment.apply(IMAGES, tables[1]))
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda draws: augment.apply(IMAGES, draws).copy(), tables))
    np.testing.assert_array_equal(results, expected)


def test_transforms_happen_in_the_given_order():
    fill_then_darken = Compose([Cutout(40, fill=1.0), ColourJitter(brightness=0.5)])
    darken_then_fill = Compose([ColourJitter(brightness=0.5), Cutout(40, fill=1.0)])
    draws = np.zeros((9, 5), np.float32)
    np.testing.assert_allclose(fill_then_darken.apply(IMAGES, draws), 0.5, rtol=1e-6)
    np.testing.assert_array_equal(darken_then_fill.apply(IMAGES, draws), np.ones_like(IMAGES))


def test_each_transform_has_draws_of_its_own():
    augment = Compose(EVERYTHING)
    draws = draws_for(augment, IMAGES)
    step_by_step, first = IMAGES, 0
    for stage in augment.stages:
        last = first + stage.columns((12, 10, 3))
        step_by_step = Compose([stage]).apply(step_by_step, draws[:, first:last])
        first = last
    assert first == draws.shape[1]
    np.testing.assert_array_equal(augment.apply(IMAGES, draws), step_by_step)


def test_wrong_input_is_refused():
    augment = Compose([RandomCrop(2)])
    with pytest.raises(TypeError, match="expected float32 images, got float64"):
        augment(IMAGES.astype(np.float64), RNG)
    with pytest.raises(ValueError, match=r"expected images .*, got \(12, 10\)"):
        augment.apply(IMAGES[0, :, :, 0], np.zeros((12, 2), np.float32))
    with pytest.raises(ValueError, match=r"expected draws \(9, 2\) .*, got \(9, 3\)"):
        augment.apply(IMAGES, np.zeros((9, 3), np.float32))


@pytest.mark.parametrize(("border", "mode"), [("constant", {"constant_values": 0.25}), ("reflect", {})])
def test_a_crop_is_a_window_of_the_padded_image(border, mode):
    padded = np.pad(IMAGES, ((0, 0), (3, 3), (3, 3), (0, 0)), mode=border, **mode)
    crop = Compose([RandomCrop(3, border, fill=0.25)])
    places = np.array([[0, 0], [6, 6], [3, 3], [0, 6], [1, 5], [2, 2], [4, 0], [5, 3], [6, 1]])
    result = crop.apply(IMAGES, ((places + 0.5) / 7).astype(np.float32))
    for image, whole, (top, left) in zip(result, padded, places, strict=True):
        np.testing.assert_array_equal(image, whole[top : top + 12, left : left + 10])


def test_every_place_of_a_crop_is_equally_likely():
    spot = np.zeros((8000, 5, 5), np.float32)
    spot[:, 2, 2] = 1
    counts = Compose([RandomCrop(2)])(spot, np.random.default_rng(0)).sum(axis=0)
    np.testing.assert_allclose(counts, 8000 / 25, rtol=0.25)


def test_more_reflection_than_image_is_refused():
    with pytest.raises(ValueError, match="at most 9 pixels of 12x10, got padding=10"):
        Compose([RandomCrop(10, border="reflect")])(IMAGES, RNG)


@pytest.mark.parametrize(
    "impossible",
    [
        lambda: RandomCrop(-1),
        lambda: RandomCrop(1, border="edge"),
        lambda: Cutout(-2),
        lambda: HorizontalFlip(2.0),
        lambda: HorizontalFlip(float("nan")),
        lambda: ColourJitter(contrast=float("nan")),
        lambda: ColourJitter(saturation=-0.1),
        lambda: ColourJitter(brightness=float("inf")),
    ],
)
def test_impossible_transforms_are_refused(impossible):
    with pytest.raises(ValueError, match=r"(RandomCrop|Cutout|HorizontalFlip|ColourJitter) expected .*, got "):
        impossible()


def test_flipping_twice_gives_the_image_back():
    flip = Compose([HorizontalFlip(probability=1)])
    once = flip(IMAGES, RNG).copy()
    np.testing.assert_array_equal(once, IMAGES[:, :, ::-1])
    np.testing.assert_array_equal(flip(once, RNG), IMAGES)


def test_the_asked_share_of_the_images_is_flipped():
    flip = Compose([HorizontalFlip(probability=0.3)])
    result = flip.apply(IMAGES, np.linspace(0, 1, 9, endpoint=False, dtype=np.float32)[:, None])  # 0, 1/9, 2/9 < 0.3
    np.testing.assert_array_equal(result[:3], IMAGES[:3, :, ::-1])
    np.testing.assert_array_equal(result[3:], IMAGES[3:])
    never = Compose([HorizontalFlip(probability=0)])
    np.testing.assert_array_equal(never.apply(IMAGES, np.zeros((9, 1), np.float32)), IMAGES)


@pytest.mark.parametrize("size", [1, 4, 5, 30])
@pytest.mark.parametrize("fill", [0.0, 0.5])
def test_cutout_blanks_one_square_around_any_pixel(size, fill):
    cutout = Compose([Cutout(size, fill)])
    centres = np.array([[y, x] for y in range(12) for x in range(10)])
    images = RNG.random((120, 12, 10, 3), np.float32)
    result = cutout.apply(images, ((centres + 0.5) / [12, 10]).astype(np.float32))
    expected = images.copy()
    for image, (y, x) in zip(expected, centres - size // 2, strict=True):
        image[max(y, 0) : y + size, max(x, 0) : x + size] = fill
    np.testing.assert_array_equal(result, expected)


def jitter_step_by_step(image, b, c, s):
    grey = np.array([0.299, 0.587, 0.114]) if image.shape[-1] == 3 else np.ones(1)
    image = b * image.astype(np.float64)
    image = c * image + (1 - c) * (image @ grey).mean()
    image = s * image + (1 - s) * (image @ grey)[..., None]
    return np.clip(image, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_jitter_is_brightness_then_contrast_then_saturation(channels):
    images = RNG.random((20, 6, 7, channels), np.float32)
    draws = RNG.random((20, 3), np.float32)
    factors = 1 + (2 * draws - 1) * [0.5, 0.4, 0.9]
    result = Compose([ColourJitter(0.5, 0.4, 0.9)]).apply(images, draws)
    expected = [jitter_step_by_step(image, *f) for image, f in zip(images, factors, strict=True)]
    np.testing.assert_allclose(result, expected, atol=2e-6)


@pytest.mark.parametrize("transform", [ColourJitter(), RandomCrop(0), HorizontalFlip(0), Affine(), Elastic(alpha=0)])
def test_transforms_without_strength_give_the_input_back_bit_for_bit(transform):
    np.testing.assert_array_equal(Compose([transform])(IMAGES, RNG), IMAGES)
