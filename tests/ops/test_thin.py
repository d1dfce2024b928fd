"""Products with few rows: right however they are cut, and cut where that pays."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from core.backend import Array
from core.ops.cpu import thin

SIZES = [(784, 256), (392, 256), (256, 128), (128, 51), (512, 512), (1021, 300), (2304, 256), (57, 32), (8192, 512)]


@pytest.fixture(params=[True, False], ids=["in place", "laid out anew"], autouse=True)
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Each test with and without a BLAS that has kernels for small products."""
    monkeypatch.setattr(thin, "multiplies_in_place", lambda: request.param)
    return bool(request.param)


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The shapes of the two factors of every product that is made."""
    seen = []

    def matmul(a: Array, b: Array, out: Array) -> Array:
        seen.append((a.shape, b.shape))
        result: Array = np.matmul(a, b, out=out)
        return result

    monkeypatch.setattr(thin, "np", SimpleNamespace(matmul=matmul, empty=np.empty, add=np.add))
    return seen


def numbers(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 17, 32, 33])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_three_products_are_right(rows: int, size: tuple[int, int]) -> None:
    D, K = size
    x, dy, weight = numbers(rows, D), numbers(rows, K), numbers(D, K)
    y, dx, dweight = np.empty_like(dy), np.empty_like(x), np.empty_like(weight)
    thin.product(x, weight, y)
    thin.product_with_transposed(dy, weight, dx)
    thin.product_of_transposed(x, dy, dweight)
    np.testing.assert_allclose(y, x.astype(float) @ weight, rtol=0, atol=2e-6 * D)
    np.testing.assert_allclose(dx, dy.astype(float) @ weight.T, rtol=0, atol=2e-6 * K)
    np.testing.assert_allclose(dweight, x.astype(float).T @ dy, rtol=0, atol=2e-6 * rows)


@pytest.mark.parametrize("rows", [2, 16, 32])
@pytest.mark.parametrize("size", [(2304, 256), (784, 256), (1152, 512), (8192, 512)], ids=str)
def test_products_with_panels_are_right(rows: int, size: tuple[int, int]) -> None:
    D, K = size
    x, weight, y = numbers(rows, D), numbers(D, K), np.empty((rows, K), np.float32)
    pieces = thin.pieces_of_panels(rows, D, K)
    assert bool(pieces) == thin.multiplies_in_place()
    panels = thin.panels(weight, pieces or 1)
    assert panels.flags.c_contiguous
    thin.product_with_panels(x, panels, y, lambda _, shape, like: np.empty(shape, like.dtype))
    np.testing.assert_allclose(y, x.astype(float) @ weight, rtol=0, atol=2e-6 * D)


def test_panels_are_for_few_rows_of_divisible_weights() -> None:
    assert thin.pieces_of_panels(1, 2304, 256) == 0
    assert thin.pieces_of_panels(33, 2304, 256) == 0
    assert thin.pieces_of_panels(16, 2304, 200) == 0
    assert thin.pieces_of_panels(16, 30, 64) == 0  # so small that it is over sooner
    assert thin.pieces_of_panels(32, 8191, 512) == 0  # a prime number


def test_a_part_of_larger_arrays_is_written_and_nothing_else() -> None:
    """As the workers do, each with a stretch of the weight's rows."""
    x, dy, weight, half = numbers(16, 784), numbers(16, 256), numbers(784, 256), slice(392, None)
    dx, dweight = np.zeros_like(x), np.zeros_like(weight)
    y = np.empty_like(dy)
    thin.product(x[:, half], weight[half], y)
    thin.product_with_transposed(dy, weight[half], dx[:, half])
    thin.product_of_transposed(x[:, half], dy, dweight[half])
    np.testing.assert_allclose(y, x[:, half] @ weight[half], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(dx[:, half], dy @ weight[half].T, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(dweight[half], x[:, half].T @ dy, rtol=1e-3, atol=1e-3)
    assert not dx[:, :392].any()
    assert not dweight[:392].any()


def test_what_is_cut_stays_below_the_limits(products: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
    x, dy, weight = numbers(16, 784), numbers(16, 256), numbers(784, 256)
    for product, arguments in (
        (thin.product, (x, weight, np.empty_like(dy))),
        (thin.product, (numbers(8, 3072), numbers(3072, 512), numbers(8, 512))),  # by rows of the weight
        (thin.product_with_transposed, (dy, weight, np.empty_like(x))),
        (thin.product_of_transposed, (x, dy, np.empty_like(weight))),
    ):
        product(*arguments)
    multiplications = [a[-2] * a[-1] * b[-1] for a, b in products]
    elements = [a[-2] * b[-1] for a, b in products]
    cut = thin.multiplies_in_place()
    assert (max(multiplications) <= thin.MOST_MULTIPLICATIONS) == cut
    assert (elements[2] <= thin.MOST_TRANSPOSED) == cut


@pytest.mark.parametrize(("rows", "size"), [(1, (784, 256)), (33, (784, 256)), (8, (57, 32)), (8, (1021, 300))])
def test_one_row_many_rows_and_small_or_indivisible_products_stay_whole(
    rows: int, size: tuple[int, int], products: list[tuple[tuple[int, ...], tuple[int, ...]]]
) -> None:
    D, K = size
    thin.product(numbers(rows, D), numbers(D, K), numbers(rows, K))
    thin.product_with_transposed(numbers(rows, K), numbers(D, K), numbers(rows, D))
    thin.product_of_transposed(numbers(rows, D), numbers(rows, K), numbers(D, K))
    assert products == [((rows, D), (D, K)), ((rows, K), (K, D)), ((D, rows), (rows, K))]


def test_the_kernels_are_known_by_the_name_of_the_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for architecture, expected in (("SkylakeX", True), ("Haswell", False)):
        monkeypatch.setattr("threadpoolctl.threadpool_info", lambda name=architecture: [{"architecture": name}, {}])
        thin.multiplies_in_place.cache_clear()
        assert thin.multiplies_in_place() == expected
    thin.multiplies_in_place.cache_clear()
