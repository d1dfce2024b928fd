"""Which parts of the input speak for the answer, and which against it."""

from __future__ import annotations

import numpy as np

from core.backend import Array, array_module
from core.frozen import freeze
from core.layers import Layer


class Saliency:
    """Explains the answers of a network that maps (N, ...) to logits (N, K), as it answers at test time.

    The score of the answer is its logit minus the mean of the others. Its gradient with respect to the input, times
    the difference between the input and a neutral one, says to first order how much each element contributes (Shrikumar
    et al., "Not just a black box", 2016, where the neutral input is 0).

    The network that was given is not touched: a frozen copy does the work.
    """

    def __init__(self, model: Layer) -> None:
        self.model = freeze(model)

    def __call__(self, x: Array, neutral: Array | float = 0.0) -> Array:
        """The contribution of each element of `x` (N, ...) to the row's own answer, an array of the same shape.

        `neutral` is the input that says nothing, such as the black picture after normalisation.
        """
        logits = self.model.forward(x, train=True)  # (N, K)
        xp = array_module(logits)
        others = logits.shape[1] - 1
        dlogits = xp.full_like(logits, -1 / max(others, 1))
        dlogits[xp.arange(len(logits)), logits.argmax(axis=1)] = 1
        dx = self.model.backward(dlogits)
        assert dx is not None
        contribution: Array = dx * (x - neutral)
        return contribution


def as_overlay(image: np.ndarray, contribution: np.ndarray) -> np.ndarray:
    """Paint contributions (H, W) over a dimmed grey picture, uint8 (H, W): uint8 (H, W, 3), blue for, orange against.

    The strongest contribution gets the full colour; blue and orange are told apart by all common colour vision.
    """
    strength = contribution / max(float(np.abs(contribution).max()), 1e-12)  # (H, W), -1 to 1
    colours = np.where(strength[..., None] > 0, (86, 180, 233), (213, 94, 0))  # (H, W, 3)
    alpha = np.sqrt(np.abs(strength))[..., None]  # the root lets weaker contributions show too
    grey = np.repeat(0.45 * image[..., None].astype(np.float64), 3, axis=-1)
    return (alpha * colours + (1 - alpha) * grey).astype(np.uint8)
