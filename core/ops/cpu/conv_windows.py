"""Convolution as a matrix product: what each output sees, side by side in a row ("im2col"), times the kernel.

Chellapilla, Puri and Simard 2006, "High performance convolutional neural networks for document processing".
"""

from __future__ import annotations

import numpy as np

from core.backend import Array
from core.memory import is_constant
from core.ops.cpu import products
from core.ops.cpu.frames import Frame, strided
from core.ops.cpu.large_product import MANY_ROWS, share
from core.ops.cpu.linear import linear_forward
from core.ops.cpu.products import ProductSum
from core.ops.windows import Windows
from core.workers import can_share
from core.workspaces import Workspace, derived, scratch

MULTIPLICATIONS_WORTH_SHARING = 8e6  # twice as many as where nothing has to be lined up
ROWS_SIZE = 1 << 17  # elements of all rows of a chunk: 512 KB in float32, a part of the second-level cache


def images_at_once(x: Array, windows: Windows) -> int:
    """How many images make a chunk."""
    (KH, KW), (OH, OW) = windows.kernel, windows.count(*x.shape[1:3])
    C: int = x.shape[3]
    return max(1, ROWS_SIZE // (KH * KW * C * OH * OW))


class WindowRows:
    """The windows of M images as rows, one matrix (M * OH * OW, KH * KW * C / G) for each of G groups."""

    def __init__(
        self, M: int, x: Array, weight: tuple[int, ...], windows: Windows, groups: int, workspace: Workspace
    ) -> None:
        self._x, self._windows, self._groups, self._workspace = x, windows, groups, workspace
        (KH, KW), (SH, SW), (RH, RW) = windows.kernel, windows.stride, windows.reach
        self._M, (self._OH, self._OW) = M, windows.count(*x.shape[1:3])
        self._C, self._K = x.shape[3] // groups, weight[1] // groups  # of one group
        self._frame_size = (self._OH - 1) * SH + RH, (self._OW - 1) * SW + RW
        self._frame: Frame | None = None  # images without padding show their windows themselves
        if windows.padding != (0, 0) or not x.flags.c_contiguous:
            self._frame = Frame("frame", M, self._frame_size, windows.padding, x, workspace).clear()
        self._rows = scratch(workspace, "rows", (groups, M * self._OH * self._OW, KH * KW * self._C), x)
        self._dweight = ProductSum("dweight", (groups, KH * KW * self._C, self._K), x, workspace)
        self._lined_up = self._rows.reshape(groups, M, self._OH, self._OW, KH, KW, self._C)
        self._seen = None if self._frame is None else self._seen_in(self._frame.pixels)

    def use(self, weight: Array, workspace: Workspace) -> None:
        """Begin with this weight (KH * KW * C, G * K), and with no gradient; see `WinogradTiles.use`."""
        self._weight = weight.reshape(-1, self._groups, self._K).transpose(1, 0, 2)  # (G, KH * KW * C, K)
        self._panels: Array | None = None
        if self._groups == 1 and is_constant(weight):
            pieces = products.pieces_of_panels(self._rows.shape[1], *weight.shape)
            if pieces:
                self._panels = derived(
                    workspace, f"panels {pieces}", weight, lambda weight: products.panels(weight, pieces)
                )
        self._dweight.clear()

    def take(self, images: Array) -> None:
        """Line up the windows of images (M, H, W, G * C)."""
        np.copyto(self._lined_up, self._seen_of(images))

    def convolve(self, images: Array, y: Array) -> None:
        """Fill y (M, OH, OW, G * K) from images (M, H, W, G * C)."""
        if self._panels is not None:
            self.take(images)
            products.product_with_panels(self._rows[0], self._panels, y.reshape(-1, self._K), self._workspace)
            return
        if self._is_worth_sharing() and can_share():
            self._convolve_together(self._seen_of(images), y)
            return
        self.take(images)
        if self._groups == 1:
            linear_forward(self._rows[0], self._weight[0], y.reshape(-1, self._K))
        else:
            np.matmul(self._rows, self._weight, out=self._by_group(y))

    def _is_worth_sharing(self) -> bool:
        has_much_to_do = self._rows.size * self._K >= MULTIPLICATIONS_WORTH_SHARING
        return self._groups == 1 and self._rows.shape[1] >= MANY_ROWS and has_much_to_do

    def _convolve_together(self, seen: Array, y: Array) -> None:
        """Each worker makes a part of the images, or of the lines of the only one, and lines up what it needs itself.

        What one of them had lined up for all would have to go from its cache into the others', which can take longer
        than the products.
        """
        one = 0 if self._M > 1 else (0, 0)  # the group, or the group and the image
        lined_up, seen = self._lined_up[one], seen[one]  # (M or OH, ...)
        rows = self._rows.reshape(len(lined_up), -1, self._rows.shape[2])
        outputs = y.reshape(len(lined_up), -1, self._K)

        def run(_: int, part: slice) -> None:
            np.copyto(lined_up[part], seen[part])
            products.product(rows[part].reshape(-1, rows.shape[2]), self._weight[0], outputs[part].reshape(-1, self._K))

        share(len(lined_up), run, multiple=1)

    def _seen_of(self, images: Array) -> Array:
        """The windows of images (M, H, W, G * C), which go into the frame if there is one."""
        if self._frame is None:
            return self._seen_in(images)
        assert self._seen is not None
        self._frame.put(images)
        return self._seen

    def _seen_in(self, images: Array) -> Array:
        """The overlapping windows of images in their frame, if there is one: (G, M, OH, OW, KH, KW, C)."""
        (KH, KW), (SH, SW), (DH, DW) = self._windows.kernel, self._windows.stride, self._windows.dilation
        M, OH, OW, G, C = self._M, self._OH, self._OW, self._groups, self._C
        _, FH, FW, _ = images.shape
        column, row, image = G * C, FW * G * C, FH * FW * G * C  # distances in the frame
        return strided(
            images,
            (G, M, OH, OW, KH, KW, C),
            (C, image, SH * row, SW * column, DH * row, DW * column, 1),
        )

    def backward(self, dy: Array, dimages: Array | None) -> None:
        """Add to the weight gradient, and fill dimages (M, H, W, G * C) if it is wanted."""
        self._dweight.add(self._rows.transpose(0, 2, 1), self._by_group(dy))
        if dimages is not None:
            self._input_gradient(dy, dimages)

    def weight_gradient(self) -> Array:
        """The sum of rows^T dy, as (KH * KW * C, G * K)."""
        value = self._dweight.value().transpose(1, 0, 2)  # (KH * KW * C, G, K)
        return value.reshape(len(value), -1)  # type: ignore[no-any-return]

    def _input_gradient(self, dy: Array, dimages: Array) -> None:
        """Each point of the kernel sends dy weight^T back to the pixels that it has seen."""
        (KH, KW), (SH, SW), (DH, DW) = self._windows.kernel, self._windows.stride, self._windows.dilation
        M, OH, OW, G, C, K = self._M, self._OH, self._OW, self._groups, self._C, self._K
        weight_t = self._weight.reshape(G, KH * KW, C, K).transpose(1, 0, 3, 2)  # (KH * KW, G, K, C)
        drows = self._workspace("drows", (KH * KW, M * OH * OW, G, C), like=dy)
        np.matmul(self._by_group(dy), weight_t, out=drows.transpose(0, 2, 1, 3))
        dframe = Frame("dframe", M, self._frame_size, self._windows.padding, self._x, self._workspace).clear()
        for a in range(KH):
            for b in range(KW):
                down = slice(a * DH, a * DH + (OH - 1) * SH + 1, SH)
                across = slice(b * DW, b * DW + (OW - 1) * SW + 1, SW)
                seen = dframe.pixels[:, down, across]
                seen += drows[a * KW + b].reshape(seen.shape)
        dframe.get(dimages)

    def _by_group(self, y: Array) -> Array:
        """y (M, OH, OW, G * K) as one matrix a group: (G, M * OH * OW, K)."""
        return y.reshape(-1, self._groups, self._K).transpose(1, 0, 2)  # type: ignore[no-any-return]
