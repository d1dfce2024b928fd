"""The gradient of a convolution's input is a convolution too, where windows move by single pixels.

y[i] = sum over a of x[i + a] w[a] passes dy[i] w[a] on to dx[i + a], so dx[j] = sum over a of dy[j - a] w[a]: the
kernel turned around slides over dy, and what was padding is now the rest of the kernel's reach.
"""

from __future__ import annotations

from core.backend import Array
from core.ops.windows import Windows


def has_mirror(windows: Windows) -> bool:
    """Whether `mirror` applies: steps of one pixel, and less padding than the windows reach."""
    (RH, RW), (PH, PW) = windows.reach, windows.padding
    return windows.stride == (1, 1) and PH < RH and PW < RW


def mirror(weight: Array, windows: Windows, groups: int) -> tuple[Array, Windows]:
    """The weight (KH * KW * K / G, C) and the windows that turn dy into dx, for weight (KH * KW * C / G, K)."""
    (KH, KW), (RH, RW), (PH, PW) = windows.kernel, windows.reach, windows.padding
    K = weight.shape[1] // groups
    turned = weight.reshape(KH, KW, -1, groups, K)[::-1, ::-1]  # (KH, KW, C / G, G, K / G)
    mirrored: Array = turned.transpose(0, 1, 4, 3, 2).reshape(KH * KW * K, -1)
    return mirrored, Windows(windows.kernel, padding=(RH - 1 - PH, RW - 1 - PW), dilation=windows.dilation)
