"""What a kernel's text says of itself, and what a launch refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.kernels import KERNELS, KernelError, Kernels, shim
from core.kernels.signature import signatures
from core.kernels.source import flattened

TEXT = """
#include "kernel.cuh"

template <typename T>  // float, float16
__global__ void scale_forward(const T* x,       // (M, C; S): rows
                              const T* factors, // (C) or null
                              T* y,             // (M, C)
                              int* counts,      // (2 * M)
                              int M, int C, int S, float power) {
    y[0] = x[0];
}
"""


@pytest.fixture
def kernels(tmp_path):
    (tmp_path / "scale.cu").write_text(TEXT)
    return Kernels(tmp_path)


@pytest.fixture
def arguments():
    return {
        "x": np.ones((4, 6), np.float32)[:, :3],
        "factors": np.ones(3, np.float32),
        "y": np.ones((4, 3), np.float32),
        "counts": np.ones(8, np.int32),
        "power": 2.0,
    }


def test_a_declaration_is_understood(kernels):
    signature = kernels.signatures["scale_forward"]
    assert signature.types == ("float", "float16")
    assert kernels.instances(signature.path) == ("scale_forward<float>", "scale_forward<float16>")
    x, factors, _, counts, *scalars = signature.parameters
    assert (x.shape, x.stride, x.nullable) == ((("M",), ("C",)), "S", False)
    assert factors.nullable
    assert (counts.type, counts.shape) == ("int", (("2", "M"),))
    assert [(s.type, s.name) for s in scalars] == [("int", "M"), ("int", "C"), ("int", "S"), ("float", "power")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("__global__ void f(float* x, int N) {", "no comment with its shape"),
        ("__global__ void f(float* x,  // (N)\n int M) {", "names .'N'., which are no parameters"),
        ("__global__ void f(string* x,  // (N)\n int N) {", "cannot understand"),
        ("template <typename T>  // quad\n__global__ void f(T* x,  // (N)\n int N) {", "unknown types"),
        ("template <typename T, int K>\n__global__ void f(T x) {", "cannot understand"),
        ("struct A { __global__ int f(); };", "only .. can be understood"),
    ],
)
def test_a_strange_declaration_is_refused(tmp_path, text, words):
    (tmp_path / "f.cu").write_text(text)
    with pytest.raises(KernelError, match=words):
        signatures(tmp_path / "f.cu")


def test_two_kernels_of_one_name_are_refused(tmp_path):
    for name in ("a.cu", "b.cu"):
        (tmp_path / name).write_text("__global__ void f(int N) {}")
    with pytest.raises(KernelError, match=r"f is in b\.cu and in a\.cu"):
        Kernels(tmp_path).launch("f", 1, 1, N=1)


@pytest.mark.skipif(shim.compiler() is None, reason="kernels run on the CPU only with g++ or clang++")
def test_what_fits_is_launched(kernels, arguments):
    kernels.launch("scale_forward", 1, 1, **arguments)
    kernels.launch("scale_forward", 1, 1, **arguments | {"factors": None, "M": 4, "S": 6})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": np.ones((4, 3))}, "made for float, float16, not for double"),
        ({"x": np.ones((4, 3), np.float16)}, "expected factors of float16 like the other arrays, got float"),
        ({"counts": np.ones(8, np.int64)}, "expected counts of int32, got int64"),
        ({"factors": np.ones(4, np.float32)}, "expected factors .C. with C=3, got .4,."),
        ({"counts": np.ones(7, np.int32)}, r"expected counts .2 \* M. = .8., got .7,."),
        ({"x": np.ones((4, 3, 1), np.float32)}, "expected x .M, C., got .4, 3, 1."),
        ({"y": np.ones((3, 4), np.float32).T}, "expected y to be C-contiguous"),
        ({"x": np.ones((3, 4), np.float32).T}, "expected contiguous rows in x"),
        ({"S": 5}, "got S=5, but its arrays have S=6"),
        ({"M": 5}, "got M=5, but its arrays have M=4"),
        ({"x": None}, "needs the array x"),
        ({"x": [1.0]}, "expected an array for x, got list"),
        ({"strength": 1}, "has no parameter .'strength'."),
    ],
)
def test_what_does_not_fit_is_refused(kernels, arguments, change, words):
    for _ in range(2):  # what is right is remembered, what is wrong stays wrong
        with pytest.raises(KernelError, match=words):
            kernels.launch("scale_forward", 0, 1, **arguments | change)
        kernels.launch("scale_forward", 0, 1, **arguments)


COMPUTE = """
#include "kernel.cuh"

template <typename T>  // float, double, float16
__global__ void add_forward(const compute_t<T>* bias,  // (C)
                            T* y,                      // (M, C)
                            int M, int C, compute_t<T> factor) {
    for (int i = first_element(); i < M * C; i += all_threads()) y[i] = T(factor * bias[i % C] + compute_t<T>(y[i]));
}
"""


@pytest.mark.skipif(shim.compiler() is None, reason="kernels run on the CPU only with g++ or clang++")
@pytest.mark.parametrize(("kind", "wide"), [("float16", "float32"), ("float32", "float32"), ("float64", "float64")])
def test_what_is_computed_with_is_float_beside_float16(tmp_path, kind, wide):
    (tmp_path / "add.cu").write_text(COMPUTE)
    kernels, bias, y = Kernels(tmp_path), np.array([1, 2, 1e6], wide), np.ones((4, 3), kind)
    kernels.launch("add_forward", 1, 4, bias=bias, y=y, factor=0.5)
    np.testing.assert_array_equal(y, np.tile(np.array([1.5, 2, np.inf if kind == "float16" else 500001], kind), (4, 1)))
    other = "float64" if wide == "float32" else "float32"
    with pytest.raises(KernelError, match=f"expected bias of {wide}, got {other}"):
        kernels.launch("add_forward", 1, 4, bias=bias.astype(other), y=y, factor=0.5)
    with pytest.raises(KernelError, match="needs the array y"):
        kernels.launch("add_forward", 1, 4, bias=bias, y=None, M=4, C=3, factor=0.5)


def test_arrays_of_the_same_shape_are_not_checked_again_but_scalars_are(kernels, arguments):
    kernels.launch("scale_forward", 0, 1, **arguments)
    binder = kernels._binders["scale_forward"]
    plan, values = binder(arguments | {"power": 3})
    assert (plan.instance, plan.on_host) == ("scale_forward<float>", True)
    assert [v.dtype.name for v in values[4:]] == ["int32", "int32", "int32", "float32"]
    assert [float(v) for v in values[4:]] == [4, 3, 6, 3]
    assert values[0] is arguments["x"]
    assert binder(arguments | {"factors": None})[1][1] is None
    assert len(binder._plans) == 2


def test_a_fraction_is_no_integer(tmp_path):
    (tmp_path / "f.cu").write_text("__global__ void f(int N) {}")
    kernels = Kernels(tmp_path)
    kernels.launch("f", 0, 1, N=2)
    for _ in range(2):
        with pytest.raises(KernelError, match=r"expected an integer N, got 2\.5"):
            kernels.launch("f", 0, 1, N=2.5)


def test_a_missing_number_is_refused(kernels, arguments):
    del arguments["power"]
    with pytest.raises(KernelError, match="needs the number power"):
        kernels.launch("scale_forward", 1, 1, **arguments)


def test_an_unknown_kernel_is_refused(kernels):
    with pytest.raises(KernelError, match=r"no kernel scale_backward in .*there are .'scale_forward'."):
        kernels.launch("scale_backward", 1, 1)


@pytest.mark.parametrize(
    ("grid", "block", "shared", "words"),
    [
        ((1, 65536), 32, 0, "a grid of .1, 65536, 1. blocks"),
        (-1, 32, 0, "a grid of"),
        (1, 0, 0, "blocks of"),
        (1, (64, 32), 0, "blocks of .64, 32, 1. threads"),
        (1, 32, 50000, "50000 bytes of shared memory"),
    ],
)
def test_a_launch_that_no_gpu_could_run_is_refused(kernels, arguments, grid, block, shared, words):
    with pytest.raises(KernelError, match=words):
        kernels.launch("scale_forward", grid, block, shared_bytes=shared, **arguments)


def test_an_empty_grid_does_nothing(kernels, arguments):
    kernels.launch("scale_forward", 0, 32, **arguments)


def test_headers_are_written_into_the_text(tmp_path):
    (tmp_path / "own.cuh").write_text("#pragma once\nint own;\n")
    (tmp_path / "a.cu").write_text('#include "own.cuh"\n#include "kernel.cuh"\n#include "own.cuh"\nint last;\n')
    text = flattened(tmp_path / "a.cu")
    assert text.count("int own;") == 1
    assert "#include" not in text
    assert '#line 3 "a.cu"\n\nint last;' in text
    (tmp_path / "a.cu").write_text('#include "nowhere.cuh"\n')
    with pytest.raises(FileNotFoundError, match=r"a\.cu includes nowhere\.cuh"):
        flattened(tmp_path / "a.cu")


def test_the_core_has_kernels_and_documents_their_folder():
    assert KERNELS.signatures
    assert (Path(KERNELS.folder) / "README.md").exists()
