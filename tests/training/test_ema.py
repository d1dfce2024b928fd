"""The average of the weights is the one it says, and it is what is validated and published."""

from __future__ import annotations

import numpy as np
import pytest
from toy_run import settings_of, train, weights

from core.layers import Linear, Sequential
from core.optim import SGD
from core.params import pack
from core.training.ema import Ema
from core.training.run import Run

pytestmark = pytest.mark.usefixtures("quick")


def test_ema_is_the_average_it_says():
    rng = np.random.default_rng(0)
    model = Sequential(Linear(3, 2, rng=rng))
    flat = pack(model.parameters())
    ema = Ema(model, decay=0.9, every=2)
    average = flat.data.astype(np.float64)
    for step in range(1, 61):
        flat.data[...] = rng.normal(size=flat.data.shape)
        ema.update()
        if step % 2 == 0:
            t = step // 2
            average += (1 - min(0.9**2, (1 + t) / (10 + t))) * (flat.data - average)
    own = flat.data.copy()
    with ema.worn():
        np.testing.assert_allclose(flat.data, average, rtol=1e-5)
        with ema.worn(False):
            np.testing.assert_array_equal(flat.data, own)
        np.testing.assert_allclose(flat.data, average, rtol=1e-5)
    np.testing.assert_array_equal(flat.data, own)


def test_what_an_optimizer_has_of_the_weights_stays_in_its_buffer():
    """As in fine-tuning, where only the head learns. Of a weight with two names there is one average."""
    rng = np.random.default_rng(0)
    body, head, last = Linear(3, 4, rng=rng), Linear(4, 4, rng=rng), Linear(4, 4, rng=rng)
    last.weight = head.weight
    model = Sequential(body, head, last)
    optimizer = SGD([head.weight, head.bias])
    ema = Ema(model, decay=0.9)
    for _ in range(5):
        head.weight.grad[...] = 1
        optimizer.step(0.1)
        ema.update()
    own = model.state_dict()
    with ema.worn():
        averaged = model.state_dict()
    assert model.state_dict().keys() == own.keys()
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, own[name])
    np.testing.assert_array_equal(averaged["0.weight"], own["0.weight"])
    weight = own["1.weight"].astype(np.float64) + 0.5
    average = weight.copy()
    for step in range(1, 6):
        weight -= 0.1
        average += (1 - min(0.9, (1 + step) / (10 + step))) * (weight - average)
    np.testing.assert_allclose(averaged["1.weight"], average, rtol=1e-5)
    np.testing.assert_array_equal(averaged["2.weight"], averaged["1.weight"])


def test_the_averaged_weights_are_validated_and_published(run_folder):
    model, run = train(settings_of(run_folder, "--ema-decay", "0.9", "--epochs", "2", "--monitor", "loss"))
    assert run.best["epoch"] == 2
    own = model.state_dict()
    with run.averaged():
        averaged = model.state_dict()
    published = weights(run_folder)
    assert all(published[name].tobytes() == averaged[name].tobytes() for name in published)
    assert any(not np.array_equal(own[name], averaged[name]) for name in own)
    assert any("running_mean" in name and not np.array_equal(own[name], averaged[name]) for name in own)


def test_figures_without_the_averaged_weights_are_a_mistake(run_folder, monkeypatch):
    from contextlib import nullcontext

    monkeypatch.setattr(Run, "averaged", lambda self: nullcontext())
    with pytest.raises(RuntimeError, match="averaged"):
        train(settings_of(run_folder, "--ema-decay", "0.9"))
