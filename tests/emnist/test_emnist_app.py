"""The demo of emnist: handlers as plain functions, the running server, and a real browser where there is one."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import requests
from browsing import ask, chromium, served, visit
from tiny_emnist import NOTICE, make_run

from core.data.augment import Affine, Compose
from core.data.normalize import Normalize
from core.demo.strokes import as_json
from core.errors import UserError
from core.layers import Parallel
from core.losses import softmax_cross_entropy
from core.optim import Adam
from emnist import app, trained
from emnist.drawing import OPERATORS, example, part
from emnist.model import Architecture, build, preprocess
from emnist.setup_data import stand_in
from emnist.trained import load_reader


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that has learned, from the example strokes alone, to read digits and signs."""
    classes = stand_in(("dot", "plus", "minus", "slash"))[1]["classes"]
    names = {"+": "plus", "-": "minus", "/": "slash", "*": "dot"}
    symbols = {c: part(example(c), app.PEN)[0] for c in "0123456789" + "".join(OPERATORS)}
    images = np.stack([picture for s in symbols.values() for picture in (s.as_character, s.as_sign)])  # (28, 28, 28)
    labels = np.repeat([classes.index(names.get(c, c)) for c in symbols], 2)
    architecture, normalize = Architecture(51, hidden=(64,)), Normalize(0.17, 0.33)
    network = build(architecture)
    model, augment, rng = Parallel(network), Compose([Affine(rotate=10, shear=10, shift=1)]), np.random.default_rng(0)
    optimizer = Adam(model.parameters())
    for _ in range(60):
        distorted = augment(np.repeat(images, 4, axis=0).astype(np.float32) / 255, rng)
        logits = model.forward(preprocess(distorted, normalize), train=True)
        _, dlogits = softmax_cross_entropy(logits, np.repeat(labels, 4))
        model.backward(dlogits)
        optimizer.step(3e-3)
    about = {"architecture": architecture.to_dict(), "normalize": normalize.to_dict(), "classes": classes}
    return make_run(tmp_path_factory.mktemp("run"), architecture, weights=network, about=about)


@pytest.fixture(scope="module")
def reader(run):
    return app.LineReader(load_reader(str(run)))


def written(text: str) -> str:
    """What the pad sends for an expression written across it."""
    strokes = example(text)
    width = max(stroke[:, 0].max() for stroke in strokes)
    return as_json([stroke * min(2.0, 700 / width) + np.array([50, 30]) for stroke in strokes])


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
    assert html.count("data:image/png") == len(text)
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


@pytest.fixture(scope="module")
def address(run):
    """The demo as a user starts it."""
    pytest.importorskip("gradio")
    with served(app, "--run", run) as address:
        yield address


def test_the_server_answers_and_shows_the_notice(address):
    components = requests.get(f"{address}config", timeout=10).json()["components"]
    assert NOTICE in "\n".join(str(component["props"].get("value")) for component in components)
    assert "= 19" in ask(address, written("12+7"))


@pytest.fixture
def page(address):
    with chromium() as browser, visit(browser, address, "Write an expression") as page:
        yield page


def write(page, text: str) -> None:
    """Write an expression on the pad with the mouse, stroke by stroke."""
    box = page.locator("#pad canvas").bounding_box()
    scale = box["width"] / app.PAD_WIDTH
    for stroke in json.loads(written(text)):
        places = [(box["x"] + x * scale, box["y"] + y * scale) for x, y in stroke]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place)
        page.mouse.up()


def test_a_written_expression_is_read_in_the_browser(page):
    write(page, "12+7")
    page.get_by_text("12+7 = 19").wait_for()
    symbols = page.locator(".em-symbol")
    assert symbols.count() == 4
    best = symbols.nth(2).locator(".em-top")
    assert not best.is_visible()
    symbols.nth(2).hover()
    assert best.is_visible()
    assert best.inner_text().split()[0] == "+"
    page.get_by_role("button", name="Example: 36/4").click()
    page.get_by_text("36/4 = 9").wait_for()
    page.get_by_role("button", name="Clear").click()
    page.get_by_text("Write an expression").wait_for()


def test_it_fits_a_telephone(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="Example: 2*3+10").click()
    page.get_by_text("= 16").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
