"""The average of the weights is the one it says, and it is what is validated and published."""

from __future__ import annotations

import numpy as np
import pytest
from toy_run import settings_of, train, weights

from core.layers import Linear, Sequential
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
