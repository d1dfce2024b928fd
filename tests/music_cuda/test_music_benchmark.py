"""The benchmark of music_cuda compares what is equal. No test asserts a time."""

from __future__ import annotations

import pytest

from scripts import bench_music
from scripts.environment import SetupError


def test_all_contenders_have_the_same_loss(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(bench_music, "SONGS", 40)
    epochs = bench_music.cpu_contenders(0.05)
    for _ in range(2):  # the second epoch begins with what the first one has made of the weights
        losses = {name: epoch() for name, epoch in epochs.items()}
        assert list(losses.values()) == pytest.approx([losses["ours"]] * len(losses), rel=1e-4)


def test_without_a_gpu_its_ways_are_one_line(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr("core.backend.why_no_gpu", lambda: "no GPU here")
    monkeypatch.setattr("sys.argv", ["bench_music.py", "--gpu"])
    with pytest.raises(SetupError, match="--gpu: no GPU here"):
        bench_music.main()
