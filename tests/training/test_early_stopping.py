"""A run stops after enough epochs without a real improvement."""

from __future__ import annotations

import pytest
from toy_run import settings_of, train

from core.training.early_stopping import EarlyStopping

pytestmark = pytest.mark.usefixtures("quick")


def test_early_stopping_waits_for_a_real_improvement():
    stopping = EarlyStopping(patience=2, min_delta=0.1, higher_is_better=True)
    found = [(stopping.observe(value), stopping.should_stop) for value in (0.5, 0.55, 0.61, 0.70, 0.65)]
    # 0.55 is a new best but no real improvement; 0.61 is one; after it come two epochs without.
    assert found == [(True, False), (True, False), (True, False), (True, False), (False, True)]
    assert stopping.best == 0.70


def test_early_stopping_on_a_loss_and_without_patience():
    stopping = EarlyStopping(patience=1, min_delta=0.0, higher_is_better=False)
    assert [stopping.observe(value) for value in (2.0, 1.0, 1.0)] == [True, True, False]
    assert stopping.should_stop
    patient = EarlyStopping(patience=0, min_delta=0.0, higher_is_better=False)
    assert not any((patient.observe(1.0), patient.should_stop)[1] for _ in range(100))


def test_a_run_stops_early_and_is_finished(run_folder, capsys):
    flags = ["--epochs", "50", "--patience", "2", "--min-delta", "0.5"]
    _, run = train(settings_of(run_folder, *flags))
    assert run.state.epoch == 3
    assert "stopping early: 2 epochs without an improvement" in capsys.readouterr().out
    train(settings_of(run_folder, *flags, "--resume"))
    assert "is finished" in capsys.readouterr().out
