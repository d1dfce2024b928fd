"""The proofs of every kernel that need no GPU: it compiles, it agrees with the CPU's operation, nothing goes astray."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from kernel_sanitizer import run_sanitized

from core import kernels
from core.cores import usable_cores
from core.kernels import FOLDER, KERNELS, Kernels, shim
from core.kernels.compile import ADVICE, ARCHITECTURES, NO_COMPILER, compile_folder, main, usage
from core.kernels.compilers import find_compiler
from core.kernels.shim import thread_order
from core.ops import gpu
from core.ops.proofs import CASES, Case, Difference, check

ROOT = Path(__file__).resolve().parents[2]
ALL = [(name, dtype) for name, case in CASES.items() for dtype in case.dtypes]

needs_cpp = pytest.mark.skipif(shim.compiler() is None, reason="kernels run on the CPU only with g++ or clang++")
needs_cuda = pytest.mark.skipif(find_compiler() is None, reason=ADVICE)


@needs_cuda
def test_every_kernel_compiles():
    assert compile_folder(FOLDER, ARCHITECTURES[:1], find_compiler()) == 0  # .ci/run takes them all


@needs_cuda
def test_a_kernel_that_does_not_compile_is_named(tmp_path, capsys):
    (tmp_path / "wrong.cu").write_text("__global__ void wrong(float* y,  // (N)\n int N) { y[0] = undeclared; }\n")
    assert main([str(tmp_path), "--architectures", "sm_90"]) == 1
    output = capsys.readouterr().out
    assert "wrong.cu does not compile for sm_90" in output
    assert "undeclared" in output


@needs_cuda
def test_registers_are_reported(capsys):
    assert main([str(ROOT / "tests" / "kernels" / "faulty"), "--usage", "--architectures", "sm_90"]) == 0
    assert "registers" in capsys.readouterr().out
    (name, registers, spilled), *_ = usage(
        "Compiling entry function 'f' for 'sm_90'\n 0 bytes stack frame, 8 bytes spill stores\n Used 40 registers"
    )
    assert (name, registers, spilled) == ("f", 40, 8)


@pytest.mark.parametrize("place", ["nowhere", "empty", "kernel.cu"])
def test_a_folder_without_kernels_is_a_mistake(tmp_path, capsys, place):
    (tmp_path / "empty").mkdir()
    (tmp_path / "kernel.cu").write_text("")
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path / place)])
    assert caught.value.code == 2
    assert "is no folder with .cu files" in capsys.readouterr().err


def test_without_a_compiler_the_advice_is_clear(monkeypatch, capsys):
    monkeypatch.setattr("core.kernels.compile.find_compiler", lambda: None)
    assert main([]) == NO_COMPILER
    assert capsys.readouterr().out.strip() == ADVICE


@needs_cpp
@pytest.mark.parametrize(("name", "dtype"), ALL)
def test_it_agrees_with_the_cpu_in_every_order(name, dtype, monkeypatch):
    in_every_order(CASES[name], dtype, monkeypatch)


def in_every_order(case, dtype, monkeypatch):
    """Check a case in grids of three blocks, so that small arrays need several; the order must change nothing."""
    monkeypatch.setattr(kernels, "MOST_BLOCKS", 3)
    for size in case.sizes:
        results = []
        for order in shim.ORDERS:
            with thread_order(order):
                results.append(check(case, dtype, size, np.array))
        for other in results[1:]:
            for part, array in results[0].items():
                np.testing.assert_array_equal(array, other[part], err_msg=f"{size} {part} depends on the order")


@needs_cpp
def test_no_kernel_lacks_a_proof(monkeypatch):
    launched, launch = set(), shim.Library.launch

    def noted(library, instance, *arguments):
        launched.add(instance)
        launch(library, instance, *arguments)

    monkeypatch.setattr(shim.Library, "launch", noted)
    for name, dtype in ALL:
        check(CASES[name], dtype, CASES[name].sizes[1], np.array)
    every = {instance for signature in KERNELS.signatures.values() for instance in signature.instances()}
    assert every - launched == set()


@needs_cpp
def test_address_sanitizer_finds_nothing():
    count = usable_cores()
    codes = [f"from kernel_sanitizer import run_cases; run_cases({first}, {count})" for first in range(count)]
    with ThreadPoolExecutor(count) as pool:
        runs = list(pool.map(run_sanitized, codes))
    for done in runs:
        assert done.returncode == 0, done.stderr[-4000:]
    assert sum(int(done.stdout.split()[-1]) for done in runs) == len(CASES)


# A case that notices when a barrier of the file is missing.
BARRIERS = {
    "columns.cu": "column sums",
    "dropout.cu": "dropout",
    "gemm.cu": "gemm, tiled",
    "tensor.cuh": "gemm, blocked",
    "tile.cuh": "gemm, blocked",
    "walk.cuh": "gru, little memory",
}


@needs_cpp
@pytest.mark.parametrize("name", BARRIERS)
def test_no_barrier_can_be_spared(name, tmp_path, monkeypatch):
    text = (FOLDER / name).read_text()
    places = [match.span() for match in re.finditer(r"__syncthreads\(\);", text)]
    assert places
    for number, (start, end) in enumerate(places):
        folder = tmp_path / str(number)
        shutil.copytree(FOLDER, folder, ignore=lambda _, names: [n for n in names if not n.endswith((".cu", ".cuh"))])
        (folder / name).write_text(text[:start] + text[end:])
        mutant = Kernels(folder)
        for attribute in ("folder", "signatures", "_binders"):  # of the object whose `launch` the operations hold
            monkeypatch.setitem(vars(KERNELS), attribute, getattr(mutant, attribute))
        with pytest.raises(AssertionError):
            in_every_order(CASES[BARRIERS[name]], "float16" if name == "tensor.cuh" else "float32", monkeypatch)


def test_every_file_with_barriers_is_in_the_list():
    found = {path.name for path in FOLDER.glob("*.cu*") if "__syncthreads" in path.read_text()}
    assert found == {*BARRIERS, "kernel.cuh"}  # tests/kernels/test_shim.py has what kernel.cuh sums up


@needs_cpp
def test_a_difference_is_noticed():
    def run(op, draw, N):
        y = draw.normal(N)
        return {"y": y * 1.001 if op is gpu else y}

    with pytest.raises(Difference, match=r"wrong, float32, \(9,\): y at \(\d,\) is .* off by 1.0e-03 of the largest"):
        check(Case("wrong", run, [(9,)]), "float32", (9,), np.array)
    forgets = Case("forgets", lambda op, draw, N: {"y": draw.output(N) if op is gpu else draw.normal(N)}, [(9,)])
    with pytest.raises(Difference, match="forgets"):
        check(forgets, "float32", (9,), np.array)


def test_proofs_import_without_a_gpu():
    done = subprocess.run(
        [sys.executable, "-c", "import core.ops.proofs, sys; print('cupy' in sys.modules)"],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
