"""The compilers that make GPU code without a GPU: NVRTC, which CuPy uses too, or nvcc."""

from __future__ import annotations

import ctypes
import functools
import glob
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from core.kernels.launcher import OPTIONS
from core.kernels.signature import KernelError
from core.kernels.source import flattened


class Compiler(Protocol):
    """Compiles one file for one GPU generation."""

    name: str

    def compile(self, path: Path, instances: Sequence[str], architecture: str) -> str:
        """Returns the assembler's report on registers; raises KernelError with the compiler's words."""


class Nvrtc:
    """The compiler that comes as a library: a text in, machine code out."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        major, minor = ctypes.c_int(), ctypes.c_int()
        library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        self.name = f"NVRTC {major.value}.{minor.value}"

    def compile(self, path: Path, instances: Sequence[str], architecture: str) -> str:
        """See `Compiler`."""
        library, program = self._library, ctypes.c_void_p()
        library.nvrtcCreateProgram(ctypes.byref(program), flattened(path).encode(), path.name.encode(), 0, None, None)
        for name in instances:
            library.nvrtcAddNameExpression(program, name.encode())
        options = [*OPTIONS, f"--gpu-architecture={architecture}", "--ptxas-options=-v"]
        array = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
        failed = library.nvrtcCompileProgram(program, len(options), array)
        log = self._log(program)
        library.nvrtcDestroyProgram(ctypes.byref(program))
        if failed:
            raise KernelError(f"{path.name} does not compile for {architecture}:\n{log}")
        return log

    def _log(self, program: ctypes.c_void_p) -> str:
        size = ctypes.c_size_t()
        self._library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        text = ctypes.create_string_buffer(max(1, size.value))
        self._library.nvrtcGetProgramLog(program, text)
        return text.value.decode(errors="replace")


class Nvcc:
    """The compiler of the CUDA toolkit, several times slower."""

    name = "nvcc"

    def __init__(self, program: str) -> None:
        self._program = program

    def compile(self, path: Path, instances: Sequence[str], architecture: str) -> str:
        """See `Compiler`."""
        addresses = ", ".join(f"(void*)&{name}" for name in instances)  # which makes the compiler write them out
        with tempfile.TemporaryDirectory() as work:
            source = Path(work) / path.name
            source.write_text(f"{flattened(path)}\nvoid* kernels[] = {{{addresses}}};\n", encoding="utf-8")
            command = [self._program, *OPTIONS, "-cubin", f"-arch={architecture}", "-Xptxas", "-v", str(source)]
            done = subprocess.run([*command, "-o", f"{work}/out.cubin"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise KernelError(f"{path.name} does not compile for {architecture}:\n{done.stderr}")
        return done.stderr


@functools.cache
def find_compiler() -> Compiler | None:
    """NVRTC from a Python package, the library path or a toolkit; else nvcc; else None."""
    for candidate in [*_packaged(), "libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", *_installed()]:
        try:
            return Nvrtc(ctypes.CDLL(candidate))
        except OSError:
            continue
    program = shutil.which("nvcc")
    return Nvcc(program) if program else None


def _packaged() -> list[str]:
    """Where `pip install nvidia-cuda-nvrtc` puts the library."""
    spec = importlib.util.find_spec("nvidia")
    folders = list(spec.submodule_search_locations or []) if spec else []
    return [name for folder in folders for name in sorted(glob.glob(f"{folder}/*/lib/libnvrtc.so.*"), reverse=True)]


def _installed() -> list[str]:
    return sorted(glob.glob("/usr/local/cuda*/lib64/libnvrtc.so"), reverse=True)
