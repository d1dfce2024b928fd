"""The augmentations of `core.data.augment`, written with PyTorch's operations on whole batches (N, C, H, W).

The draws are PyTorch's own, so single images differ from ours; the distributions are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from core.data.augment import Affine, ColourJitter, Cutout, Elastic, HorizontalFlip, RandomCrop
from core.data.colour import LUMA
from core.data.normalize import Normalize

REACH = 3  # standard deviations at which the Gaussian is cut off
PADDING = {"constant": "zeros", "edge": "border", "reflect": "reflection"}  # PyTorch's names


class TorchBatches:
    """Batches of images uint8 (N, H, W, C), or of features (N, D), and their labels: indexed, augmented, normalised.

    As a data set of a DataLoader it is asked for whole batches, by the indices of their rows.
    """

    def __init__(self, images: Any, labels: Any, transforms: Sequence[Any], normalize: Normalize) -> None:
        self.is_image = images.ndim == 4
        self.inputs = torch.from_numpy(np.array(np.moveaxis(images, 3, 1) if self.is_image else images, order="C"))
        self.labels = torch.from_numpy(np.array(labels, np.int64))
        self.steps = list(steps(transforms))
        self.mean, self.std = (
            torch.from_numpy(statistic.reshape(-1, 1, 1) if self.is_image else statistic)
            for statistic in (normalize.mean, normalize.std)
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Any) -> tuple[Tensor, Tensor]:
        rows = torch.as_tensor(rows)
        x = self.inputs[rows].float()
        if self.is_image:
            x.div_(255)
        for step in self.steps:
            x = step(x)
        return x.sub_(self.mean).div_(self.std), self.labels[rows]


def steps(transforms: Sequence[Any]) -> Iterator[Callable[[Tensor], Tensor]]:
    """The operations for our transforms; an Elastic directly behind an Affine shares its interpolation, as ours do."""
    left = list(transforms)
    while left:
        one = left.pop(0)
        if isinstance(one, Affine | Elastic):
            affine = one if isinstance(one, Affine) else None
            elastic = one if isinstance(one, Elastic) else None
            if affine and left and isinstance(left[0], Elastic):
                elastic = left.pop(0)
            yield partial(warp, affine=affine, elastic=elastic)
        else:
            yield partial(SIMPLE[type(one)], one=one)


def warp(x: Tensor, affine: Affine | None, elastic: Elastic | None) -> Tensor:
    """Both distortions in one interpolation, as ours do it."""
    N, _, H, W = x.shape
    affine = affine or Affine()
    draws = torch.rand(N, 6) * 2 - 1
    angle, lean = draws[:, 0] * np.deg2rad(affine.rotate), torch.tan(draws[:, 3] * np.deg2rad(affine.shear))
    zoom, stretch = 1 + draws[:, 1] * affine.scale, 1 + draws[:, 2] * affine.stretch
    cos, sin = torch.cos(angle), torch.sin(angle)
    columns = torch.stack([cos * stretch / zoom, (sin * stretch - lean * cos) / zoom], dim=1)  # of x in the source
    rows = torch.stack([-sin / (stretch * zoom), cos / (stretch * zoom)], dim=1)
    matrix = torch.stack([columns, rows], dim=1)  # (N, 2, 2)
    shift = draws[:, 4:] * affine.shift * torch.tensor([2 / W, 2 / H])
    grid = functional.affine_grid(torch.cat([matrix, shift[:, :, None]], dim=2), list(x.shape), align_corners=False)
    if elastic is not None:
        grid = grid + displacement(N, H, W, elastic)
    return functional.grid_sample(x, grid, padding_mode=PADDING[affine.border], align_corners=False)


def displacement(N: int, H: int, W: int, elastic: Elastic) -> Tensor:
    """Smoothed noise, in the units of a grid: (N, H, W, 2)."""
    reach = int(REACH * elastic.sigma)
    bell = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * elastic.sigma**2))
    bell /= bell.sum()
    noise = torch.rand(2 * N, 1, H, W) * 2 - 1
    noise = functional.conv2d(noise, bell[None, None, :, None], padding=(reach, 0))
    noise = functional.conv2d(noise, bell[None, None, None, :], padding=(0, reach))
    return noise.reshape(N, 2, H, W).permute(0, 2, 3, 1) * (elastic.alpha * torch.tensor([2 / W, 2 / H]))


def crop(x: Tensor, one: RandomCrop) -> Tensor:
    N, C, H, W = x.shape
    padded = functional.pad(x, [one.padding] * 4, mode=one.border)
    top, left = torch.randint(0, 2 * one.padding + 1, (2, N))
    rows = (top[:, None] + torch.arange(H))[:, None, :, None]
    columns = (left[:, None] + torch.arange(W))[:, None, None, :]
    return padded[torch.arange(N)[:, None, None, None], torch.arange(C)[None, :, None, None], rows, columns]


def flip(x: Tensor, one: HorizontalFlip) -> Tensor:
    return torch.where((torch.rand(len(x)) < one.probability)[:, None, None, None], x.flip(-1), x)


def jitter(x: Tensor, one: ColourJitter) -> Tensor:
    def factor(bound: float) -> Tensor:
        return (1 + (2 * torch.rand(len(x)) - 1) * bound)[:, None, None, None]

    luma = torch.tensor(LUMA if x.shape[1] == 3 else [1 / x.shape[1]] * x.shape[1])[None, :, None, None]
    x = x * factor(one.brightness)
    x = torch.lerp((x * luma).sum(1, keepdim=True).mean(dim=(2, 3), keepdim=True), x, factor(one.contrast))
    x = torch.lerp((x * luma).sum(1, keepdim=True), x, factor(one.saturation))
    return x.clamp_(0, 1)


def cutout(x: Tensor, one: Cutout) -> Tensor:
    def inside(length: int) -> Tensor:
        first = torch.randint(0, length, (len(x), 1)) - one.size // 2
        place = torch.arange(length)
        return (place >= first) & (place < first + one.size)

    N, _, H, W = x.shape
    return x.masked_fill_((inside(H)[:, :, None] & inside(W)[:, None, :]).reshape(N, 1, H, W), one.fill)


SIMPLE: dict[type, Any] = {RandomCrop: crop, HorizontalFlip: flip, ColourJitter: jitter, Cutout: cutout}
