"""How many threads BLAS has of its own: one, but for a product that borrows more.

The workers are the parallelism, see `core.workers`. BLAS's own threads are better for a product that is over before a
worker has been woken: those of fully connected layers, and of a single row or image. NumPy's wheels bring OpenBLAS,
NumPy from conda may have MKL.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

SETTERS = (
    "MKL_Set_Num_Threads",
    *(  # OpenBLAS's names, as it calls itself and as NumPy's wheels call it
        f"{prefix}openblas_set_num_threads{suffix}" for prefix in ("", "scipy_") for suffix in ("", "64_", "_64")
    ),
)


def limit_blas_threads() -> None:
    """One BLAS thread for each thread that calls it: the workers are the parallelism."""
    for library in _libraries():
        _setter(library)(1)


_lending = threading.Lock()  # held while BLAS has threads
if hasattr(os, "register_at_fork"):
    # In OpenBLAS a fork ends its threads, under whatever product they are making: so it has to wait.
    os.register_at_fork(before=_lending.acquire, after_in_parent=_lending.release, after_in_child=_lending.release)


def with_blas_threads(count: int, make: Callable[..., Any], *arguments: Any) -> None:
    """Call make(*arguments), whose products get `count` of BLAS's own threads.

    They wait for work in a loop, OpenBLAS's for 0.1 seconds, while a worker has to be woken, which takes longer than it
    saves where a product is over soon. Where others use all cores they wait for each other, which can take some
    milliseconds: `core.fastest` notices, but a training does not, whose bits may not depend on how long something
    takes. Not for workers, all of whom the number would concern.
    """
    setters = _setters()
    with _lending:
        try:
            for set_count in setters:
                set_count(count)
            make(*arguments)
        finally:
            for set_count in setters:
                set_count(1)


def has_blas_threads() -> bool:
    """Whether there is a BLAS whose number of threads can be set."""
    return bool(_setters())


@cache
def _setters() -> list[Callable[[int], Any]]:
    return [_setter(library) for library in _libraries()]


def _setter(library: Any) -> Callable[[int], Any]:
    """What sets the number of threads of a BLAS.

    Its own function takes a quarter of the time of threadpoolctl's, which counts for one thread of the process only.
    """
    names = (name for name in SETTERS if hasattr(library.dynlib, name))
    setter: Callable[[int], Any] = getattr(library.dynlib, next(names, ""), library.set_num_threads)
    return setter


def _libraries() -> list[Any]:
    """What controls each BLAS of this process: that of conda's PyTorch, too, which its wheels keep to themselves."""
    from threadpoolctl import ThreadpoolController

    controllers = ThreadpoolController().lib_controllers
    return [one for one in controllers if one.user_api == "blas"]
