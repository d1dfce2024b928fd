"""What would change the network's mind: cover each part of a picture in turn, and see what becomes of the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.backend import Array

GREY = 127  # of the patch


class Occlusion(NamedTuple):
    """What covering each place did."""

    drop: NDArray[np.float64]
    """How much of the answer's probability each pixel carries, (H, W): what covering it takes away, on average."""
    changed: float
    """The share of the covered places that change the answer."""
    worst: NDArray[np.uint8]
    """The picture (H, W, 3) with the patch where it takes most away."""
    worst_probabilities: NDArray[np.float64]
    """The answers to that picture, (K,)."""


def occlude(
    probabilities: Callable[[Array], Array], picture: NDArray[np.uint8], patch: int = 8, stride: int = 2
) -> Occlusion:
    """Cover `picture` uint8 (H, W, 3) by a grey patch, one place after the other; Zeiler and Fergus 2014, section 4.2.

    `probabilities` maps uint8 (N, H, W, 3) to (N, K). The patch has `patch` pixels a side and moves by `stride`. Raises
    ValueError for a picture smaller than the patch.
    """
    H, W = picture.shape[:2]
    if min(H, W) < patch:
        raise ValueError(f"occlude expected a picture of at least {patch}x{patch} pixels, got {H}x{W}")
    tops, lefts = (range(0, size - patch + 1, stride) for size in (H, W))
    places = [(top, left) for top in tops for left in lefts]
    covered = np.repeat(picture[None], len(places), axis=0)  # (P, H, W, 3)
    for image, (top, left) in zip(covered, places, strict=True):
        image[top : top + patch, left : left + patch] = GREY
    before = probabilities(picture[None])[0]  # (K,)
    after = probabilities(covered)  # (P, K)
    answer = int(before.argmax())
    lost = (before[answer] - after[:, answer]).astype(np.float64)  # (P,)
    answers = after.argmax(axis=1)
    worst = int(lost.argmax())
    return Occlusion(
        drop=_spread(lost, places, patch, (H, W)),
        changed=float((answers != answer).mean()),
        worst=covered[worst],
        worst_probabilities=after[worst].astype(np.float64),
    )


def _spread(values: NDArray[np.float64], places: list[tuple[int, int]], patch: int, size: Any) -> NDArray[np.float64]:
    """For each pixel the mean of the values of all patches that cover it, (H, W)."""
    total, count = np.zeros(size), np.zeros(size)
    for value, (top, left) in zip(values, places, strict=True):
        part = np.s_[top : top + patch, left : left + patch]
        total[part] += value
        count[part] += 1
    mean: NDArray[np.float64] = total / np.maximum(count, 1)
    return mean
