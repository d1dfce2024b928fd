"""Asking a trained classifier about one picture, and showing its answer: the same for every demo on pictures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.backend import Array
from core.demo import cards
from core.demo.saliency import Saliency, as_overlay
from core.frozen import freeze
from core.layers import Layer


@dataclass(frozen=True)
class Prediction:
    """What the network was shown, how probable it finds each class (K,), and what each pixel contributed (H, W)."""

    image: NDArray[np.uint8]
    probabilities: NDArray[np.float64]
    contribution: NDArray[np.float64]


class Recogniser:
    """A network that answers one picture at a time, from any thread.

    `prepare` turns uint8 (N, H, W) into the network's input, `to_probabilities` its outputs (N, K) into probabilities.
    """

    def __init__(
        self,
        network: Layer,
        classes: Sequence[str],
        prepare: Callable[[Array], Array],
        to_probabilities: Callable[[Array], Array],
    ) -> None:
        self.network, self.classes = freeze(network), tuple(classes)
        self.prepare, self.to_probabilities = prepare, to_probabilities
        self.explain = Saliency(self.network)
        self._lock = threading.Lock()  # layers reuse their workspaces, so two answers at once would mix

    def predict(self, image: NDArray[np.uint8]) -> Prediction:
        """The answer for one picture uint8 (H, W)."""
        with self._lock:
            x = self.prepare(image[None])  # (1, H, W)
            probabilities = self.to_probabilities(self.network.forward(x))[0].astype(np.float64)  # (K,)
            # Measured from black, not from the mean: a pixel without ink says nothing by itself.
            black = self.prepare(np.zeros_like(image[None]))
            contribution = self.explain(x, black)[0].astype(np.float64)  # (H, W)
        return Prediction(image, probabilities, contribution)

    def page(self, prediction: Prediction) -> str:
        """The answer as HTML: the best classes, what the network saw, and what spoke for and against the answer."""
        answer = self.classes[int(prediction.probabilities.argmax())]
        overlay = as_overlay(prediction.image, prediction.contribution)
        return cards.answers(self.classes, prediction.probabilities) + cards.pictures(
            (
                prediction.image,
                "What the network sees",
                "Your picture as {} × {} pixels".format(*prediction.image.shape),
            ),
            (overlay, f"Why {answer}", "Pixels that speak {for} and {against} it"),
        )
