"""The NumPy/CuPy switch: where an array lives, how it gets there, and why a GPU cannot be used.

Everything else in `core` asks `array_module(x)` and calls what NumPy and CuPy have in common.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from core.errors import UserError

Array: TypeAlias = NDArray[Any]
Device: TypeAlias = Literal["cpu", "gpu"]
DeviceChoice: TypeAlias = Literal["auto", "cpu", "gpu"]

OF_NUMPY = (np.ndarray, np.generic)
_stand_in: Any = None  # what plays CuPy's part, if anything does


def on_cpu(x: Any) -> bool:
    """Whether `x` is NumPy's. Every operation of every layer asks, so this is made to be quick."""
    return isinstance(x, OF_NUMPY) and (_stand_in is None or not isinstance(x, _stand_in.ndarray))


def array_module(x: Any) -> Any:
    """The module that computes with `x`: numpy, or cupy for an array on a GPU; TypeError for what is no array."""
    if on_cpu(x):
        return np
    module = _stand_in or sys.modules.get("cupy")  # who has an array of it has imported it
    if module is None or not isinstance(x, module.ndarray):
        raise TypeError(f"expected an array of NumPy or CuPy, got {type(x).__name__}")
    return module


def device_of(x: Any) -> Device:
    """Where `x` lives; TypeError for what is no array."""
    return "cpu" if array_module(x) is np else "gpu"


def gpu_module() -> Any:
    """CuPy, or what stands in for it; ImportError without either."""
    return _stand_in or importlib.import_module("cupy")


@contextmanager
def stand_in_for_cupy(module: Any) -> Iterator[None]:
    """Within this context `module` plays CuPy's part; see `core.kernels.emulated`."""
    global _stand_in
    before, _stand_in = _stand_in, module
    try:
        yield
    finally:
        _stand_in = before


def to_cpu(x: Any) -> Array:
    """`x` as a NumPy array: itself if it is one already, else a copy from the GPU."""
    if device_of(x) == "cpu":
        return np.asarray(x)
    host: Array = gpu_module().asnumpy(x)
    return host


def to_device(x: Any, device: Device, dtype: DTypeLike | None = None) -> Array:
    """`x` as an array on `device`, copied only where device or dtype differ."""
    if device == "cpu":
        return np.asarray(to_cpu(x), dtype=dtype)
    array: Array = gpu_module().asarray(x, dtype=dtype)
    return array


def select_device(choice: DeviceChoice) -> Device:
    """Turn the setting `--device auto|cpu|gpu` into a device.

    Raises UserError with the reason when a GPU is asked for and there is none; "auto" then takes the CPU.
    """
    if choice == "cpu":
        return "cpu"
    reason = why_no_gpu()
    if choice == "gpu" and reason:
        raise UserError(f"--device gpu: {reason}; use --device cpu or auto")
    return "cpu" if reason else "gpu"


def why_no_gpu() -> str:
    """The reason why no GPU can be used, in a few words; empty when one can."""
    try:
        cupy = gpu_module()
    except ImportError:
        return 'CuPy is not installed (pip install -e ".[gpu-cuda12]" or ".[gpu-cuda13]")'
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy found no usable GPU ({error})"
    return "" if count > 0 else "CuPy found no GPU"


def free_gpu_memory() -> int:
    """How many bytes nobody has taken yet, of the GPU's memory."""
    return int(gpu_module().cuda.runtime.memGetInfo()[0])
