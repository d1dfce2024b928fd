"""The drawing pad as Python sees it; what it does in a browser is tested with the demo that uses it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest

from core.demo import canvas, strokes
from core.demo.examples import DIGITS


def test_the_browser_keeps_to_what_the_server_takes():
    script = (files("core.demo") / "pad.js").read_text("utf-8")
    limits = dict(re.findall(r"(MAX_\w+) = (\d+)", script))
    assert limits == {"MAX_STROKES": str(strokes.MAX_STROKES), "MAX_POINTS": str(strokes.MAX_POINTS)}


@pytest.mark.parametrize(("width", "height"), [(280, 280), (560, 200), (100, 300)])
@pytest.mark.parametrize("digit", [1, 4])
def test_examples_fill_the_pad_and_keep_their_proportions(width, height, digit):
    placed = canvas.fit(DIGITS[digit], width, height)
    parsed = strokes.parse_strokes(json.dumps(placed), width, height)
    points, original = np.concatenate(parsed), np.concatenate(DIGITS[digit])
    low, high = points.min(axis=0), points.max(axis=0)
    assert (low > 0).all()
    assert (high < [width, height]).all()
    np.testing.assert_allclose((low + high) / 2, [width / 2, height / 2], atol=0.1)
    assert np.ptp(points, axis=0) / np.ptp(points, axis=0)[1] == pytest.approx(
        np.ptp(original, axis=0) / np.ptp(original, axis=0)[1], rel=0.02
    )
    assert max((high - low) / [width, height]) > 0.7


@pytest.mark.parametrize(("size", "columns", "phone"), [((280, 280), 10, 5), ((560, 280), 5, 5), ((840, 240), 5, 3)])
def test_examples_are_wide_enough_to_hit(monkeypatch, size, columns, phone):
    class Gradio:
        HTML = staticmethod(dict)

    monkeypatch.setattr(canvas, "require_gradio", lambda: Gradio)
    pad = canvas.drawing_pad(*size, examples=dict(enumerate(DIGITS)))
    assert (pad["columns"], pad["phone_columns"]) == (columns, phone)


def test_every_part_of_the_page_asks_no_outside_host():
    for name in ("pad.html", "pad.js", "pad.css", "cards.css"):
        text = (files("core.demo") / name).read_text("utf-8")
        assert not re.search(r"https?://|//\w+\.\w+|@import|url\(", text), name


def test_the_demo_modules_load_without_gradio(tmp_path):
    (tmp_path / "gradio.py").write_text("raise ImportError('blocked by the test')")
    names = ["cards", "canvas", "launch", "picks", "raster", "recogniser", "saliency", "strokes", "upload"]
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import " + ", ".join(f"core.demo.{n}" for n in names)
    subprocess.run([sys.executable, "-c", code], check=True)
