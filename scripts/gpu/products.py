"""How fast our products of matrices are beside cuBLAS, and our convolutions beside cuDNN. For `gpu_check.py`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from core.backend import gpu_module, to_device
from core.ops import gpu
from core.ops.gpu.conv import conv2d_forward, input_gradient, weight_gradient
from core.ops.windows import Windows
from scripts.gpu.clock import Action, Sizes

SAME = Windows((3, 3), padding=(1, 1))


def products(sizes: Sizes) -> Iterator[dict[str, Any]]:
    """How fast our products of matrices are, in TFLOP/s and as a share of cuBLAS in the same precision."""
    xp = gpu_module()
    of_dtype = {"float32": ("gemm_naive", "gemm_tiled", "gemm_blocked"), "float16": ("gemm_blocked",)}
    for side, (dtype, names) in itertools.product(sizes.matrices, of_dtype.items()):
        a, b, c = (noise(dtype, side, side) for _ in range(3))
        kind = {"side": side, "dtype": dtype}
        theirs = sizes.clock.seconds(lambda a=a, b=b, c=c: xp.matmul(a, b, out=c))
        yield {**kind, "name": "cuBLAS", "tflops": 2e-12 * side**3 / theirs, "share": 1.0}
        for name in names:
            ours = sizes.clock.seconds(lambda a=a, b=b, c=c, name=name: getattr(gpu, name)(a, b, c))
            yield {**kind, "name": name, "tflops": 2e-12 * side**3 / ours, "share": theirs / ours}


def convolutions(sizes: Sizes) -> Iterator[dict[str, Any]]:
    """TFLOP/s of the passes of 3 x 3 convolutions, and cuDNN's where PyTorch and its CUDA are there."""
    for (side, C, K), dtype in itertools.product(sizes.convolutions, ("float32", "float16")):
        shape = (sizes.batch, side, side)
        operations = 2 * 9 * C * K * sizes.batch * side**2
        theirs = dict(cudnn_passes(dtype, shape, C, K))
        for name, action in our_passes(dtype, shape, C, K):
            row = {"pixels": side, "channels": f"{C} to {K}", "dtype": dtype, "pass": name}
            row["tflops"] = 1e-12 * operations / sizes.clock.seconds(action)
            if name in theirs:
                row["cudnn_tflops"] = 1e-12 * operations / sizes.clock.seconds(theirs[name])
                row["share"] = row["tflops"] / row["cudnn_tflops"]
            yield row


def our_passes(dtype: str, shape: tuple[int, int, int], C: int, K: int) -> Iterator[tuple[str, Action]]:
    """(name, a call) of each pass over images of that shape, from C to K channels."""
    x, dy, weight = noise(dtype, *shape, C), noise(dtype, *shape, K), noise(dtype, 9 * C, K)
    dx, y = noise(dtype, *shape, C), noise(dtype, *shape, K)
    yield "forward", lambda: conv2d_forward(x, weight, None, SAME, 1, y, None)  # type: ignore[arg-type]
    yield "input's gradient", lambda: input_gradient(dy, weight, SAME, dx)
    yield "weight's gradient", lambda: weight_gradient(dy, x, weight, SAME)


def cudnn_passes(dtype: str, shape: tuple[int, int, int], C: int, K: int) -> Iterator[tuple[str, Action]]:
    """The same in PyTorch, in the faster order of images for tensor cores; nothing without its CUDA."""
    try:
        import torch
    except ImportError:
        return
    if not torch.cuda.is_available():
        return
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = False, True
    N, H, W = shape
    order = torch.channels_last

    def tensor(*size: int) -> Any:
        return torch.randn(*size, device="cuda", dtype=getattr(torch, dtype)).to(memory_format=order)

    x, dy, weight = tensor(N, C, H, W), tensor(N, K, H, W), tensor(K, C, 3, 3)
    yield "forward", lambda: torch.nn.functional.conv2d(x, weight, padding=1)
    for name, wanted in (("input's gradient", [True, False, False]), ("weight's gradient", [False, True, False])):
        yield (
            name,
            lambda wanted=wanted: torch.ops.aten.convolution_backward(
                dy, x, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, wanted
            ),
        )


def noise(dtype: str, *shape: int) -> Any:
    """Random numbers on the GPU; a product of zeros would be faster than one of data."""
    return to_device(np.random.default_rng(0).standard_normal(shape, np.float32).astype(dtype), "gpu")
