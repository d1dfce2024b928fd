"""Convolution, bias, ReLU and 2 x 2 max-pooling one after the other, where no method does them in one pass.

Pooled first: max(relu(y + b)) = relu(max(y) + b), since adding a bias and ReLU are monotone.
"""

from __future__ import annotations

from core.backend import Array
from core.ops.cpu.activation import relu_backward, relu_forward
from core.ops.cpu.conv import add_to_rows, conv2d_backward, conv2d_forward
from core.ops.cpu.pool import max_pool_backward, max_pool_forward
from core.ops.windows import Windows
from core.workspaces import Workspace

POOL = Windows((2, 2), stride=(2, 2))


def chain_forward(
    x: Array, weight: Array, bias: Array | None, windows: Windows, y: Array, keep: bool, workspace: Workspace
) -> tuple[Array, Array] | None:
    """See `core.ops.cpu.conv_block.conv_relu_pool_forward`."""
    products = workspace("products", (len(x), *windows.count(*x.shape[1:3]), weight.shape[1]), like=x)
    conv2d_forward(x, weight, None, windows, 1, products, workspace)
    winners = max_pool_forward(products, POOL, y, keep, workspace)
    if bias is not None:
        add_to_rows(y, bias)
        relu_forward(y, y)
    return winners


def chain_backward(
    dy: Array,
    x: Array,
    y: Array | None,
    winners: tuple[Array, Array],
    weight: Array,
    windows: Windows,
    dx: Array | None,
    workspace: Workspace,
) -> tuple[Array, Array | None]:
    """See `core.ops.cpu.conv_block.conv_relu_pool_backward`."""
    through_relu = dy if y is None else workspace("through relu", dy.shape, like=x)
    if y is not None:
        relu_backward(dy, y, through_relu)
    dproducts = workspace("products", (len(x), *windows.count(*x.shape[1:3]), weight.shape[1]), like=x)
    max_pool_backward(through_relu, winners, POOL, dproducts, workspace)
    return conv2d_backward(dproducts, x, weight, windows, 1, dx, workspace, bias=y is not None)
