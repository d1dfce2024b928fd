"""Colour jitter: brightness, contrast and saturation of each image, varied by one small matrix product."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core.backend import Array

LUMA = (0.299, 0.587, 0.114)  # how bright red, green and blue look; ITU-R BT.601


@dataclass(frozen=True)
class ColourJitter:
    """Multiply brightness, contrast and saturation by factors drawn evenly from 1 - bound to 1 + bound, in this order.

    With factors b, c and s, g(x) the grey value of a pixel x and m the mean grey value of the image:

        brightness  x1 = b x
        contrast    x2 = c x1 + (1 - c) b m
        saturation  x3 = s x2 + (1 - s) g(x2)

    All three are linear in the pixel, so together x3 = x T + (1 - c) b m with T = b c (s I + (1 - s) g). The result is
    limited to 0 .. 1 once, at the end. Grey values are weighted by LUMA for three channels, else evenly. Raises
    ValueError for a bound that is negative or not finite.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def __post_init__(self) -> None:
        if not all(0 <= bound < math.inf for bound in (self.brightness, self.contrast, self.saturation)):
            raise ValueError(f"ColourJitter expected finite bounds >= 0, got {self}")

    def columns(self, shape: tuple[int, int, int]) -> int:
        """How many numbers an image of `shape` (H, W, C) draws."""
        return 3

    def apply(self, images: Array, draws: Array, out: Array) -> None:
        """Write the jittered images into `out`, both (n, H, W, C) float32 of 0 to 1 and possibly the same array."""
        n, H, W, C = images.shape
        pixels = images.reshape(n, H * W, C)
        grey = np.array(LUMA if C == 3 else [1 / C] * C, np.float32)
        bounds = np.array([self.brightness, self.contrast, self.saturation], np.float32)
        b, c, s = (1 + (2 * draws - 1) * bounds).T[:, :, None]  # (n, 1) each
        mean_colour = np.full(H * W, 1 / (H * W), np.float32) @ pixels  # (n, C)
        mean = (mean_colour * grey).sum(axis=1, keepdims=True)  # (n, 1)

        # Row i of T says what channel i gives to each channel: all of itself, and its share of the grey in all.
        T = (b * c)[:, :, None] * (s[:, :, None] * np.eye(C, dtype=np.float32) + (1 - s)[:, :, None] * grey[:, None])
        result = np.matmul(pixels, T)  # (n, H * W, C)
        flat = result.reshape(n, H * W * C)
        flat += (1 - c) * b * mean
        np.clip(flat, 0, 1, out=out.reshape(n, H * W * C))
