"""Affine and elastic distortion, composed into one sampling grid and one interpolation.

A distortion is described backwards: for every pixel of the result, where in the source does it come from? Relative to
the centre of the image, q = (y, x),

    affine:   source(q) = A q + b
    elastic:  source(q) = q + sum_kl u_kl g(y - y_k) g(x - x_l)       bumps g around the nodes of a coarse mesh

The first is a constant plus y plus x; the second is separable too. So both, and their composition
A (q + elastic(q)) + b, are one product of three small matrices per image and axis,

    source = Y coefficients X^T        Y (H, K + 2) = [g(y - y_1) ... g(y - y_K), 1, y], X likewise

and a batch costs a few batched matrix products instead of one smoothing of a noise image each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from core.backend import Array
from core.data.sampling import Border, check_border, sample_bilinear
from core.data.thread_buffers import ThreadBuffers

REACH = 3  # a Gaussian is cut off after three standard deviations


@dataclass(frozen=True)
class Affine:
    """Rotate, scale, stretch, shear and shift each image about its centre, evenly between minus and plus each bound.

    rotate: degrees, counter-clockwise positive. scale: fraction; 0.1 draws a zoom from 0.9 to 1.1. stretch: fraction
    r; the height is multiplied and the width divided by 1 + r. shear: degrees by which a vertical line leans.
    shift: pixels, along each axis. border and fill: what lies outside the image, see `sample_bilinear`.

    In this order on the content: scale and stretch, shear, rotate, shift; a point p goes to R S Z p + t. Raises
    ValueError for a scale or stretch outside 0 ... 1, at which an image would vanish or turn over, for another bound
    that is not finite, and for an unknown border.
    """

    rotate: float = 0.0
    scale: float = 0.0
    stretch: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    border: Border = "constant"
    fill: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.scale < 1 and 0 <= self.stretch < 1):
            raise ValueError(f"Affine expected 0 <= scale, stretch < 1, got {self}")
        if not np.isfinite([self.rotate, self.shear, self.shift]).all():
            raise ValueError(f"Affine expected finite bounds, got {self}")
        check_border(self.border)

    def columns(self, shape: tuple[int, int, int]) -> int:
        """How many numbers an image of `shape` (H, W, C) draws."""
        return 6

    def backward_map(self, draws: Array) -> tuple[Array, Array]:
        """A (n, 2, 2) and b (n, 2) of source(q) = A q + b, the inverse of q -> R S Z q + t, axes in the order y, x."""
        bounds = (np.deg2rad(self.rotate), self.scale, self.stretch, np.deg2rad(self.shear), self.shift, self.shift)
        signed = (2 * draws - 1) * np.array(bounds, np.float32)
        angle, scale, stretch, lean = signed[:, :4].T
        cos, sin, slope = np.cos(angle), np.sin(angle), np.tan(lean)
        zoom_y, zoom_x = (1 + scale) * (1 + stretch), (1 + scale) / (1 + stretch)
        # Z^-1 S^-1 R^-1 multiplied out; S^-1 = [[1, 0], [-slope, 1]]
        rows = [cos / zoom_y, sin / zoom_y, (-slope * cos - sin) / zoom_x, (cos - slope * sin) / zoom_x]
        matrix = np.stack(rows, axis=1).reshape(-1, 2, 2)  # (n, 2, 2)
        return matrix, -(matrix @ signed[:, 4:, None])[:, :, 0]


@dataclass(frozen=True)
class Elastic:
    """Displace pixels by a smooth random field: uniform noise from -1 to 1, smoothed by a Gaussian, times `alpha`.

    alpha: strength; the displacement has a root mean square of alpha / (sigma sqrt(12 pi)) pixels along each axis,
    for sigma >= 1. sigma: standard deviation of the Gaussian in pixels. border and fill: see `sample_bilinear`.

    After Simard, Steinkraus and Platt, "Best Practices for Convolutional Neural Networks" (2003), section 2, where
    alpha = 34 and sigma = 4 on 29x29 digits. The noise is drawn on a mesh as coarse as sigma (rounded down), which
    leaves the covariance of the field the same to a part in a thousand, and does not end at the border of the image.
    Raises ValueError for a sigma that is not positive, for values that are not finite, and for an unknown border.
    """

    alpha: float
    sigma: float = 4.0
    border: Border = "constant"
    fill: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.sigma < math.inf and math.isfinite(self.alpha)):
            raise ValueError(f"Elastic expected a positive sigma and a finite alpha, got {self}")
        check_border(self.border)

    @property
    def spacing(self) -> int:
        """Distance of the nodes of the mesh, in pixels."""
        return max(1, int(self.sigma))

    def columns(self, shape: tuple[int, int, int]) -> int:
        """How many numbers an image of `shape` (H, W, C) draws."""
        H, W, _ = shape
        return 2 * count_nodes(H, self.sigma, self.spacing) * count_nodes(W, self.sigma, self.spacing)

    def nodes(self, draws: Array, shape: tuple[int, int, int]) -> Array:
        """The heights of the bumps along y and x, from numbers in [0, 1): (n, 2, Ky, Kx)."""
        Ky, Kx = (count_nodes(size, self.sigma, self.spacing) for size in shape[:2])
        # A mesh with 1 / spacing**2 of the nodes needs bumps that are `spacing` times as high for the same variance.
        heights: Array = (2 * draws - 1) * np.float32(self.alpha * self.spacing)
        return heights.reshape(-1, 2, Ky, Kx)


def count_nodes(size: int, sigma: float, spacing: int) -> int:
    """Nodes along an axis of `size` pixels: from the first pixel on, and the reach of a Gaussian beyond both ends."""
    return nodes_before(sigma, spacing) * 2 + math.ceil((size - 1) / spacing) + 1


def nodes_before(sigma: float, spacing: int) -> int:
    """Nodes on one side of an axis, outside the image."""
    return math.ceil(REACH * sigma / spacing)


@lru_cache(maxsize=64)
def axis_basis(size: int, sigma: float, spacing: int) -> Array:
    """The functions of one coordinate from which grids are made: K bumps (none for sigma 0), the constant 1, and q.

    Returns (size, K + 2), float32. A bump is the Gaussian density exp(-d**2 / (2 sigma**2)) / (sigma sqrt(2 pi)).
    """
    q = np.arange(size) - (size - 1) / 2
    basis = [np.ones(size), q]
    if sigma > 0:
        K = count_nodes(size, sigma, spacing)
        centres = q[0] + (np.arange(K) - nodes_before(sigma, spacing)) * spacing
        bumps = np.exp(-((q[:, None] - centres) ** 2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))  # (size, K)
        basis = [*bumps.T, *basis]
    return np.stack(basis, axis=1).astype(np.float32)


class Warp:
    """Affine transforms, and possibly an Elastic after them, all carried out by a single interpolation.

    Raises ValueError where an Elastic is not the last one, or borders differ.
    """

    def __init__(self, parts: Sequence[Affine | Elastic]) -> None:
        self.parts = tuple(parts)
        self.affines = [part for part in parts if isinstance(part, Affine)]
        self.elastic = parts[-1] if isinstance(parts[-1], Elastic) else None
        if len(self.affines) < len(parts) - (self.elastic is not None):
            raise ValueError(f"Warp expected an Elastic only in the last place, got {self.parts}")
        if len({(part.border, part.fill) for part in parts}) != 1:
            raise ValueError(f"Warp expected transforms with one border and one fill, got {self.parts}")
        self._work = ThreadBuffers()

    def columns(self, shape: tuple[int, int, int]) -> int:
        """How many numbers an image of `shape` (H, W, C) draws."""
        return sum(part.columns(shape) for part in self.parts)

    def apply(self, images: Array, draws: Array, out: Array) -> None:
        """Write the distorted images into `out`, both (n, H, W, C) float32 and possibly the same array."""
        n, H, W, C = images.shape
        coefficients = self._coefficients(draws, (H, W, C))  # (2, n, Ky + 2, Kx + 2)
        sigma, spacing = (self.elastic.sigma, self.elastic.spacing) if self.elastic else (0.0, 1)
        Y, X = axis_basis(H, sigma, spacing), axis_basis(W, sigma, spacing)
        half = self._work.array("half", (2, *coefficients.shape[1:3], W))
        # One product per image, not one for all: so the rounding does not depend on how a batch is split.
        np.matmul(coefficients, X.T, out=half)
        source = np.matmul(Y, half, out=self._work.array("source", (2, n, H, W)))
        part = self.parts[0]
        sample_bilinear(images, source[0], source[1], out, self._work, part.border, part.fill)

    def _coefficients(self, draws: Array, shape: tuple[int, int, int]) -> Array:
        """For both axes of each image, the coefficients of source = Y coefficients X^T; (2, n, Ky + 2, Kx + 2)."""
        n = len(draws)
        matrix = np.tile(np.eye(2, dtype=np.float32), (n, 1, 1))  # (n, 2, 2)
        offset = np.zeros((n, 2, 1), np.float32)
        first = 0
        for affine in self.affines:
            A, b = affine.backward_map(draws[:, first : first + 6])
            offset += matrix @ b[:, :, None]
            matrix = matrix @ A
            first += 6
        nodes = self.elastic.nodes(draws[:, first:], shape) if self.elastic else np.zeros((n, 2, 0, 0), np.float32)
        Ky, Kx = nodes.shape[2:]
        coefficients = self._work.array("coefficients", (2, n, Ky + 2, Kx + 2))
        coefficients[...] = 0
        bumps = matrix @ nodes.reshape(n, 2, Ky * Kx)
        coefficients[:, :, :Ky, :Kx] = bumps.reshape(nodes.shape).swapaxes(0, 1)
        for axis in (0, 1):
            coefficients[axis, :, Ky, Kx] = offset[:, axis, 0] + (shape[axis] - 1) / 2
            coefficients[axis, :, Ky + 1, Kx] = matrix[:, axis, 0]
            coefficients[axis, :, Ky, Kx + 1] = matrix[:, axis, 1]
        return coefficients
