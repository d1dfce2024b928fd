"""Pictures of what a network on colour images has inside: its filters, and maps laid over the image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.backend import Array
from core.data.colour import LUMA
from core.demo.mosaic import side_by_side
from core.demo.saliency import Saliency, as_overlay
from core.layers import Layer


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
    strength = np.sqrt((filters**2).sum(axis=(0, 1, 2)))  # (F,)
    chosen = np.sort(np.argsort(-strength, kind="stable")[:most])
    shown = filters[..., chosen] / np.maximum(np.abs(filters[..., chosen]).max(axis=(0, 1, 2)), 1e-12)
    pictures = (127.5 * (1 + shown)).round().astype(np.uint8)  # (k, k, C, F)
    columns = next(n for n in range(math.ceil(math.sqrt(len(chosen))), len(chosen) + 1) if len(chosen) % n == 0)
    in_colour = np.broadcast_to(pictures, (*pictures.shape[:2], 3, len(chosen)))  # also where C is 1
    return side_by_side(in_colour.transpose(3, 0, 1, 2), columns)
