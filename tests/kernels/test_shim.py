"""The shim itself: it computes what a GPU would, and it catches the mistakes that a GPU would not tell of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from kernel_sanitizer import run_sanitized

from core.kernels import Kernels, shim
from core.kernels.shim import ShimError, thread_order

FAULTY = Kernels(Path(__file__).parent / "faulty")
ORDERS = ["forward", "reverse", "shuffled"]

needs_compiler = pytest.mark.skipif(shim.compiler() is None, reason="kernels run on the CPU only with g++ or clang++")


def results(name: str, x: np.ndarray, size: int | None = None, grid: int = 1, block: int = 256) -> list[np.ndarray]:
    """What a kernel computes in each order of the threads."""
    found = []
    for order in ORDERS:
        y = np.full(len(x) if size is None else size, 0, np.float32)
        with thread_order(order):
            FAULTY.launch(name, grid, block, x=x, y=y)
        found.append(y)
    return found


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal(250).astype(np.float32)


@needs_compiler
@pytest.mark.parametrize("order", ORDERS)
def test_warps_blocks_and_shared_memory_work(order):
    x = np.random.default_rng(0).standard_normal(3 * 128).astype(np.float32)
    votes = np.zeros(x.size, np.int32)
    shifted, sums, shared = (np.zeros_like(x) for _ in range(3))
    with thread_order(order):
        FAULTY.launch(
            "everything", 3, 128, shared_bytes=512, x=x, votes=votes, shifted=shifted, sums=sums, shared=shared
        )
    warps, blocks = x.reshape(-1, 32), x.reshape(3, 128)
    bits = ((warps > 0) * (1 << np.arange(32, dtype=np.int64))).sum(1)
    np.testing.assert_array_equal(votes.view(np.uint32).reshape(-1, 32), np.repeat(bits[:, None], 32, 1))
    expected = np.concatenate([warps[:, 1:], warps[:, -1:]], axis=1)  # the last lane keeps its own
    np.testing.assert_array_equal(shifted.reshape(-1, 32), expected)
    np.testing.assert_allclose(sums.reshape(3, 128), np.repeat(blocks.sum(1, keepdims=True), 128, 1), rtol=1e-5)
    np.testing.assert_array_equal(shared.reshape(3, 128), blocks[:, ::-1])


TENSOR_CORES = """
#include "tile.cuh"

// One warp, each lane with its fragments.
__global__ void fragments(const unsigned int* a,  // (N, 4)
                          const unsigned int* b,  // (N, 2)
                          float* sums,            // (N, 4)
                          int N) {
    float own_sums[4];
    unsigned own_a[4], own_b[2];
    for (int i = 0; i < 4; ++i) own_sums[i] = sums[4 * lane() + i];
    for (int i = 0; i < 4; ++i) own_a[i] = a[4 * lane() + i];
    for (int i = 0; i < 2; ++i) own_b[i] = b[2 * lane() + i];
    multiply_16_8_16(own_sums, own_a, own_b);
    for (int i = 0; i < 4; ++i) sums[4 * lane() + i] = own_sums[i];
}
"""


@needs_compiler
@pytest.mark.parametrize("order", ORDERS)
def test_tensor_cores_multiply_fragments_as_the_ptx_isa_lays_them_out(order, tmp_path):
    """The formulas are those of its section on mma.m16n8k16, word by word: groupID and threadID_in_group."""
    (tmp_path / "tensor.cu").write_text(TENSOR_CORES)
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(np.float16) for shape in ((16, 16), (16, 8)))
    before = rng.standard_normal((16, 8)).astype(np.float32)
    group, thread = np.divmod(np.arange(32)[:, None], 4)
    i = np.arange(8)
    a_row, a_column = group + 8 * ((i % 4) >= 2), thread * 2 + (i & 1) + 8 * (i >= 4)
    b_row, b_column = thread * 2 + (i[:4] & 1) + 8 * (i[:4] >= 2), group + 0 * i[:4]
    c_row, c_column = group + 8 * (i[:4] >= 2), thread * 2 + (i[:4] & 1)
    sums = before[c_row, c_column]
    with thread_order(order):
        Kernels(tmp_path).launch(
            "fragments", 1, 32, a=a[a_row, a_column].view(np.uint32), b=b[b_row, b_column].view(np.uint32), sums=sums
        )
    expected = before + a.astype(np.float32) @ b.astype(np.float32)
    np.testing.assert_allclose(sums, expected[c_row, c_column], rtol=1e-5, atol=1e-5)


@needs_compiler
def test_the_right_kernel_passes_in_every_order(x):
    for y in results("reversed_good", x):
        np.testing.assert_array_equal(y, x[::-1])


@needs_compiler
@pytest.mark.parametrize("name", ["reversed_without_barrier", "shifted_without_barrier"])
def test_a_missing_barrier_shows_in_some_order(name, x):
    x = x[:32].copy()
    first, *others = results(name, x, block=32)
    assert any(not np.array_equal(first, other) for other in others)


@needs_compiler
def test_lanes_do_not_run_in_lock_step(x):
    x = x[:32].copy()
    sums = [y[0] for y in results("warp_tree_without_sync", x, size=1, block=32)]
    assert not all(abs(total - x.sum()) < 1e-3 for total in sums)


@needs_compiler
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("barrier_in_a_branch", "never reached"),
        ("two_barriers", "waits at the barrier in line .* while thread"),
        ("shuffle_with_the_departed", "never reached"),
    ],
)
def test_what_is_undefined_on_a_gpu_is_an_error(name, words, order):
    y = np.zeros(40, np.float32)
    with thread_order(order), pytest.raises(ShimError, match=f"{name}: .*{words}"):
        FAULTY.launch(name, 1, 64 if name != "two_barriers" else 40, y=y)


@needs_compiler
def test_a_block_that_is_no_multiple_of_a_warp_cannot_shuffle():
    with pytest.raises(ShimError, match="multiple of 32"):
        FAULTY.launch("shuffle_with_the_departed", 1, 40, y=np.zeros(40, np.float32))


@needs_compiler
def test_it_goes_on_after_an_error(x):
    with pytest.raises(ShimError):
        FAULTY.launch("barrier_in_a_branch", 1, 64, y=np.zeros(40, np.float32))
    np.testing.assert_array_equal(results("reversed_good", x)[0], x[::-1])


@needs_compiler
def test_a_grid_that_is_too_small_leaves_elements_alone(x):
    y = np.full_like(x, np.nan)
    FAULTY.launch("copy_forward", 1, 32, x=x, y=y)
    assert np.isnan(y).sum() == x.size - 32  # so tests fill what a kernel has to write with NaN
    FAULTY.launch("copy_forward", 8, 32, x=x, y=y)
    np.testing.assert_array_equal(y, x)


@needs_compiler
def test_a_sum_that_depends_on_the_order_of_blocks_is_noticed():
    x = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    sums = [y[0] for y in results("sum_in_any_order", x, size=1, grid=200)]
    assert len({float(total) for total in sums}) > 1


@needs_compiler
def test_float16_rounds_as_numpy_does():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal(4000) * 10.0 ** rng.integers(-9, 6, 4000), np.arange(-70000, 70000, 7)])
    special = [0, -0.0, np.inf, -np.inf, np.nan, 65519.9, 65520, 2.0**-24, 2.0**-25, 2.0**-25 * 1.0001, 2.0**-14]
    x = np.concatenate([x, special]).astype(np.float32)
    y = np.zeros(x.size, np.float16)
    FAULTY.launch("round_trip", 4, 256, x=x, y=y)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(y, x.astype(np.float16))


SANITIZED = """
import sys
from pathlib import Path
import numpy as np
from core.kernels import Kernels
x, y = np.ones(1000, np.float32), np.ones(1000, np.float32)
for name in sys.argv[2:]:
    Kernels(Path(sys.argv[1])).launch(name, 8, 128, x=x, y=y)
    print(name)
"""


@needs_compiler
@pytest.mark.parametrize(
    ("name", "words"), [("reads_behind_the_end", "READ of size 4"), ("writes_behind_the_end", "WRITE of size 4")]
)
def test_address_sanitizer_sees_behind_the_end(name, words):
    run = run_sanitized(SANITIZED, str(FAULTY.folder), "copy_forward", name)
    assert run.stdout == "copy_forward\n"  # in which it sees nothing
    assert run.returncode != 0
    assert "heap-buffer-overflow" in run.stderr
    assert words in run.stderr
    assert name in run.stderr  # with the kernel's name and line


@needs_compiler
def test_many_builders_leave_one_good_library(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = FAULTY.folder / "faulty.cu"
    with ThreadPoolExecutor(2) as pool:
        libraries = list(pool.map(lambda _: shim.Library(path, ("copy_forward",)), range(2)))
    assert [entry.suffix for entry in (tmp_path / "barenets" / "kernels").iterdir()] == [".so"]
    x, y = np.arange(4, dtype=np.float32), np.zeros(4, np.float32)
    libraries[-1].launch("copy_forward", (1, 1, 1), (32, 1, 1), 0, [x, y, np.int32(4)])
    np.testing.assert_array_equal(y, x)


@needs_compiler
def test_a_mistake_in_the_source_is_shown(tmp_path):
    (tmp_path / "wrong.cu").write_text("__global__ void wrong(float* y,  // (N)\n int N) { y[0] = undeclared; }\n")
    with pytest.raises(ShimError, match=r"wrong\.cu:2.*undeclared"):
        Kernels(tmp_path).launch("wrong", 1, 32, y=np.zeros(3, np.float32))


def test_without_a_compiler_the_reason_is_clear(monkeypatch, tmp_path):
    monkeypatch.setattr(shim, "compiler", lambda: None)
    with pytest.raises(ShimError, match=r"only where g\+\+ or clang\+\+ is installed"):
        shim.Library(tmp_path / "any.cu", ())
