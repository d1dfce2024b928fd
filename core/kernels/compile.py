"""Compile every kernel for every GPU generation, without a GPU: the first of the four proofs.

    python -m core.kernels.compile                                all of core/kernels for sm_75 to sm_120
    python -m core.kernels.compile --usage music_cuda/kernels     that folder, with registers and spilled bytes

The compiler is NVRTC (pip install nvidia-cuda-nvrtc), which CuPy uses too, or nvcc. Exit code 0 when everything
compiles, 1 when something does not, 3 when there is no compiler.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from core.cli import guarded
from core.cores import usable_cores
from core.kernels.compilers import Compiler, find_compiler
from core.kernels.launcher import Kernels
from core.kernels.signature import KernelError
from core.kernels.source import FOLDER

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
NO_COMPILER = 3
ADVICE = "no compiler for GPU code: pip install nvidia-cuda-nvrtc, or install the CUDA toolkit"


def usage(report: str) -> list[tuple[str, int, int]]:
    """(mangled name, registers, spilled bytes) of each kernel, from the assembler's report."""
    found = []
    for part in report.split("Compiling entry function '")[1:]:
        registers, spilled = re.search(r"Used (\d+) registers", part), re.search(r"(\d+) bytes spill stores", part)
        found.append((part.split("'")[0], int(registers[1]) if registers else 0, int(spilled[1]) if spilled else 0))
    return found


def compile_folder(folder: Path, architectures: Sequence[str], compiler: Compiler, show_usage: bool = False) -> int:
    """Compile all kernels of a folder, on all cores, and print what happens; returns the number of failures."""
    failures = 0
    kernels = Kernels(folder)
    instances = {path: kernels.instances(path) for path in sorted({one.path for one in kernels.signatures.values()})}
    pool = ThreadPoolExecutor(usable_cores())
    try:
        running = {
            path: [pool.submit(compiler.compile, path, names, architecture) for architecture in architectures]
            for path, names in instances.items()
        }
        for path, reports in running.items():
            for architecture, report in zip(architectures, reports, strict=True):
                failures += not _succeeds(architecture, report, show_usage)
            print(f"{path.name}: {len(instances[path])} functions for {', '.join(architectures)}", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)  # nobody waits for the rest after Ctrl-C
    return failures


def _succeeds(architecture: str, report: Future[str], show_usage: bool) -> bool:
    """Wait for a compiler's report, and print registers from it, or why there is none."""
    try:
        text = report.result()
    except KernelError as error:
        print(error)
        return False
    for name, registers, spilled in usage(text) if show_usage else []:
        print(f"{architecture:<8}{registers:>4} registers{spilled:>6} bytes spilled  {name}")
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile what the command line names; the exit code."""
    parser = argparse.ArgumentParser(description="Compile every kernel for every GPU generation, without a GPU.")
    parser.add_argument("folders", nargs="*", type=Path, default=[FOLDER], help="folders of .cu files")
    parser.add_argument("--architectures", nargs="+", default=ARCHITECTURES, help="such as sm_90")
    parser.add_argument("--usage", action="store_true", help="print registers and spilled bytes of each kernel")
    chosen = parser.parse_args(arguments)
    for folder in chosen.folders:
        if not any(folder.glob("*.cu")):
            parser.error(f"{folder} is no folder with .cu files")
    compiler = find_compiler()
    if compiler is None:
        print(ADVICE)
        return NO_COMPILER
    failures = sum(compile_folder(f, chosen.architectures, compiler, chosen.usage) for f in chosen.folders)
    print(f"{compiler.name}: " + ("all compile" if not failures else f"{failures} failures"))
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(guarded(main))
