import numpy as np
import pytest

from core.data.batches import BatchReader, batches, epoch_order
from core.data.normalize import Normalize

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (23, 4, 5), np.uint8)
LABELS = RNG.integers(0, 10, 23).astype(np.uint8)


def collect(*args, **kwargs):
    parts = [tuple(array.copy() for array in batch) for batch in batches(*args, **kwargs)]
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)], [len(part[0]) for part in parts]


def test_an_order_is_a_permutation_that_depends_on_seed_and_epoch():
    order = epoch_order(1000, seed=5, epoch=2)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    np.testing.assert_array_equal(order, epoch_order(1000, seed=5, epoch=2))
    assert not np.array_equal(order, epoch_order(1000, seed=5, epoch=3))
    assert not np.array_equal(order, epoch_order(1000, seed=6, epoch=2))
    assert not np.array_equal(epoch_order(1000, seed=1, epoch=2), epoch_order(1000, seed=2, epoch=1))


def test_batches_visit_everything_in_the_given_order():
    order = epoch_order(23, seed=0, epoch=0)
    (x, labels), sizes = collect((IMAGES, LABELS), 5, order)
    assert sizes == [5, 5, 5, 5, 3]
    assert x.dtype == np.float32
    assert labels.dtype == np.int64
    np.testing.assert_allclose(x, IMAGES[order] / 255, rtol=1e-6)
    np.testing.assert_array_equal(labels, LABELS[order])


def test_without_an_order_batches_come_as_stored_and_drop_last_leaves_out_the_rest():
    (_, labels), sizes = collect((IMAGES, LABELS), 5, drop_last=True)
    assert sizes == [5, 5, 5, 5]
    np.testing.assert_array_equal(labels, LABELS[:20])
    (_, _), sizes = collect((IMAGES[:20], LABELS[:20]), 5, drop_last=True)
    assert sizes == [5, 5, 5, 5]


def test_an_order_may_be_a_selection():
    (x, labels), _ = collect((IMAGES, LABELS), 2, np.array([7, 7, 1]))
    np.testing.assert_allclose(x, IMAGES[[7, 7, 1]] / 255, rtol=1e-6)
    np.testing.assert_array_equal(labels, LABELS[[7, 7, 1]])


def test_inputs_are_normalised_after_they_are_augmented():
    seen = []

    def augment(x, batch):
        seen.append((batch, x.dtype, x.min() >= 0, x.max() <= 1))
        return x * np.float32(0.5)

    (x, _), _ = collect((IMAGES, LABELS), 10, normalize=Normalize(0.1, 0.3), augment=augment)
    np.testing.assert_allclose(x, (IMAGES / 255 / 2 - 0.1) / 0.3, rtol=1e-5, atol=1e-6)
    assert seen == [(batch, np.float32, True, True) for batch in range(3)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_float_inputs_come_out_as_float32_of_the_same_values(dtype):
    table = RNG.normal(size=(23, 6)).astype(dtype)
    (x, _), _ = collect((table, LABELS), 4)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, table.astype(np.float32))


def test_more_arrays_travel_along_and_keep_their_dtype():
    weights = RNG.random(23)
    for x, labels, weight in batches((IMAGES, LABELS, weights), 23):
        assert len(x) == len(labels) == 23
        assert weight.dtype == np.float64
        np.testing.assert_array_equal(weight, weights)


def test_a_batch_reuses_the_memory_of_the_one_before():
    reader = BatchReader((IMAGES, LABELS), Normalize(0.5, 0.5))
    first, _ = reader.read(np.arange(5))
    second, _ = reader.read(np.arange(5, 10))
    assert np.shares_memory(first, second)
    assert not np.shares_memory(first, IMAGES)


def test_the_stored_data_are_never_written_to(tmp_path):
    np.save(tmp_path / "images.npy", RNG.random((23, 6), np.float32))
    stored = np.load(tmp_path / "images.npy", mmap_mode="r")
    (x, _), _ = collect((stored, LABELS), 7, normalize=Normalize(0.5, 2.0), augment=lambda x, batch: x)
    np.testing.assert_allclose(x, (stored - np.float32(0.5)) / 2, rtol=1e-6)
    assert type(next(batches((stored, LABELS), 7))[0]) is np.ndarray


def test_nothing_to_do_yields_nothing():
    assert list(batches((IMAGES[:0], LABELS[:0]), 5)) == []
    assert list(batches((IMAGES, LABELS), 24, drop_last=True)) == []


def test_bad_requests_are_refused_at_once():
    with pytest.raises(ValueError, match="arrays of one length, got \\[23, 22\\]"):
        batches((IMAGES, LABELS[1:]), 5)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        batches((IMAGES, LABELS), 0)
    for wrong in ([0, 23], [-1, 3]):
        with pytest.raises(IndexError, match="from 0 to 22"):
            batches((IMAGES, LABELS), 5, np.array(wrong))
    with pytest.raises(IndexError, match=r"expected integers \(n,\), got bool \(23,\); of a mask, give np.flatn"):
        batches((IMAGES, LABELS), 5, LABELS > 3)
    with pytest.raises(IndexError, match=r"expected integers .* got float64"):
        batches((IMAGES, LABELS), 5, [1.5])


def test_an_order_may_be_a_list():
    assert [labels.tolist() for _, labels in batches((IMAGES, LABELS), 2, [3, 1, 2])] == [
        LABELS[[3, 1]].tolist(),
        LABELS[[2]].tolist(),
    ]
    assert list(batches((IMAGES, LABELS), 2, [])) == []
