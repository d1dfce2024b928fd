"""Products of matrices: right however they are cut, and cut where that pays."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from core.backend import Array
from core.memory import aligned
from core.ops.cpu import products

SIZES = [(784, 256), (392, 256), (256, 128), (128, 51), (512, 512), (1021, 300), (2304, 256), (57, 32), (8192, 512)]


@pytest.fixture(params=[True, False], ids=["in place", "laid out anew"], autouse=True)
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Each test with and without a BLAS that has kernels for small products."""
    monkeypatch.setattr(products, "multiplies_in_place", lambda: request.param)
    return bool(request.param)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Array, Array]]:
    """The two factors of every product that is made."""
    seen = []

    def matmul(a: Array, b: Array, out: Array) -> Array:
        seen.append((a, b))
        result: Array = np.matmul(a, b, out=out)
        return result

    monkeypatch.setattr(products, "np", SimpleNamespace(matmul=matmul, empty=np.empty, add=np.add))
    return seen


def numbers(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def badly(array: Array) -> Array:
    """A copy whose memory does not begin with a cache line."""
    memory = aligned(np.empty(array.size + 4, array.dtype))
    copy = memory[4:].reshape(array.shape)
    copy[...] = array
    return copy


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 17, 32, 33])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_three_products_are_right(rows: int, size: tuple[int, int]) -> None:
    D, K = size
    x, dy, weight = numbers(rows, D), numbers(rows, K), numbers(D, K)
    y, dx, dweight = np.empty_like(dy), np.empty_like(x), np.empty_like(weight)
    products.product(x, weight, y)
    products.product_with_transposed(dy, weight, dx)
    products.product_of_transposed(x, dy, dweight)
    np.testing.assert_allclose(y, x.astype(float) @ weight, rtol=0, atol=2e-6 * D)
    np.testing.assert_allclose(dx, dy.astype(float) @ weight.T, rtol=0, atol=2e-6 * K)
    np.testing.assert_allclose(dweight, x.astype(float).T @ dy, rtol=0, atol=2e-6 * rows)


@pytest.mark.parametrize("rows", [2, 16, 32])
@pytest.mark.parametrize("size", [(2304, 256), (784, 256), (1152, 512), (8192, 512)], ids=str)
def test_products_with_panels_are_right(rows: int, size: tuple[int, int]) -> None:
    D, K = size
    x, weight, y = numbers(rows, D), numbers(D, K), np.empty((rows, K), np.float32)
    pieces = products.pieces_of_panels(rows, D, K)
    assert bool(pieces) == products.multiplies_in_place()
    panels = products.panels(weight, pieces or 1)
    assert panels.flags.c_contiguous
    products.product_with_panels(x, panels, y, lambda _, shape, like: np.empty(shape, like.dtype))
    np.testing.assert_allclose(y, x.astype(float) @ weight, rtol=0, atol=2e-6 * D)


def test_panels_are_for_few_rows_of_divisible_weights() -> None:
    assert products.pieces_of_panels(1, 2304, 256) == 0
    assert products.pieces_of_panels(33, 2304, 256) == 0
    assert products.pieces_of_panels(16, 2304, 200) == 0
    assert products.pieces_of_panels(16, 30, 64) == 0  # so small that it is over sooner
    assert products.pieces_of_panels(32, 8191, 512) == 0  # a prime number


def test_a_part_of_larger_arrays_is_written_and_nothing_else() -> None:
    """Matrices whose rows do not lie one behind the other."""
    x, dy, weight, half = numbers(16, 784), numbers(16, 256), numbers(784, 256), slice(392, None)
    dx, dweight = np.zeros_like(x), np.zeros_like(weight)
    y = np.empty_like(dy)
    products.product(x[:, half], weight[half], y)
    products.product_with_transposed(dy, weight[half], dx[:, half])
    products.product_of_transposed(x[:, half], dy, dweight[half])
    np.testing.assert_allclose(y, x[:, half] @ weight[half], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(dx[:, half], dy @ weight[half].T, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(dweight[half], x[:, half].T @ dy, rtol=1e-3, atol=1e-3)
    assert not dx[:, :392].any()
    assert not dweight[:392].any()


def test_what_is_cut_stays_below_the_limits(made: list[tuple[Array, Array]]) -> None:
    x, dy, weight = numbers(16, 784), numbers(16, 256), numbers(784, 256)
    for product, arguments in (
        (products.product, (x, weight, np.empty_like(dy))),
        (products.product, (numbers(8, 3072), numbers(3072, 512), numbers(8, 512))),  # by rows of the weight
        (products.product_with_transposed, (dy, weight, np.empty_like(x))),
        (products.product_of_transposed, (x, dy, np.empty_like(weight))),
        (products.product, (numbers(250, 784), aligned(weight), numbers(250, 256))),
        (products.product_of_transposed, (numbers(72, 128), aligned(numbers(72, 256)), numbers(128, 256))),
    ):
        product(*arguments)
    multiplications = [a.shape[-2] * a.shape[-1] * b.shape[-1] for a, b in made]
    elements = [a.shape[-2] * b.shape[-1] for a, b in made]
    cut = products.multiplies_in_place()
    assert (max(multiplications) <= products.MOST_MULTIPLICATIONS) == cut
    assert (elements[2] <= products.MOST_TRANSPOSED) == cut


@pytest.mark.parametrize(("rows", "size"), [(1, (784, 256)), (33, (784, 256)), (8, (57, 32)), (8, (1021, 300))])
def test_one_row_and_what_is_small_indivisible_or_lies_badly_stays_whole(
    rows: int, size: tuple[int, int], made: list[tuple[Array, Array]]
) -> None:
    D, K = size
    products.product(numbers(rows, D), badly(numbers(D, K)), numbers(rows, K))
    products.product_with_transposed(numbers(rows, K), numbers(D, K), numbers(rows, D))
    products.product_of_transposed(numbers(rows, D), badly(numbers(rows, K)), numbers(D, K))
    assert [(a.shape, b.shape) for a, b in made] == [
        ((rows, D), (D, K)),
        ((rows, K), (K, D)),
        ((D, rows), (rows, K)),
    ]


@pytest.mark.parametrize(("D", "K"), [(2048, 512), (256, 250), (9000, 64)], ids=str)
def test_many_rows_times_large_weights_or_others_without_whole_lines_stay_whole(
    D: int, K: int, made: list[tuple[Array, Array]]
) -> None:
    products.product(numbers(64, D), aligned(numbers(D, K)), numbers(64, K))
    assert [(a.shape, b.shape) for a, b in made] == [((64, D), (D, K))]


@pytest.mark.parametrize("rows", [34, 128, 250, 251, 1021])
@pytest.mark.parametrize("size", [(784, 256), (27, 32), (9, 16), (192, 192), (300, 96), (128, 51)], ids=str)
def test_many_rows_are_right(rows: int, size: tuple[int, int]) -> None:
    D, K = size
    x, weight, y = numbers(rows, D), aligned(numbers(D, K)), np.full((rows, K), np.nan, np.float32)
    products.product(x, weight, y)
    np.testing.assert_allclose(y, x.astype(float) @ weight, rtol=0, atol=2e-6 * D)
    dweight = np.full_like(weight, np.nan)
    products.product_of_transposed(x, aligned(y), dweight)
    np.testing.assert_allclose(dweight, x.astype(float).T @ y, rtol=1e-4, atol=1e-4 * rows)


@pytest.mark.parametrize(("rows", "D", "K"), [(2, 776, 776), (20, 192, 192), (20, 1021, 300), (250, 192, 200)])
def test_one_matrix_for_a_stack_of_any_size(rows: int, D: int, K: int) -> None:
    """As a recurrent layer's state meets the weights of all gates."""
    x, weights, y = numbers(rows, D), aligned(numbers(3, D, K)), np.full((3, rows, K), np.nan, np.float32)
    products.product(x, weights, y)
    np.testing.assert_allclose(y, x.astype(float) @ weights, rtol=0, atol=2e-6 * D)


def test_stacks_of_matrices_and_one_matrix_for_all_of_a_stack(made: list[tuple[Array, Array]]) -> None:
    stack, one = numbers(5, 130, 128), numbers(130, 128)
    weights, y = aligned(numbers(5, 128, 128)), np.empty((5, 130, 128), np.float32)
    for x in (stack, one):
        products.product(x, weights, y)
        np.testing.assert_allclose(y, x.astype(float) @ weights, rtol=0, atol=2e-4)
    gradients = np.empty((5, 128, 128), np.float32)
    products.product_of_transposed(stack, aligned(y), gradients)
    np.testing.assert_allclose(gradients, stack.astype(float).swapaxes(1, 2) @ y, rtol=0, atol=1e-2)
    assert {b.ndim for _, b in made} == {5 if products.multiplies_in_place() else 3}


def test_on_a_gpu_the_result_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy's matmul takes it by name only."""
    x, weight, y = numbers(3, 4), numbers(4, 5), np.empty((3, 5), np.float32)

    class CuPy:
        @staticmethod
        def matmul(a: Array, b: Array, /, *, out: Array) -> Array:
            result: Array = np.matmul(a, b, out=out)
            return result

    monkeypatch.setattr(products, "on_cpu", lambda _: False)
    monkeypatch.setattr(products, "array_module", lambda _: CuPy)
    products.product_for(x)(x, weight, y)
    np.testing.assert_allclose(y, x @ weight, rtol=1e-6)


def test_the_kernels_are_known_by_the_name_of_the_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    openmp, mkl = {"user_api": "openmp"}, {"user_api": "blas"}
    skylake, haswell = ({"user_api": "blas", "architecture": name} for name in ("SkylakeX", "Haswell"))
    for found, expected in (
        ([skylake, openmp], True),
        ([haswell], False),
        ([skylake, mkl], False),  # one of the two is NumPy's
        ([openmp], False),
    ):
        monkeypatch.setattr("threadpoolctl.threadpool_info", lambda found=found: found)
        products.multiplies_in_place.cache_clear()
        assert products.multiplies_in_place() == expected
    products.multiplies_in_place.cache_clear()
