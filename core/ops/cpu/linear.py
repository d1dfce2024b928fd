"""The products of a fully connected layer, which BLAS's own threads share where that pays.

A worker would have to be woken for each product. On a virtual machine that takes up to 80 microseconds, as long as half
a product of a small layer; BLAS's threads wait in a loop and begin at once. They yield to others who want their core,
so the workers take no longer for what they share, convolutions and element-wise work; but where two other processes
want two cores, a step takes twice as long as it would with workers. Who is a worker already, with his own part of the
batch (as in `core.layers.Parallel`), multiplies in one thread.
"""

from __future__ import annotations

import numpy as np

from core.backend import Array
from core.blas import with_blas_threads
from core.ops.cpu import products
from core.workers import can_share, workers

__all__ = ["linear_backward", "linear_forward"]

MULTIPLICATIONS_WORTH_SHARING = 4e6  # of fewer, products in place make up for a second thread where rows are few


def linear_forward(x: Array, weight: Array, y: Array) -> None:
    """y = x W for x (M, D), W (D, K), y (M, K)."""
    if _is_worth_sharing(x, weight):
        with_blas_threads(workers().count, np.matmul, x, weight, y)
    elif len(x) == 1 and x.dtype is weight.dtype is y.dtype:
        np.dot(x, weight, out=y)  # begins sooner than other products, but needs one dtype
    else:
        products.product(x, weight, y)


def linear_backward(x: Array, dy: Array, weight: Array, dx: Array | None, out: Array) -> None:
    """out = x^T dy, the gradient (D, K) of the weight, and dx = dy W^T unless dx is None; x, dx: (M, D), dy: (M, K)."""
    if _is_worth_sharing(x, weight):
        with_blas_threads(workers().count, _backward_products, x, dy, weight, dx, out)
        return
    products.product_of_transposed(x, dy, out)
    if dx is not None:
        products.product_with_transposed(dy, weight, dx)


def _is_worth_sharing(x: Array, weight: Array) -> bool:
    return bool(x.size * weight.shape[1] >= MULTIPLICATIONS_WORTH_SHARING) and can_share()


def _backward_products(x: Array, dy: Array, weight: Array, dx: Array | None, out: Array) -> None:
    np.matmul(x.T, dy, out=out)
    if dx is not None:
        np.matmul(dy, weight.T, out=dx)
