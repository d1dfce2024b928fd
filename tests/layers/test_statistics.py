"""Measuring the statistics of BatchNorm anew, over plain inputs."""

from __future__ import annotations

import numpy as np
import pytest

from core.layers import BatchNorm, Dropout, Layer, Linear, Parallel, ReLU, Sequential, measure_statistics
from core.random import Stream
from core.workers import Workers


def network() -> Sequential:
    rng = np.random.default_rng(0)
    return Sequential(
        first=BatchNorm(3), dropout=Dropout(0.5, stream=Stream(0)), linear=Linear(3, 5, rng=rng), relu=ReLU(),
        second=BatchNorm(5),
    )  # fmt: skip


def inputs(rows: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    return (rng.standard_normal((rows, 3)) * (1, 2, 3) + (5, 0, -5)).astype(np.float32)


def test_the_statistics_are_those_of_the_inputs_as_they_are_at_test_time():
    model, x = network(), inputs(400)
    measure_statistics(model, x)
    first, second = model.layers["first"], model.layers["second"]
    np.testing.assert_allclose(first.running_mean, x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(first.running_var, x.var(axis=0, ddof=1), rtol=1e-4)
    y = model.forward(x)  # (400, 5), with nothing dropped
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=0), 1, atol=5e-3)
    assert second.running_var.dtype == np.float32


@pytest.mark.parametrize("batch_size", [1, 10, 25])
def test_over_several_batches_in_any_order_the_statistics_are_those_of_all_inputs(batch_size):
    norm, x = BatchNorm(3), np.sort(inputs(25), axis=0)
    measure_statistics(norm, x, batch_size)
    np.testing.assert_allclose(norm.running_mean, x.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(norm.running_var, x.var(axis=0, ddof=1), rtol=1e-5)


def test_a_second_measurement_forgets_the_first_and_training_follows_as_before():
    norm, x = BatchNorm(3), inputs(40)
    measure_statistics(norm, 7 * x)
    measure_statistics(norm, x)
    np.testing.assert_allclose(norm.running_mean, x.mean(axis=0), rtol=1e-5)
    before = norm.running_mean.copy()
    norm.forward(x + 1, train=True)
    np.testing.assert_allclose(norm.running_mean, before + 0.1, rtol=1e-5)
    after = norm.running_mean.copy()
    norm.forward(x + 9)
    np.testing.assert_array_equal(norm.running_mean, after)


@pytest.mark.parametrize("measured", ["the network", "all workers"])
def test_the_workers_of_a_batch_that_is_split_answer_with_what_was_measured(measured):
    model, alone = network(), network()
    parallel, x = Parallel(model, Workers(2)), inputs(600)
    measure_statistics(alone, x)
    measure_statistics(model if measured == "the network" else parallel, x)
    np.testing.assert_allclose(parallel.forward(x), alone.forward(x), atol=1e-6)


def test_an_error_on_the_way_ends_the_measurement():
    model, x = network(), inputs(20)
    with pytest.raises(ValueError, match="expected"):
        measure_statistics(model, x[:, :2])
    mean = model.layers["first"].running_mean.copy()
    model.forward(x)
    np.testing.assert_array_equal(model.layers["first"].running_mean, mean)


def test_without_a_batch_norm_nothing_is_computed():
    class Fails(Layer):
        def forward(self, x: np.ndarray, train: bool = False) -> np.ndarray:
            raise AssertionError("not to be called")

    measure_statistics(Fails(), inputs(3))
