"""Convolution for 2 x 2 pooling: the four outputs that meet in a maximum come from one common window.

They see (KH + 1) x (KW + 1) pixels together, so these are lined up once instead of KH x KW pixels four times. Each
output multiplies the rows of the window that it sees with the kernel, shifted to its column by a column of zeros:
(KW + 1) / KW times the products, but less than half of the copying, and the four come out as planes that are compared
at full speed.

Meant for few input channels, such as the first layer's. So a window's pixels do not lie side by side, which would make
short copies, but each pixel of all windows of an image: windows (M, KH + 1, WW, C, PH, PW) with WW = KW + 1, made even.
As neighbouring windows are two columns apart, even and odd columns of the images are kept apart as well.
"""

from __future__ import annotations

import numpy as np

from core.backend import Array
from core.memory import zeros
from core.ops.cpu.conv import conv2d_forward
from core.ops.cpu.conv_mirror import has_mirror, mirror
from core.ops.cpu.frames import strided
from core.ops.cpu.products import ProductSum
from core.ops.windows import Pair, Windows
from core.workspaces import Workspace, derived, scratch

WINDOWS_SIZE = 1 << 18  # elements of all windows of a chunk, or of one row of their outputs; see winograd.PLANE
MOST_CHANNELS = 7  # with more, runs of channels are long enough to be copied fast
PHASES = [(0, 0), (0, 1), (1, 0), (1, 1)]  # the row and column of an output among the four


def suits(windows: Windows, C: int) -> bool:
    """Whether there are few enough channels; and the gradient of the input has to be a convolution of its own."""
    return C <= MOST_CHANNELS and has_mirror(windows)


def images_at_once(size: Pair, C: int, K: int, windows: Windows) -> int:
    """How many images make a chunk; `size` is that of the output."""
    KH, KW = windows.kernel
    return max(1, WINDOWS_SIZE // ((size[0] // 2) * (size[1] // 2) * max((KH + 1) * (KW + 1) * C, 2 * K)))


class PhaseWindows:
    """The common windows of M images, and the way from them to the outputs and back.

    `outputs` (2, 2, M * PH * PW * K) has a plane for each of the four phases; `multiply` leaves the products there, and
    the gradients expect theirs there. `size` is that of the output, (OH, OW) = (2 PH, 2 PW).
    """

    def __init__(
        self, M: int, x: Array, weight: tuple[int, ...], windows: Windows, size: Pair, workspace: Workspace
    ) -> None:
        (KH, KW), C, K = windows.kernel, x.shape[3], weight[1]
        PH, PW = size[0] // 2, size[1] // 2
        pairs = KW // 2 + 1  # of columns of a window
        self._kernel, self._windows = (KH, KW, C, K), windows
        self._output_size, self._workspace = windows.count(*x.shape[1:3]), workspace
        self._shape = M, KH + 1, pairs, 2, C, PH, PW
        self._lined_up = scratch(workspace, "windows", (M, (KH + 1) * 2 * pairs * C, PH * PW), x)
        self._places = self._lined_up.reshape(self._shape)
        row = 2 * pairs * C
        # What the upper and the lower phases see of the windows: (2, 1, M, PH * PW, KH * WW * C), in one array as each
        # call costs two threads more than the time it takes, see `winograd.PLANE`.
        pixels, window = PH * PW, (KH + 1) * row * PH * PW
        seen = strided(self._lined_up, (2, M, KH * row, pixels), (row * pixels, window, pixels, 1))
        self._seen_by_phase = seen.transpose(0, 1, 3, 2)[:, None]
        self._frame = _ColumnFrame(M, (size[0] + KH - 1, PW + pairs - 1), windows.padding, x, workspace)
        self._seen = self._seen_in(self._frame)
        self.outputs = scratch(workspace, "outputs", (2, 2, M * PH * PW * K), x)
        self._planes = self.outputs.reshape(2, 2, M, PH * PW, K)
        self._dshifted = ProductSum("dshifted", (2, 2, M, KH * row, K), x, workspace)

    def use(self, weight: Array, workspace: Workspace) -> None:
        """Begin with this weight (KH * KW * C, K), and with no gradient; `workspace` keeps what is derived from it."""
        self._weight = weight
        self._shifted = derived(workspace, "shifted", weight, self._shift)  # (2, 1, KH * WW * C, K): left and right
        self._dshifted.clear()

    def take(self, images: Array) -> None:
        """Line up the windows of images (M, H, W, C)."""
        self._frame.put(images)
        np.copyto(self._places, self._seen)

    def multiply(self) -> None:
        """Fill `outputs`."""
        np.matmul(self._seen_by_phase, self._shifted, out=self._planes)

    def add_weight_gradient(self) -> None:
        """Add the gradients of the shifted kernels, image by image."""
        self._dshifted.add(self._seen_by_phase.swapaxes(3, 4), self._planes)

    def weight_gradient(self) -> Array:
        """The gradients of the shifted kernels, shifted back and added: (KH * KW * C, K)."""
        KH, KW, C, K = self._kernel
        left, right = self._dshifted.value().sum(axis=(0, 2)).reshape(2, KH, -1, C, K)
        both: Array = left[:, :KW] + right[:, 1 : KW + 1]
        return both.reshape(-1, K)

    def input_gradient(self, dimages: Array) -> None:
        """Fill dimages (M, H, W, C)."""
        dproducts = self._workspace("dproducts", (len(dimages), *self._output_size, self._kernel[3]), like=dimages)
        dproducts.fill(0)  # for the odd row or column that no window sees
        M, _, _, _, _, PH, PW = self._shape
        for ph, pw in PHASES:
            plane = self._planes[ph, pw].reshape(M, PH, PW, -1)
            dproducts[:, ph : 2 * PH : 2, pw : 2 * PW : 2] = plane
        weight, windows = mirror(self._weight, self._windows, groups=1)
        conv2d_forward(dproducts, weight, None, windows, 1, dimages, self._workspace)

    def _seen_in(self, frame: _ColumnFrame) -> Array:
        """The overlapping windows of a frame: (M, KH + 1, WW / 2, 2, C, PH, PW)."""
        FH, columns = frame.size
        C = self._shape[4]
        plane = FH * columns
        return strided(frame.pixels, self._shape, (2 * C * plane, columns, 1, C * plane, plane, 2 * columns, 1))

    def _shift(self, weight: Array) -> Array:
        KH, KW, C, K = self._kernel
        shifted = zeros((2, KH, 2 * (KW // 2 + 1), C, K), weight.dtype, weight)
        shifted[0, :, :KW] = shifted[1, :, 1 : KW + 1] = weight.reshape(KH, KW, C, K)
        return shifted.reshape(2, 1, -1, K)


class _ColumnFrame:
    """M images among zeros, even and odd columns apart: `pixels` (M, 2, C, FH, columns); `size` is (FH, columns)."""

    def __init__(self, M: int, size: Pair, padding: Pair, x: Array, workspace: Workspace) -> None:
        _, H, W, C = x.shape
        (FH, columns), (PH, PW) = size, padding
        self.size = size
        self.pixels = workspace("column frame", (M, 2, C, FH, columns), like=x)
        self.pixels.fill(0)
        self._height, self._width = max(0, min(H, FH - PH)), max(0, min(W, 2 * columns - PW))
        self._parts = []  # (columns of the images, their place in the frame), even and odd
        for odd in (0, 1):
            first = (odd + PW) % 2
            count = max(0, -(-(self._width - first) // 2))
            left = (first + PW) // 2
            inside = self.pixels[:, odd, :, PH : PH + self._height, left : left + count].transpose(0, 2, 3, 1)
            self._parts.append((slice(first, self._width, 2), inside))  # inside: (M, height, count, C)

    def put(self, images: Array) -> None:
        """Copy images (M, H, W, C) into the frame, as far as they fit."""
        for columns, inside in self._parts:
            np.copyto(inside, images[:, : self._height, columns])
