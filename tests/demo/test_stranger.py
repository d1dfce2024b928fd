"""Digits are drawn again as a stranger would, read by the demo's own handlers, and counted; figures are kept."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.synthetic import digits
from scripts import stranger
from scripts.visit.results import record

TESTS = Path(__file__).resolve().parent.parent


@pytest.fixture
def recogniser(tmp_path, monkeypatch):
    from mlp_mnist import app
    from mlp_mnist.trained import load_classifier

    monkeypatch.syspath_prepend(TESTS / "mlp_mnist")
    run = importlib.import_module("tiny_run").make_trained_run(tmp_path / "run")
    return app.make_recogniser(load_classifier(str(run), "mnist"))


def test_each_digit_is_drawn_in_each_size_and_read(recogniser, tmp_path, capsys):
    images, labels = (array[-40:] for array in digits(6000, seed=0))  # of those that it has learned from
    labels[:8] = (labels[:8] + 1) % 10  # these cannot be right
    figures = stranger.examine(recogniser, images, labels, str(tmp_path / "wrong.png"))
    assert figures["the original pictures"]["of"] == 40
    assert figures["drawn on the pad"]["of"] == 40 * len(stranger.SIZES)
    assert sum(figures[f"drawn on the pad, {corner}"]["of"] for corner in stranger.CORNERS) == 120
    for name, share in figures.items():
        if name.startswith("drawn"):
            assert 0.5 < share["right"] / share["of"] <= 0.8, name
    reasons = figures["misread on the pad"]
    assert reasons["are misread in the original, too"] >= 8
    wrong = np.asarray(Image.open(tmp_path / "wrong.png"))
    assert wrong.shape[1] == 20 * 3 * 28
    assert f"{sum(reasons.values())} digits were misread" in capsys.readouterr().out


@pytest.mark.parametrize("size", stranger.SIZES)
def test_a_drawing_fills_its_size_in_its_corner(size):
    strokes = [np.array([[3.0, 5.0], [9.0, 17.0]]), np.array([[6.0, 6.0]])]
    for corner in stranger.CORNERS.values():
        points = np.concatenate(stranger.placed(strokes, size, 280, corner))
        np.testing.assert_allclose(np.ptp(points, axis=0), [size / 2, size])
        np.testing.assert_allclose(points.min(axis=0), np.array(corner) * [280 - size / 2, 280 - size], atol=1e-9)


def test_a_photograph_holds_the_whole_digit_with_its_pen(recogniser, monkeypatch):
    from mlp_mnist import app

    sheets = []
    monkeypatch.setattr(app, "on_photo", lambda _, __, path: str(sheets.append(np.asarray(Image.open(path)))))
    strokes = [np.array([[0.0, 0.0], [0.0, 20.0]])]
    ways = [stranger.on_paper(recogniser, strokes, number)[0] for number in range(4)]
    for pen, way, sheet in zip(stranger.PENS, ways, sheets, strict=True):
        rows, columns = (np.flatnonzero((sheet < 150).any(axis=axis)) for axis in (1, 0))
        assert abs(len(rows) - stranger.ON_PAPER) <= 4
        assert abs(len(columns) - pen) <= 4
        assert way == f"pen {pen} for a digit of 240"


def test_figures_stand_beside_the_command_that_measured_them(tmp_path, monkeypatch):
    path = tmp_path / "results" / "demos.json"
    for arguments, figure in ((["--run", "a"], 1), (["--run", "b"], 2), (["--run", "a"], 3)):
        monkeypatch.setattr(sys, "argv", ["/somewhere/stranger.py", *arguments])
        record({"right": figure}, path)
    entries = json.loads(path.read_text())
    assert [(entry["command"], entry["figures"]["right"]) for entry in entries] == [
        ("python scripts/stranger.py --run a", 3),
        ("python scripts/stranger.py --run b", 2),
    ]
    assert entries[0]["versions"]["numpy"] == np.__version__
    assert "somewhere" not in path.read_text()
