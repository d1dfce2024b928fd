"""Python with AddressSanitizer, which stops at the first read or write outside of an array."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from core.kernels import shim
from core.ops.proofs import CASES, check

ROOT = Path(__file__).resolve().parents[2]


def run_sanitized(code: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run `code` in a Python that had the sanitizer's library loaded before all else."""
    library = subprocess.run(
        [shim.compiler() or "g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    )
    settings = {
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "LD_PRELOAD": library.stdout.strip(),
        shim.SANITIZE: "1",
    }
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=os.environ | settings | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])},
        capture_output=True,
        text=True,
        check=False,
    )


# Elsewhere no index depends on the type.
TENSOR_CORES = ("conv", "gemm, blocked")


def run_cases(first: int, step: int) -> None:
    """Every so many cases, at all sizes, for one type, and for float16 on tensor cores; prints how many there were."""
    cases = list(CASES.values())[first::step]
    for case in cases:
        for dtype in (case.dtypes[0], *(["float16"] if case.name in TENSOR_CORES else [])):
            for size in case.sizes:
                check(case, dtype, size, np.array)
    print(len(cases))
