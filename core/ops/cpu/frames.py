"""Images in a larger frame, and views of an array with strides of one's own."""

from __future__ import annotations

import numpy as np

from core.backend import Array
from core.ops.windows import Pair
from core.workspaces import Workspace


class Frame:
    """M images in a frame: `pixels` (M, FH, FW, C) shows them `padding` pixels away from its top left corner.

    What it is too small for is left out. Nobody but `clear` writes the border.
    """

    def __init__(self, name: str, M: int, size: Pair, padding: Pair, x: Array, workspace: Workspace) -> None:
        (FH, FW), (PH, PW), (_, H, W, C) = size, padding, x.shape
        self.pixels = workspace(name, (M, FH, FW, C), like=x)
        self._height, self._width = max(0, min(H, FH - PH)), max(0, min(W, FW - PW))
        last_row, last_column = PH + self._height, PW + self._width
        self._inside = self.pixels[:, PH:last_row, PW:last_column]
        self._holds_all = (self._height, self._width) == (H, W)
        self.has_border = min(PH, PW) > 0 and last_row < FH and last_column < FW  # nothing but padding all around

    def clear(self) -> Frame:
        """Fill it with zeros; returns self."""
        self.pixels.fill(0)
        return self

    def put(self, images: Array) -> None:
        """Copy images (M, H, W, C) into the frame."""
        self._inside[...] = images[:, : self._height, : self._width]

    def get(self, images: Array) -> None:
        """Copy from the frame into images (M, H, W, C); zeros where it does not reach."""
        if not self._holds_all:
            images.fill(0)
        images[:, : self._height, : self._width] = self._inside


def strided(array: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """A view of a C-contiguous array with other strides, counted in elements; NumPy checks that it stays inside."""
    steps = [stride * array.itemsize for stride in strides]
    view: Array = np.ndarray(shape, array.dtype, array.data, 0, steps)
    return view
