"""How the windows of a convolution or a pooling lie on an image; the same on every device."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from typing import TypeAlias

import numpy as np

Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Windows:
    """Windows of `kernel` points, `dilation` apart, that move by `stride` over an image with `padding` around it.

    All are pairs: (vertical, horizontal). `owner` is the layer that errors name.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    owner: str = field(default="Windows", compare=False)

    @classmethod
    def of(
        cls,
        owner: object,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
    ) -> Windows:
        """Those of a layer, whose settings are one number for both directions or two; ValueError if they cannot be."""
        name = type(owner).__name__
        return cls(
            _pair(name, "kernel_size", kernel_size, 1),
            _pair(name, "stride", stride, 1),
            _pair(name, "padding", padding, 0),
            _pair(name, "dilation", dilation, 1),
            name,
        )

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
            raise ValueError(
                f"{self.owner}: a window of {RH} x {RW} does not fit into {H} x {W} pixels with padding {PH}, {PW}"
            )
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


def _pair(owner: str, name: str, value: int | Pair, least: int) -> Pair:
    """(vertical, horizontal) from one number for both or from two, as Python's integers: see `expect_whole`."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or not all(isinstance(one, Integral) and one >= least for one in both):
        raise ValueError(f"{owner} expected {name} to be one or two whole numbers of at least {least}, got {value!r}")
    return int(both[0]), int(both[1])
