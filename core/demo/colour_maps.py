"""Pictures of what a network on colour images has inside: its filters, and maps laid over the image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.backend import Array
from core.data.colour import LUMA
from core.demo.saliency import Saliency, as_overlay
from core.layers import Layer

GAP, GAP_GREY = 1, 70  # pixels between two filters, and how bright they are


class ClassActivation:
    """Where in a picture a network finds what it answers.

    With the network in two parts, features up to the last maps A (h, w, K) and the head behind them, the map is the sum
    over k of dS/dA_k * A_k, S being the logit of the answer less the mean of the others: to first order what each place
    contributes. For a head that takes the mean over all places and one matrix product, it is the class activation map
    of Zhou et al. 2016 (arXiv:1512.04150); elsewhere a relative of Grad-CAM (Selvaraju et al. 2017) that keeps places.
    """

    def __init__(self, features: Layer, head: Layer) -> None:
        self.features = features.replica()
        self.explain = Saliency(head)

    def __call__(self, x: Array) -> NDArray[np.float64]:
        """The map (h, w) for a prepared picture (1, H, W, C)."""
        found = self.features.forward(x)  # (1, h, w, K)
        contribution: NDArray[np.float64] = self.explain(found)[0].sum(axis=-1).astype(np.float64)
        return contribution


def over_picture(picture: NDArray[np.uint8], values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A map (h, w), enlarged smoothly, over the greyed picture uint8 (H, W, 3): blue for above 0, orange for below."""
    H, W = picture.shape[:2]
    enlarged = np.asarray(Image.fromarray(values.astype(np.float32)).resize((W, H), Image.Resampling.BICUBIC))
    grey = (picture @ np.array(LUMA)).astype(np.uint8)
    return as_overlay(grey, enlarged)


def filter_mosaic(filters: Array, most: int = 64) -> NDArray[np.uint8]:
    """The `most` strongest of filters (k, k, C, F), C being 1 or 3, side by side in colour; uint8 (H, W, 3).

    Grey stands for 0; each filter fills the scale by itself.
    """
    k = len(filters)
    strength = np.sqrt((filters**2).sum(axis=(0, 1, 2)))  # (F,)
    chosen = np.sort(np.argsort(-strength, kind="stable")[:most])
    shown = filters[..., chosen] / np.maximum(np.abs(filters[..., chosen]).max(axis=(0, 1, 2)), 1e-12)
    pictures = (127.5 * (1 + shown)).round().astype(np.uint8)  # (k, k, C, F)
    columns = next(n for n in range(math.ceil(math.sqrt(len(chosen))), len(chosen) + 1) if len(chosen) % n == 0)
    rows = len(chosen) // columns
    mosaic = np.full((rows * (k + GAP) - GAP, columns * (k + GAP) - GAP, 3), GAP_GREY, np.uint8)
    for place in range(len(chosen)):
        top, left = place // columns * (k + GAP), place % columns * (k + GAP)
        mosaic[top : top + k, left : left + k] = pictures[..., place]
    return mosaic
