"""The learning-rate range test finds a good rate and leaves no trace in the network."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import toy_run

from core.errors import UserError
from core.layers import Linear, Sequential
from core.losses import mean_squared_error, softmax_cross_entropy
from core.optim import SGD
from core.training.feed import Feed
from core.training.lr_finder import RangeTest, lr_range_test
from core.training.settings import make_optimizer


def toy(optimizer="adam", steps_before=3):
    """A model that has been trained a little, so that optimizer and statistics have something to lose."""
    settings = toy_run.settings_of("unused", "--optimizer", optimizer)
    model, stream = toy_run.build(settings)
    optimizer = make_optimizer(settings, model)
    feed = Feed(toy_run.data(), stream, "cpu", augment=toy_run.add_noise)
    for (x, labels), _ in zip(feed.endless(16), range(steps_before), strict=False):
        model.backward(softmax_cross_entropy(model.forward(x, train=True), labels)[1])
        optimizer.step(0.01)
    return model, optimizer, feed


def bits(model, optimizer):
    return {name: a.tobytes() for name, a in (model.state_dict() | optimizer.state_dict()).items()}


@pytest.mark.parametrize("name", ["adam", "sgd", "amsgrad"])
def test_the_training_goes_on_as_if_there_had_been_no_test(name):
    model, optimizer, feed = toy(name)
    before = bits(model, optimizer)
    lr_range_test(model, optimizer, softmax_cross_entropy, feed.endless(16))
    assert bits(model, optimizer) == before
    assert after_a_step(model, optimizer, feed) == after_a_step(*toy(name))


def after_a_step(model, optimizer, feed):
    x, labels = next(feed.epoch(7, 16))
    model.backward(softmax_cross_entropy(model.forward(x, train=True), labels)[1])
    optimizer.step(0.01)
    return bits(model, optimizer)


def test_it_comes_back_after_an_error_too():
    model, optimizer, feed = toy()
    before = bits(model, optimizer)

    def failing(outputs, labels, calls=iter(range(100))):  # noqa: B008 - counts over all calls
        if next(calls) == 20:
            raise ZeroDivisionError
        return softmax_cross_entropy(outputs, labels)

    with pytest.raises(ZeroDivisionError):
        lr_range_test(model, optimizer, failing, feed.endless(16))
    assert bits(model, optimizer) == before


def quadratic(curvature, lowest=1e-5, highest=100.0):
    """The range test on the loss curvature / 2 w^2, whose best learning rate is 1 / curvature."""
    model = Sequential(Linear(1, 1, rng=np.random.default_rng(0), bias=False, dtype=np.float64))
    model.load_state_dict({"0.weight": np.ones((1, 1))})
    x = np.full((4, 1), np.sqrt(curvature / 2))
    batches = ((x, np.zeros((4, 1))) for _ in range(1000))
    optimizer = SGD(model.parameters())
    return lr_range_test(model, optimizer, mean_squared_error, batches, lowest=lowest, highest=highest, steps=200)


@pytest.mark.parametrize("curvature", [0.3, 10.0, 300.0])
def test_the_suggestion_suits_a_quadratic(curvature):
    found = quadratic(curvature)
    assert 0.02 / curvature < found.suggestion < 2 / curvature
    assert len(found.lrs) < 200  # beyond 2 / curvature it diverges
    assert found.smoothed[-1] > 4 * min(found.smoothed)


def test_the_rates_rise_evenly_on_a_logarithmic_scale():
    found = quadratic(1e-9, 1e-7, 1.0)
    np.testing.assert_allclose(np.diff(np.log(found.lrs)), np.log(1e7) / 199)
    assert (found.lrs[0], found.lrs[-1]) == (pytest.approx(1e-7), pytest.approx(1.0))


def test_the_suggestion_lies_before_the_lowest_loss():
    """What happens once the loss has begun to jump about says nothing."""
    falling = [*np.linspace(1, 0.9, 20), *np.linspace(0.9, 0.3, 10), *np.linspace(0.3, 0.29, 10), 3.0, 0.5, 3.0]
    found = RangeTest(list(np.geomspace(1e-7, 1, len(falling))), falling, falling)
    assert found.lrs[19] <= found.suggestion <= found.lrs[30]


def test_files(tmp_path):
    found = quadratic(1.0)
    found.save(tmp_path / "run", notice="MADE-UP")
    with (tmp_path / "run" / "lr_find.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == found.losses
    assert (tmp_path / "run" / "lr_find.png").read_bytes().startswith(b"\x89PNG")


def test_a_loss_that_is_no_number_is_one_line():
    model, optimizer, feed = toy()
    before = bits(model, optimizer)
    with pytest.raises(UserError, match="ended after 0 batches"):
        lr_range_test(model, optimizer, lambda outputs, labels: (float("nan"), outputs), feed.endless(16))
    assert bits(model, optimizer) == before


@pytest.mark.parametrize("wrong", [{"lowest": 0.0}, {"lowest": 2.0}, {"steps": 10}])
def test_a_range_that_makes_no_sense_is_a_mistake(wrong):
    model, optimizer, feed = toy()
    with pytest.raises(ValueError, match="expected 0 < lowest < highest"):
        lr_range_test(model, optimizer, softmax_cross_entropy, feed.endless(16), **wrong)
