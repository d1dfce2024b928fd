"""Prepared songs and settings of a training of a moment, for all tests of trainings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tiny_music import make_archive

from core.training.outputs import Outputs
from music_cuda import training
from music_cuda.settings import PRESETS


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The training songs alone: whoever opens the test songs fails."""
    return make_archive(tmp_path_factory.mktemp("archive") / "gtzan", parts=("train",))


@pytest.fixture(scope="module")
def whole_archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive") / "gtzan")


@pytest.fixture
def quick(archive, tmp_path, monkeypatch):
    """Settings for a training of a moment, whose runs go to a temporary folder."""
    monkeypatch.setattr(training, "PROJECT", tmp_path)
    monkeypatch.setattr(Outputs, "draw", lambda *_: None)  # the curves of each training would take most of the time
    return replace(PRESETS["default"], dataset=str(archive), epochs=3, hidden1=12, hidden2=8, threads=1)
