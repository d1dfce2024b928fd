"""The demo of emnist: its handlers as plain functions."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tiny_emnist import make_trained_run, written
from visiting import ask_at_once

from core.demo.strokes import parse_strokes
from core.errors import UserError
from emnist import app, trained
from emnist.trained import load_reader


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_trained_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def reader(run):
    return app.LineReader(load_reader(str(run)))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("12+7", "12+7 = 19"),
        ("12+7-3", "12+7−3 = 16"),
        ("36/4", "36/4 = 9"),
        ("2*3", "2·3 = 6"),
        ("9/0", "9/0 nothing can be divided by zero"),
        ("7+", "7+ this is no arithmetic: a number is missing before the end"),
    ],
)
def test_an_expression_is_read_and_valued(reader, text, shown):
    html = app.on_drawing(reader, written(text))
    assert html.count('em-symbol"') == len(text)
    assert html.count("data:image/png") == 2 * len(text), "what the network sees, and why"
    assert _text(html.split('<div class="em-symbols"')[0]) == shown


def _text(html: str) -> str:
    pieces = [piece.split(">")[-1].strip() for piece in html.split("<")]
    return " ".join(piece for piece in pieces if piece)


def test_each_symbol_shows_its_best_three(reader):
    html = app.on_drawing(reader, written("5"))
    best = html.split('<div class="em-top">')[1]
    assert best.count("<b>") == 3
    assert "<b>5</b>" in best
    assert 'aria-label="read as 5; 5 ' in html


def test_visitors_at_the_same_time_do_not_mix(reader):
    """Lines of one length, which share all memory, and of others."""
    assert ask_at_once(lambda text: app.on_drawing(reader, written(text)), ["12+7", "36/4", "2*3", "5-81"]) == []


@pytest.mark.parametrize("value", ["", None, "[]", "[[]]"])
def test_an_empty_pad_is_an_invitation(reader, value):
    assert "Write an expression" in app.on_drawing(reader, value)


@pytest.mark.parametrize("value", ["[" * 5000, 7, "[[[1e999,0]]]", '{"a":1}', "<script>", b"x"])
def test_a_hostile_drawing_is_a_line_of_text(reader, value):
    html = app.on_drawing(reader, value)
    assert "bn-error" in html
    assert "<script" not in html


@pytest.mark.parametrize("value", ["[[[5,5]]]", "[[[5,5],[5,5]]]", json.dumps([[[x, 0]] for x in range(0, 640, 10)])])
def test_dots_alone_are_answered(reader, value):
    assert "em-line" in app.on_drawing(reader, value)


def test_without_weights_the_page_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "PROJECT", tmp_path / "emnist")
    monkeypatch.setattr(app, "begin_page", lambda *texts: texts)
    *_, reason, beginning = app.make_demo(app.Settings())
    assert "no model for emnist has been trained yet" in reason
    assert not beginning.offered
    assert beginning.plan.commands() == [
        f"python emnist/{script}.py" for script in ("setup_data", "training", "test_model")
    ]
    with pytest.raises(UserError, match="no run 'gone'"):
        app.make_demo(app.Settings(run="gone"))


def test_a_mistake_is_one_line_and_exit_code_2():
    pytest.importorskip("gradio")
    done = subprocess.run([sys.executable, app.__file__, "--run", "gone"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no run 'gone'")


def test_why_explains_the_first_guess_of_each_symbol(reader):
    _, pictures, probabilities = reader.read(parse_strokes(written("12+7"), app.PAD_WIDTH, app.PAD_HEIGHT))
    overlays = reader.why(pictures)
    assert len(overlays) == len(pictures) == len(probabilities) == 4
    for picture, overlay in zip(pictures, overlays, strict=True):
        assert overlay.shape == (28, 28, 3)
        assert not overlay[picture == 0].any(), "pixels without ink say nothing"
        assert overlay[picture > 0].any()
