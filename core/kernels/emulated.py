"""A GPU that is not there: arrays that behave like CuPy's, on the CPU, so that whole networks take the GPU's path.

    with emulated_gpu() as gpu:
        network.to("gpu")                   # its arrays are EmulatedArray now, and ops.of(x) is core.ops.gpu
        with gpu.forbid_waiting():          # a float(), an `if` or a copy to the host raises here
            train_one_step()

Kernels run through the shim and everything else in NumPy. What CuPy refuses is refused here too: to mix arrays of CPU
and GPU, and to convert one to NumPy by the way. What the emulation cannot show is CuPy itself and the hardware.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

from core import backend

# What makes a new array, out of nothing or out of another one, which may be on the host.
CREATORS = ("arange", "array", "asarray", "ascontiguousarray", "empty", "eye", "full", "linspace", "ones", "zeros")
TAKERS = (np.array, np.asarray, np.ascontiguousarray)


class WaitsForTheGPU(AssertionError):  # noqa: N818 - a sentence, like all else that a failing test says
    """The host looked at a number on the GPU, and so had to wait for it."""


class EmulatedArray(np.ndarray):
    """An array "on the GPU". Results of operations are such arrays too, also where NumPy would return a scalar."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **keywords: Any) -> Any:
        plain = [_plain(value) for value in inputs]
        keywords = {name: _plain(value) for name, value in keywords.items()}
        if out is not None:
            keywords["out"] = tuple(_plain(array) for array in out)
        with np.errstate(all="ignore"):  # a GPU does not warn
            result = getattr(ufunc, method)(*plain, **keywords)
        return out[0] if out is not None and len(out) == 1 else _on_gpu(result)

    def __array_function__(self, function: Any, types: Any, given: Any, keywords: Any) -> Any:
        with np.errstate(all="ignore"):
            result = function(*_plain(given), **{name: _plain(value) for name, value in keywords.items()})
        out = keywords.get("out")
        return out if out is not None else _on_gpu(result)

    # CuPy takes indices that are NumPy arrays, but copies them to the GPU in silence; so they are refused too.
    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, np.ndarray) and key.dtype == bool:
            _wait("a mask as an index, whose true values it has to count,")
        return _on_gpu(np.ndarray.__getitem__(_view(self), _plain(key)))

    def __setitem__(self, key: Any, value: Any) -> None:
        np.ndarray.__setitem__(_view(self), _plain(key), _plain(value))

    def copy(self, order: Any = "C") -> Any:
        """A copy on the same "device"."""
        return _on_gpu(np.array(_view(self), order=order, copy=True))

    def get(self) -> Any:
        """A NumPy copy on the host, as CuPy's arrays give it."""
        _wait("a copy to the host")
        return np.array(_view(self))

    def item(self, *place: Any) -> Any:
        _wait("item()")
        return _view(self).item(*place)

    def tolist(self) -> Any:
        _wait("tolist()")
        return _view(self).tolist()

    def __float__(self) -> float:
        _wait("float()")
        return float(_view(self))

    def __int__(self) -> int:
        _wait("int()")
        return int(_view(self))

    def __index__(self) -> int:
        _wait("an index")
        return int(_view(self).__index__())

    def __bool__(self) -> bool:
        _wait("a truth value")
        return bool(_view(self))

    def __array__(self, *arguments: Any, **keywords: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")


class EmulatedGPU:
    """What `import cupy` gives, as far as this project uses it."""

    ndarray = EmulatedArray
    float16, float32, float64 = np.float16, np.float32, np.float64
    cuda = SimpleNamespace(
        runtime=SimpleNamespace(
            getDeviceCount=lambda: 1, memGetInfo=lambda: (2**33, 2**34), CUDARuntimeError=RuntimeError
        )
    )

    def __init__(self) -> None:
        self.waits = 0  # how often the host waited for the GPU
        self.uploads = 0  # how often it sent data there
        self._forbidden = False

    def asnumpy(self, x: Any) -> Any:
        """A NumPy copy."""
        return x.get() if isinstance(x, EmulatedArray) else np.asarray(x)

    def interp(self, x: Any, places: Any, values: Any) -> Any:
        """What CuPy has of it."""
        if not x.flags.c_contiguous:
            raise NotImplementedError("Non-C-contiguous x is currently not supported")
        return np.interp(x, places, values)

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if name in CREATORS:
            return self._creating(found)
        return found

    def _creating(self, create: Callable[..., Any]) -> Callable[..., Any]:
        def created(*given: Any, **keywords: Any) -> Any:
            if create in TAKERS and not isinstance(given[0], EmulatedArray):
                self.uploads += 1
                return _on_gpu(np.array(*given, **keywords))  # in another memory than the host's
            return _on_gpu(create(*(_view(v) if isinstance(v, EmulatedArray) else v for v in given), **keywords))

        return created

    @contextmanager
    def forbid_waiting(self) -> Iterator[None]:
        """Within this context, whatever makes the host wait for the GPU raises WaitsForTheGPU."""
        before, self._forbidden = self._forbidden, True
        try:
            yield
        finally:
            self._forbidden = before

    def wait(self, why: str) -> None:
        """Note that the host waits."""
        self.waits += 1
        if self._forbidden:
            raise WaitsForTheGPU(f"{why} makes the host wait for the GPU")


@contextmanager
def emulated_gpu() -> Iterator[EmulatedGPU]:
    """Within this context the device "gpu" exists and is emulated."""
    gpu = EmulatedGPU()
    with backend.stand_in_for_cupy(gpu):
        yield gpu


def _wait(why: str) -> None:
    gpu = backend.gpu_module()
    if isinstance(gpu, EmulatedGPU):
        gpu.wait(why)


def _view(array: Any) -> Any:
    """The same memory as a NumPy array."""
    return np.ndarray.view(array, np.ndarray)


def _plain(value: Any) -> Any:
    """A copy of the arguments in which emulated arrays are views of NumPy's; refuses those that are NumPy's already."""
    if isinstance(value, EmulatedArray):
        return _view(value)
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}: an array of the CPU meets one of the GPU")
    if isinstance(value, list | tuple):
        return type(value)(_plain(part) for part in value)
    return value


def _on_gpu(result: Any) -> Any:
    if isinstance(result, np.ndarray | np.generic) and not isinstance(result, EmulatedArray):
        return np.asarray(result).view(EmulatedArray)
    if isinstance(result, list | tuple):
        return type(result)(_on_gpu(part) for part in result)
    return result
