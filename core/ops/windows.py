"""How the windows of a convolution or a pooling lie on an image; the same on every device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

Pair: TypeAlias = tuple[int, int]


def pair(value: int | Pair, name: str, least: int) -> Pair:
    """(vertical, horizontal) from one number for both or from two; raises ValueError if one is below `least`."""
    both = (value, value) if isinstance(value, int) else tuple(value)
    if len(both) != 2 or min(both) < least:
        raise ValueError(f"expected {name} to be one or two numbers of at least {least}, got {value}")
    return both


@dataclass(frozen=True)
class Windows:
    """Windows of `kernel` points, `dilation` apart, that move by `stride` over an image with `padding` around it.

    All are pairs: (vertical, horizontal).
    """

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    @cached_property
    def reach(self) -> Pair:
        """How many pixels a window spans, holes included."""
        (KH, KW), (DH, DW) = self.kernel, self.dilation
        return DH * (KH - 1) + 1, DW * (KW - 1) + 1

    def count(self, H: int, W: int) -> Pair:
        """How many windows fit into an image of H x W pixels: the size of the output.

        Raises ValueError if none does.
        """
        known = self._counts.get((H, W))
        if known is not None:
            return known
        (RH, RW), (SH, SW), (PH, PW) = self.reach, self.stride, self.padding
        if H + 2 * PH < RH or W + 2 * PW < RW:
            raise ValueError(f"a window of {RH} x {RW} does not fit into {H} x {W} pixels with padding {PH}, {PW}")
        found = (H + 2 * PH - RH) // SH + 1, (W + 2 * PW - RW) // SW + 1
        self._counts[H, W] = found
        return found

    @cached_property
    def _counts(self) -> dict[Pair, Pair]:
        """What `count` has found: for small images the arithmetic takes as long as some of the operations."""
        return {}

    @cached_property
    def is_point(self) -> bool:
        """Whether each window is one pixel, and each pixel one window."""
        return self == Windows((1, 1))

    @cached_property
    def is_dense(self) -> bool:
        """Whether windows start at every pixel and have no holes."""
        return self.stride == self.dilation == (1, 1)
