"""Convolution on a GPU: a product of matrices that are never written down; see `core/kernels/conv.cu`.

A 1 x 1 convolution is a plain product, by cuBLAS. Convolutions in groups take the sum over the points of the kernel
from `core.ops.cpu.conv_simple`, each point one product by cuBLAS.
"""

from __future__ import annotations

from core.backend import Array, array_module
from core.kernels import launch
from core.ops.cpu.conv_chain import POOL
from core.ops.cpu.conv_simple import simple_conv2d_backward, simple_conv2d_forward
from core.ops.gpu.activation import IDENTITY, activate
from core.ops.gpu.matmul import TILE_THREADS, tiles
from core.ops.gpu.norm import column_sums, dtype_of_sums
from core.ops.gpu.pool import max_pool_backward, max_pool_forward, window_sizes
from core.ops.windows import Windows
from core.workspaces import Workspace

__all__ = ["conv2d_backward", "conv2d_forward", "conv_relu_pool_backward", "conv_relu_pool_forward"]

WANTED_BLOCKS = 512  # so many keep a large GPU busy
SHORTEST_STRETCH = 256  # pixels of a sum that are worth a block


def conv2d_forward(
    x: Array, weight: Array, bias: Array | None, windows: Windows, groups: int, y: Array, workspace: Workspace
) -> None:
    """See `core.ops.cpu.conv`."""
    rows, (C, K) = y.size // max(1, weight.shape[1]), (x.shape[3], weight.shape[1])
    if windows.is_point and groups == 1:
        array_module(x).matmul(x.reshape(-1, C), weight, out=y.reshape(-1, K))
        if bias is not None:
            activate(IDENTITY, y, bias, y)
    elif groups == 1:
        launch("conv2d_forward", tiles(rows, K, x), TILE_THREADS, x=x, weight=weight, bias=bias, y=y, **_sizes(windows))
    else:
        y[...] = simple_conv2d_forward(x, weight, bias, windows, groups)


def conv2d_backward(
    dy: Array,
    x: Array,
    weight: Array,
    windows: Windows,
    groups: int,
    dx: Array | None,
    workspace: Workspace,
    bias: bool = True,
) -> tuple[Array, Array | None]:
    """See `core.ops.cpu.conv`."""
    xp, (C, K) = array_module(x), (x.shape[3], weight.shape[1])
    dbias = column_sums(dy.reshape(-1, K)) if bias else None
    if groups == 1 and windows.is_point:
        rows, drows = x.reshape(-1, C), dy.reshape(-1, K)
        if dx is not None:
            xp.matmul(drows, weight.T, out=dx.reshape(-1, C))
        return rows.T @ drows, dbias
    if groups > 1:
        dinput, dweight, _ = simple_conv2d_backward(dy, x, weight, windows, groups)
        if dx is not None:
            dx[...] = dinput
        return dweight, dbias
    if dx is not None:
        input_gradient(dy, weight, windows, dx)
    return weight_gradient(dy, x, weight, windows), dbias


def conv_relu_pool_forward(
    x: Array, weight: Array, bias: Array | None, windows: Windows, y: Array, keep: bool, workspace: Workspace
) -> Array | None:
    """See `core.ops.cpu.conv_block`: the convolution, then the maximum and, with a bias, ReLU in one pass."""
    products = workspace("products", (len(x), *windows.count(*x.shape[1:3]), weight.shape[1]), like=x)
    conv2d_forward(x, weight, None, windows, 1, products, workspace)
    return max_pool_forward(products, POOL, y, keep, workspace, bias)


def conv_relu_pool_backward(
    dy: Array,
    x: Array,
    y: Array | None,
    winners: Array,
    weight: Array,
    windows: Windows,
    dx: Array | None,
    workspace: Workspace,
) -> tuple[Array, Array | None]:
    """See `core.ops.cpu.conv_block`."""
    dproducts = workspace("products", (len(x), *windows.count(*x.shape[1:3]), weight.shape[1]), like=x)
    max_pool_backward(dy, winners, POOL, dproducts, workspace, y)
    return conv2d_backward(dproducts, x, weight, windows, 1, dx, workspace, bias=y is not None)


def input_gradient(dy: Array, weight: Array, windows: Windows, dx: Array) -> None:
    """Fill dx (N, H, W, C) from dy (N, OH, OW, K) and the weight (KH * KW * C, K)."""
    C = dx.shape[3]
    grid = tiles(dx.size // C, C, dx)
    launch("conv2d_backward_input", grid, TILE_THREADS, dy=dy, weight=weight, dx=dx, **_sizes(windows))


def weight_gradient(dy: Array, x: Array, weight: Array, windows: Windows) -> Array:
    """In stretches of the sum over all pixels, as many as keep the GPU busy, which are added up in a fixed order."""
    points, K = weight.shape
    pixels = dy.size // K
    stretches = max(1, min(WANTED_BLOCKS // tiles(points, K, x), -(-pixels // SHORTEST_STRETCH)))
    parts = array_module(x).empty((stretches, points, K), dtype_of_sums(x))
    grid = (tiles(points, K, x), 1, stretches)
    launch("conv2d_backward_weight", grid, TILE_THREADS, x=x, dy=dy, dweight=parts, **_sizes(windows))
    total: Array = parts[0] if stretches == 1 else column_sums(parts.reshape(stretches, -1)).reshape(points, K)
    return total


def _sizes(windows: Windows) -> dict[str, int]:
    DH, DW = windows.dilation
    return window_sizes(windows) | {"DH": DH, "DW": DW}
