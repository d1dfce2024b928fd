"""Fixtures for runs of the toy training."""

import os

import fake_tuning
import pytest

from core.training.outputs import Outputs


@pytest.fixture
def quick(monkeypatch):
    """Drawing and waiting for the disk take longer than this training does; returns what draws."""
    draw = Outputs.draw
    monkeypatch.setattr(Outputs, "draw", lambda self, state: None)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return draw


@pytest.fixture
def run_folder(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def nothing_trained():
    """For those that look at what `fake_train` has trained."""
    fake_tuning.trained.clear()
