"""Convolution, bias, ReLU and 2 x 2 max-pooling in one pass over the images.

Adding a bias and ReLU are monotone, so the maximum may be taken before them, max(relu(y + b)) = relu(max(y) + b), and
leaves them a quarter of the work. The gradient goes the same way back: through ReLU where the output is above zero,
then to that one of the four places that held the maximum. Without a bias there is no ReLU either: what BatchNorm, which
has a bias of its own, takes over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import numpy as np

from core.backend import Array
from core.memory import is_constant
from core.ops.cpu import conv_phases, winograd
from core.ops.cpu.activation import relu_backward, relu_forward
from core.ops.cpu.conv import add_to_rows
from core.ops.cpu.conv_chain import chain_backward, chain_forward
from core.ops.cpu.conv_method import begin
from core.ops.cpu.conv_phases import PhaseWindows
from core.ops.cpu.image_chunks import at_once, chunks, laid_out
from core.ops.cpu.norm import column_sums
from core.ops.cpu.winograd import WinogradTiles
from core.ops.windows import Pair, Windows
from core.workspaces import Workspace, scratch

__all__ = ["conv_relu_pool_backward", "conv_relu_pool_forward"]

Winners: TypeAlias = Array | tuple[Array, Array] | None


def conv_relu_pool_forward(
    x: Array, weight: Array, bias: Array | None, windows: Windows, y: Array, keep: bool, workspace: Workspace
) -> Winners:
    """Fill y (N, OH // 2, OW // 2, K) from x (N, H, W, C) with weight (KH * KW * C, K) and bias (K,), or without both.

    The windows must be dense. With `keep`, returns what backward needs besides x and y: which place held each maximum.
    """
    if not _runs_in_one_pass(x, weight, windows):
        return chain_forward(x, weight, bias, windows, y, keep, workspace)
    winners: Array | None = None
    left = bias
    for block in _blocks(x, weight, windows, workspace):
        if keep and winners is None:
            winners = workspace("winners", (len(x), block.winners_size), like=x, dtype=bool)
        left = begin(block.method, x, weight, bias, workspace)
        for part in block.parts:
            block.method.take(x[part])
            block.method.multiply()
            block.pool(y[part], None if winners is None else winners[part])
    if left is not None:
        add_to_rows(y, left)
    if bias is not None:
        relu_forward(y, y)
    return winners


def conv_relu_pool_backward(
    dy: Array,
    x: Array,
    y: Array | None,
    winners: Winners,
    weight: Array,
    windows: Windows,
    dx: Array | None,
    workspace: Workspace,
) -> tuple[Array, Array | None]:
    """Fill dx, unless it is None, from dy (N, OH // 2, OW // 2, K) and what forward saw and made.

    Returns dweight and dbias. Without a bias y is None, and dbias too.
    """
    if isinstance(winners, tuple):
        return chain_backward(dy, x, y, winners, weight, windows, dx, workspace)
    assert winners is not None
    K = weight.shape[1]
    dweight, dbias = np.zeros_like(weight), np.zeros(K, weight.dtype)
    for block in _blocks(x, weight, windows, workspace):
        block.method.use(weight, workspace)
        through_relu = workspace("through relu", (block.M, *dy.shape[1:]), like=x)
        for part in block.parts:
            dpooled = dy[part]
            if y is not None:
                relu_backward(dpooled, y[part], through_relu)
                dbias += column_sums(through_relu.reshape(-1, K))
                dpooled = through_relu
            block.give_to_winners(dpooled, winners[part])
            block.method.take(x[part])
            block.method.add_weight_gradient()
            if dx is not None:
                block.method.input_gradient(dx[part])
        dweight += block.method.weight_gradient()
    return dweight, None if y is None else dbias


class _Block:
    """The parts of a batch that are M images long, a method to convolve them, and the maximum over 2 x 2 places.

    The method's outputs are planes, so each place of all maxima is one long array: first the taller of top and bottom,
    then the taller of left and right. `winners` (M, winners_size) says where bottom and where right won.
    """

    def __init__(self, parts: list[slice], method: WinogradTiles | PhaseWindows, M: int, workspace: Workspace) -> None:
        self.parts, self.method, self.M = parts, method, M
        side, _, L = method.outputs.shape
        places = method.outputs.reshape(side // 2, 2, side // 2 * 2, L)
        self._top, self._bottom = places[:, 0], places[:, 1]  # (side / 2, side, L)
        self._taller = scratch(workspace, "taller", self._top.shape, method.outputs)
        columns = self._taller.reshape(side // 2, side // 2, 2, L)
        self._left, self._right = columns[:, :, 0], columns[:, :, 1]  # (side / 2, side / 2, L)
        self._pooled: Array | None = None
        if isinstance(method, WinogradTiles):  # a tile has several maxima, which lie apart in the images
            self._pooled = scratch(workspace, "pooled", self._left.shape, method.outputs)
        self.winners_size = (self._top.size + self._left.size) // M

    def pool(self, y: Array, winners: Array | None) -> None:
        """Fill y (M, PH, PW, K) with the maxima of the method's outputs."""
        pooled = self._plane_of(y)
        if winners is not None:
            bottom_wins, right_wins = self._split(winners)
            np.less(self._top, self._bottom, out=bottom_wins)
        np.maximum(self._top, self._bottom, out=self._taller)
        if winners is not None:
            np.less(self._left, self._right, out=right_wins)
        np.maximum(self._left, self._right, out=pooled)
        if isinstance(self.method, WinogradTiles):
            self.method.store(pooled, y)

    def give_to_winners(self, dy: Array, winners: Array) -> None:
        """Fill the method's outputs with their gradient, from that of the maxima (M, PH, PW, K)."""
        pooled = self._plane_of(dy)
        if isinstance(self.method, WinogradTiles):
            self.method.load(dy, pooled)
        bottom_wins, right_wins = self._split(winners)
        np.multiply(pooled, right_wins, out=self._right)
        np.subtract(pooled, self._right, out=self._left)
        np.multiply(self._taller, bottom_wins, out=self._bottom)
        np.subtract(self._taller, self._bottom, out=self._top)

    def _plane_of(self, y: Array) -> Array:
        """The maxima (side / 2, side / 2, L): y itself, where a plane has the order of the images."""
        return y.reshape(self._left.shape) if self._pooled is None else self._pooled

    def _split(self, winners: Array) -> tuple[Array, Array]:
        flat = winners.reshape(-1)
        return flat[: self._top.size].reshape(self._top.shape), flat[self._top.size :].reshape(self._left.shape)


def _pooled_part(x: Array, windows: Windows) -> Pair:
    """The size of the convolution's output without an odd last row or column, which pooling leaves out."""
    OH, OW = windows.count(*x.shape[1:3])
    return OH // 2 * 2, OW // 2 * 2


def _runs_in_one_pass(x: Array, weight: Array, windows: Windows) -> bool:
    """Whether a method suits whose outputs come as planes."""
    form = winograd.form_for(x, weight, windows, _pooled_part(x, windows))
    return form is not None or conv_phases.suits(windows, x.shape[3])


def _blocks(x: Array, weight: Array, windows: Windows, workspace: Workspace) -> Iterable[_Block]:
    def lay_out(memory: Callable[[], Workspace]) -> Iterator[_Block]:
        size = _pooled_part(x, windows)
        C, K = x.shape[3], weight.shape[1]
        method: WinogradTiles | PhaseWindows
        form = winograd.form_for(x, weight, windows, size)
        if form is not None:
            for M, parts in chunks(len(x), at_once(form.images_at_once(size, C, K), workspace)):
                own = memory()
                method = WinogradTiles(form, M, x, weight.shape, windows.padding, size, own)
                yield _Block(parts, method, M, own)
        else:
            for M, parts in chunks(len(x), at_once(conv_phases.images_at_once(size, C, K, windows), workspace)):
                own = memory()
                method = PhaseWindows(M, x, weight.shape, windows, size, own)
                yield _Block(parts, method, M, own)

    key = "block", x.shape, x.dtype, weight.shape, is_constant(weight), windows
    return laid_out(len(x), key, lay_out, workspace)
