"""Many small pictures in one, to look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GAP, GAP_GREY = 1, 70  # pixels between two pictures, and how bright they are


def side_by_side(pictures: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Pictures (n, H, W) or (n, H, W, 3) in rows of `columns`, as one picture."""
    n, H, W, *channels = pictures.shape
    rows = -(-n // columns)
    whole = np.full((rows * (H + GAP) - GAP, columns * (W + GAP) - GAP, *channels), GAP_GREY, np.uint8)
    for place, picture in enumerate(pictures):
        top, left = place // columns * (H + GAP), place % columns * (W + GAP)
        whole[top : top + H, left : left + W] = picture
    return whole
