"""What convolution and pooling share: a batch taken a few images at a time, frames, sums of products."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from core.backend import Array
from core.ops.cpu.products import product
from core.ops.windows import Pair
from core.workspaces import Workspaces

STRETCH = 1.4  # how much larger than asked for chunks may be
REPLAYED = 0.6  # the size of chunks by the usual one, where calls are replayed
FEW = 4  # images, for which laying out the work takes a good part of the time that the work takes

Part = TypeVar("Part")


class Workspace(Protocol):
    """Where scratch memory comes from: a layer's own `workspace`."""

    def __call__(self, name: str, shape: tuple[int, ...], like: Array, dtype: DTypeLike | None = None) -> Array: ...


def laid_out(
    N: int, key: Hashable, lay_out: Callable[[Callable[[], Workspace]], Iterator[Part]], workspace: Workspace
) -> Iterable[Part]:
    """The parts into which `lay_out` divides the work on N images, each in the memory that its argument provides.

    For many images the parts are laid out one by one, all in the workspace. For a few, or where the workspace keeps all
    plans, they have memory of their own, so that the next call with that key finds them as they are.
    """
    if not isinstance(workspace, Workspaces) or (N > FEW and not workspace.keeps_all_plans):
        return lay_out(lambda: workspace)
    parts: list[Part] = workspace.plan(key, lambda: list(lay_out(workspace.another)))
    return parts


def scratch(workspace: Workspace, name: str, shape: tuple[int, ...], like: Array) -> Array:
    """Memory whose contents are of no use after the present call of a layer, see `Workspaces.scratch`."""
    return workspace.scratch(name, shape, like) if isinstance(workspace, Workspaces) else workspace(name, shape, like)


def derived(workspace: Workspace, name: str, weight: Array, make: Callable[[Array], Any]) -> Any:
    """make(weight), which the workspace keeps where the weight is constant, see `Workspaces.derived`."""
    return workspace.derived(name, make, weight) if isinstance(workspace, Workspaces) else make(weight)


def at_once(images: int, workspace: Workspace) -> int:
    """How many images make a chunk, of which so many are best where each call is made by Python.

    Replayed calls have nothing between them for which threads would wait for each other: so they may be shorter, and
    more of their memory stays in the cache.
    """
    is_replayed = isinstance(workspace, Workspaces) and workspace.keeps_all_plans
    return max(1, int(REPLAYED * images)) if is_replayed else images


def chunks(N: int, size: int) -> Iterator[tuple[int, list[slice]]]:
    """N images in chunks of about `size`: first (size, [all full chunks]), then (rest, [the last one]) if it exists."""
    size = max(1, min(size, N))
    if size < N:
        size = _equal_size(N, size) or size
    whole = N - N % size
    yield size, [slice(start, start + size) for start in range(0, whole, size)]
    if whole < N:
        yield N - whole, [slice(whole, N)]


def _equal_size(N: int, size: int) -> int | None:
    """The size of equal chunks, up to STRETCH times as large; None where N has no such part.

    A rest would have to be laid out by itself, and its calls be too short: two threads meet at the interpreter's lock
    after every call, and sleep there for longer than a short one takes.
    """
    fewest = -(-N // int(STRETCH * size))
    count = next((count for count in range(fewest, 2 * fewest + 1) if N % count == 0), None)
    return None if count is None else N // count


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


class ProductSum:
    """A sum of matrix products that grows from chunk to chunk."""

    def __init__(self, name: str, shape: tuple[int, ...], like: Array, workspace: Workspace) -> None:
        self._name, self._shape, self._like, self._workspace = name, shape, like, workspace
        self._total: Array | None = None

    def add(self, a: Array, b: Array) -> None:
        """Add a @ b."""
        if self._total is None:
            self._total = self._workspace(self._name, self._shape, self._like)
            product(a, b, self._total)
        else:
            term = self._workspace(f"{self._name}, next term", self._shape, self._like)
            product(a, b, term)
            np.add(self._total, term, out=self._total)

    def clear(self) -> None:
        """Begin anew."""
        self._total = None

    def value(self) -> Array:
        """The sum so far."""
        return np.zeros(self._shape, self._like.dtype) if self._total is None else self._total


def strided(array: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """A view of a C-contiguous array with other strides, counted in elements; NumPy checks that it stays inside."""
    steps = [stride * array.itemsize for stride in strides]
    view: Array = np.ndarray(shape, array.dtype, array.data, 0, steps)
    return view
