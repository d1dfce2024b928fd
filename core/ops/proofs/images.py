"""Convolution, pooling, and products of matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from core.ops.proofs.case import Case, Draw, Results
from core.ops.windows import Windows
from core.random import Stream

SIZES = [(0, 7, 6, 3), (1, 4, 5, 1), (3, 9, 7, 5), (2, 12, 12, 17)]


def _max_pool(windows: Windows) -> Callable[..., Results]:
    def run(op: Any, draw: Draw, N: int, H: int, W: int, C: int) -> Results:
        size = (N, *windows.count(H, W), C)
        x, dy, y, dx, again = draw.normal(N, H, W, C), draw.normal(*size), draw.output(*size), *_two(draw, N, H, W, C)
        winners = op.max_pool_forward(x, windows, y, True, draw.workspace)
        op.max_pool_backward(dy, winners, windows, dx, draw.workspace)
        flat = draw.array([[0.0] * C] * (N * H * W)).reshape(N, H, W, C)  # all equal: who wins?
        winners = op.max_pool_forward(flat, windows, draw.output(*size), True, draw.workspace)
        op.max_pool_backward(dy, winners, windows, again, draw.workspace)
        inference = draw.output(*size)
        op.max_pool_forward(x, windows, inference, False, draw.workspace)
        return {"y": y, "dx": dx, "dx of ties": again, "inference": inference}

    return run


def _avg_pool(windows: Windows) -> Callable[..., Results]:
    def run(op: Any, draw: Draw, N: int, H: int, W: int, C: int) -> Results:
        size = (N, *windows.count(H, W), C)
        x, dy, y, dx = draw.normal(N, H, W, C), draw.normal(*size), draw.output(*size), draw.output(N, H, W, C)
        op.avg_pool_forward(x, windows, y, draw.workspace)
        op.avg_pool_backward(dy, windows, dx, draw.workspace)
        whole, dwhole = draw.output(N, C), draw.output(N, H, W, C)
        op.global_avg_pool_forward(x, whole)
        op.global_avg_pool_backward(draw.normal(N, C), dwhole)
        return {"y": y, "dx": dx, "global y": whole, "global dx": dwhole}

    return run


def _conv(windows: Windows, K: int, bias: bool = True, groups: int = 1) -> Callable[..., Results]:
    def run(op: Any, draw: Draw, N: int, H: int, W: int, C: int) -> Results:
        KH, KW = windows.kernel
        size = (N, *windows.count(H, W), K)
        x, weight, dy = draw.normal(N, H, W, C), draw.normal(KH * KW * C // groups, K), draw.normal(*size)
        y, dx, given = draw.output(*size), draw.output(N, H, W, C), draw.normal(K, wide=True) if bias else None
        op.conv2d_forward(x, weight, given, windows, groups, y, draw.workspace)
        dweight, dbias = op.conv2d_backward(dy, x, weight, windows, groups, dx, draw.workspace)
        only, _ = op.conv2d_backward(dy, x, weight, windows, groups, None, draw.workspace)
        return {"y": y, "dx": dx, "dweight": dweight, "dbias": dbias, "dweight without dx": only}

    return run


def _conv_pool(relu: bool) -> Callable[..., Results]:
    def run(op: Any, draw: Draw, N: int, H: int, W: int, C: int) -> Results:
        windows, K = Windows((3, 3), padding=(1, 1)), 6
        size = (N, H // 2, W // 2, K)
        x, weight, dy = draw.normal(N, H, W, C), draw.normal(9 * C, K), draw.normal(*size)
        bias = draw.normal(K, wide=True) if relu else None
        y, dx, inference = draw.output(*size), draw.output(N, H, W, C), draw.output(*size)
        winners = op.conv_relu_pool_forward(x, weight, bias, windows, y, True, draw.workspace)
        op.conv_relu_pool_forward(x, weight, bias, windows, inference, False, draw.workspace)
        kept = y if relu else None
        dweight, dbias = op.conv_relu_pool_backward(dy, x, kept, winners, weight, windows, dx, draw.workspace)
        return {"y": y, "inference": inference, "dx": dx, "dweight": dweight} | ({"dbias": dbias} if relu else {})

    return run


def _augment(**settings: Any) -> Callable[..., Results]:
    def run(op: Any, draw: Draw, N: int, H: int, W: int, C: int) -> Results:
        stream = Stream(9)
        stream.seek(2, 7)
        drawn, y = draw.output(N, op.AUGMENT_DRAWS, dtype=np.uint16), draw.output(N, H, W, C, dtype=np.float32)
        op.draw_uint16(stream.draws(3, N, op.AUGMENT_DRAWS), drawn)
        many = draw.output(N, 37, dtype=np.uint16)
        op.draw_uint16(stream.draws(3, N, 37), many)
        images, rows = draw.integers(0, 256, 7, H, W, C, dtype=np.uint8), draw.integers(0, 7, N)
        mean, inverse = draw.array([0.4] * C, np.float32), draw.array([3.0] * C, np.float32)
        op.augment_images(images, rows, drawn, op.PixelAugment(**settings), 1 / 255, mean, inverse, y)
        return {"draws": drawn, "many draws": many, "y": y}

    return run


def _mirror(op: Any, draw: Draw, N: int, H: int, W: int, C: int) -> Results:
    x, chosen = draw.normal(N, H, W, C), draw.integers(0, 2, N, dtype=np.bool_)
    op.mirror_images(x, chosen)
    return {"x": x}


def _product(name: str) -> Callable[..., Results]:
    def run(op: Any, draw: Draw, M: int, K: int, N: int) -> Results:
        a, b, c = draw.normal(M, K), draw.normal(K, N), draw.output(M, N)
        getattr(op, name)(a, b, c)
        return {"c": c}

    return run


def _two(draw: Draw, *size: int) -> tuple[Any, Any]:
    return draw.output(*size), draw.output(*size)


POOLED = [*SIZES, (3, 7, 6, 16)]  # 16 channels: packs of 16 bytes
PICTURES = [(0, 7, 6, 3), (1, 5, 4, 1), (40, 7, 9, 3)]
HALF_TOO = ("float32", "float64", "float16")
SINGLE = ("float32",)
PRODUCTS = [(0, 3, 5), (1, 1, 1), (5, 0, 7), (33, 65, 17), (130, 40, 70), (136, 64, 72)]

CASES = [
    Case("max pool", _max_pool(Windows((2, 2), stride=(2, 2))), POOLED, HALF_TOO),
    Case("max pool, overlapping", _max_pool(Windows((3, 2), stride=(2, 1), padding=(1, 1))), POOLED, HALF_TOO),
    Case("max pool, gaps", _max_pool(Windows((2, 1), stride=(3, 2))), POOLED, HALF_TOO),
    Case(
        "max pool, 256 places",
        _max_pool(Windows((16, 16), stride=(16, 16))),
        [(1, 16, 16, 2), (2, 17, 32, 3)],
        HALF_TOO,
    ),
    Case("avg pool", _avg_pool(Windows((2, 2), stride=(2, 2))), POOLED, HALF_TOO),
    Case("avg pool, overlapping", _avg_pool(Windows((3, 3), stride=(2, 2), padding=(1, 1))), POOLED, HALF_TOO),
    Case("conv", _conv(Windows((3, 3), padding=(1, 1)), 6), [*SIZES, (3, 15, 12, 20)], HALF_TOO),
    Case(
        "conv, more channels than a tile",
        _conv(Windows((3, 3)), 70, bias=False),
        [(0, 4, 4, 2), (2, 6, 5, 67)],
        HALF_TOO,
    ),
    Case("conv, whole packs", _conv(Windows((3, 3), padding=(1, 1)), 24), [(2, 9, 7, 16), (1, 16, 12, 40)], HALF_TOO),
    Case(
        "conv, whole packs, strides",
        _conv(Windows((3, 2), (2, 1), (1, 1), (1, 2)), 8),
        [(0, 8, 7, 8), (3, 8, 7, 8)],
        HALF_TOO,
    ),
    Case("conv, strides and holes", _conv(Windows((3, 2), (2, 3), (2, 1), (1, 2)), 4), SIZES, HALF_TOO),
    Case("conv, points", _conv(Windows((1, 1)), 4), SIZES, HALF_TOO),
    Case("conv, groups", _conv(Windows((3, 3), padding=(1, 1)), 6, groups=3), [(0, 5, 5, 3), (2, 7, 6, 9)]),
    Case("conv, relu and pool", _conv_pool(True), SIZES, HALF_TOO),
    Case("conv and pool", _conv_pool(False), SIZES, HALF_TOO),
    Case("augment", _augment(padding=2, flip=0.5, cutout=3, fill=0.3), PICTURES, SINGLE),
    Case("augment, reflecting", _augment(padding=3, reflect=True, cutout=4), PICTURES, SINGLE),
    Case("augment, other draws", _augment(padding=1, flip=0.3, cutout=2, shift_at=1, flip_at=0), PICTURES, SINGLE),
    Case("augment, nothing", _augment(), PICTURES, SINGLE),
    Case("mirror", _mirror, PICTURES),
    Case("gemm, naive", _product("gemm_naive"), PRODUCTS),
    Case("gemm, tiled", _product("gemm_tiled"), PRODUCTS),
    Case("gemm, blocked", _product("gemm_blocked"), PRODUCTS, HALF_TOO),
]
