"""What the filters of a convolutional network find in a picture, to look at."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from core.backend import Array, to_cpu
from core.demo.mosaic import side_by_side
from core.layers import Conv2d, ConvReLUPool, Linear, Sequential


class FeatureMaps:
    """Runs a picture through the convolutions of a network and keeps what each of them finds.

    The network that was given is not touched: a copy with the same weights and workspaces of its own does the work.
    """

    def __init__(self, network: Sequential) -> None:
        replica = network.replica()
        assert isinstance(replica, Sequential)
        self.network = replica

    def __call__(self, x: Array) -> dict[str, Array]:
        """The output (H, W, K) of each convolution, by its name, for a prepared picture (1, H, W, C).

        Of a ConvReLUPool it is what its ReLU lets pass, before the pooling.
        """
        maps: dict[str, Array] = {}
        for name, layer in self.network.layers.items():
            if isinstance(layer, Linear):  # from here on there are no pictures any more
                break
            if isinstance(layer, Conv2d):
                found = to_cpu(Conv2d.forward(layer, x)[0])
                maps[name] = np.maximum(found, 0) if isinstance(layer, ConvReLUPool) else found.copy()
            x = layer.forward(x)
        return maps


def mosaic(maps: Array) -> NDArray[np.uint8]:
    """Maps (H, W, K) as one picture, uint8, about twice as wide as high: the brighter, the more a filter found.

    All maps share one scale, on which the square root lets weaker finds show too.
    """
    H, W, K = maps.shape
    low, high = min(float(maps.min()), 0.0), float(maps.max())
    bright = (np.sqrt((maps - low) / ((high - low) or 1.0)) * 255).round().astype(np.uint8)  # (H, W, K)
    return side_by_side(bright.transpose(2, 0, 1), _columns(H, W, K))


def _columns(H: int, W: int, K: int) -> int:
    """How many maps stand side by side; the rows are full where K allows it."""
    least = min(K, max(1, math.ceil(math.sqrt(2 * K * H / W))))
    return next((columns for columns in range(least, min(K, 2 * least) + 1) if K % columns == 0), least)
