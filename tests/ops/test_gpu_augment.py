"""Augmentation of a data set on the GPU does to the images what core.data.augment does to them on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from core.data.augment import Compose, Cutout, HorizontalFlip, RandomCrop
from core.ops import cpu
from core.ops.cpu.augment import PixelAugment
from core.random import Stream


@pytest.mark.parametrize("border", ["constant", "reflect"])
def test_it_is_crop_flip_and_cutout(border):
    rng, N = np.random.default_rng(0), 200
    images, rows = rng.integers(0, 256, (30, 9, 12, 3), dtype=np.uint8), rng.integers(0, 30, N)
    draws = Stream(1).draws(2, N, cpu.AUGMENT_DRAWS)
    fill = 0.0 if border == "reflect" else 0.25
    augment = Compose([RandomCrop(3, border, fill), HorizontalFlip(0.4), Cutout(5, fill)])
    expected = augment.apply(images[rows].astype(np.float32) / np.float32(255), draws.uint16())
    mean, inverse_std = np.array([0.5, 0.4, 0.3], np.float32), np.array([2, 3, 4], np.float32)
    y = np.empty((N, 9, 12, 3), np.float32)
    change = PixelAugment(3, border == "reflect", 0.4, 5, fill)
    cpu.augment_images(images, rows, draws.uint16(), change, 1 / 255, mean, inverse_std, y)
    np.testing.assert_allclose(y, (expected - mean) * inverse_std, rtol=1e-5, atol=1e-6)
