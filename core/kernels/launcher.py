"""A folder of `.cu` files, and the launch of one of their kernels: checked, typed, compiled at the first use."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.kernels import shim
from core.kernels.arguments import Binder, Size, check_launch
from core.kernels.signature import KernelError, Signature, signatures
from core.kernels.source import flattened

OPTIONS = ("--std=c++17",)


class Kernels:
    """All kernels of one folder, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._binders: dict[str, Binder] = {}
        self._functions: dict[str, Any] = {}  # compiled for the GPU

    @functools.cached_property
    def signatures(self) -> dict[str, Signature]:
        """Every kernel of the folder as its source declares it; KernelError if two have one name."""
        found: dict[str, Signature] = {}
        for path in sorted(self.folder.glob("*.cu")):
            for signature in signatures(path):
                if signature.name in found:
                    raise KernelError(f"{signature.name} is in {path.name} and in {found[signature.name].path.name}")
                found[signature.name] = signature
        return found

    def instances(self, path: Path) -> tuple[str, ...]:
        """How C++ calls every kernel of one file, for all its types."""
        return tuple(name for s in self.signatures.values() if s.path == path for name in s.instances())

    def launch(self, name: str, grid: Size, block: Size, /, *, shared_bytes: int = 0, **arguments: Any) -> None:
        """Run a kernel: on a GPU for CuPy arrays, on the CPU, through the shim, for NumPy arrays.

        `grid` and `block` count blocks and threads, one number or up to three; an empty grid does nothing.
        `shared_bytes` is the size of the dynamic shared memory. Sizes that stand in the shapes of the arrays need not
        be given. Raises KernelError, a ValueError, for anything that does not fit the kernel's declaration, and
        ShimError as `core.kernels.shim` says.
        """
        binder = self._binders.get(name) or self._binder(name)
        blocks, threads = check_launch(name, grid, block, shared_bytes)
        plan, values = binder(arguments)
        if 0 in blocks:
            return
        if plan.on_host:
            path = binder.signature.path
            shim.built(path, self.instances(path)).launch(plan.instance, blocks, threads, shared_bytes, values)
            return
        if plan.function is None:
            plan.function = self._compiled(binder.signature, plan.instance)
        plan.function(blocks, threads, tuple(values), shared_mem=shared_bytes)

    def _compiled(self, signature: Signature, instance: str) -> Any:
        """The function of that name on the GPU, which has a thousand plans where shapes are ragged."""
        if instance not in self._functions:
            module = _module(signature.path, self._beside(signature, instance))
            self._functions[instance] = module.get_function(instance)
        return self._functions[instance]

    def _binder(self, name: str) -> Binder:
        if name not in self.signatures:
            raise KernelError(f"there is no kernel {name} in {self.folder.name}; there are {sorted(self.signatures)}")
        return self._binders.setdefault(name, Binder(self.signatures[name]))

    def _beside(self, signature: Signature, instance: str) -> tuple[str, ...]:
        """What is compiled together: the kernels of the file for one type, so that float never waits for double."""
        kind = instance.removeprefix(signature.name)
        return tuple(name for name in self.instances(signature.path) if name.endswith(kind) or "<" not in name)


@functools.cache
def _module(path: Path, together: Sequence[str]) -> Any:
    """Compiled by NVRTC for the GPU at hand; CuPy keeps the result on disk."""
    import cupy

    return cupy.RawModule(code=flattened(path), options=OPTIONS, name_expressions=list(together))
