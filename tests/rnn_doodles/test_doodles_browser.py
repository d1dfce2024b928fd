"""The running guessing game: asked by programs, and played in a real browser."""

from __future__ import annotations

import numpy as np
import pytest
from browsing import HOSTILE_DRAWINGS, ask, calling, check_hostile_drawings, check_telephone, endpoints, served
from tiny_doodles import CLASSES, make_archive, make_trained_run, some_drawings

from core.demo.strokes import as_json
from rnn_doodles import app
from scripts.visit.demos import settled, stroke, write

pytest.importorskip("gradio")
GREETING = "the network guesses after every stroke"
SHAPES = ("triangle", "house", "fish")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    run = make_trained_run(tmp_path_factory.mktemp("run"))
    archive = make_archive(tmp_path_factory.mktemp("archive") / "quickdraw", parts=("train",))
    with served(app, "--run", run, "--data", archive) as address:
        yield address


def strokes_of(shape: str) -> list[np.ndarray]:
    """A drawing that was not trained on, on the pad of the demo."""
    drawings, labels = some_drawings(200, seed=1)
    number = int(np.flatnonzero(labels == CLASSES.index(shape))[0])
    return [stroke * 1.2 + 40.0 for stroke in drawings.strokes(number)]


def on_pad(shape: str) -> str:
    """The same as the pad sends it."""
    return as_json(strokes_of(shape))


def test_programs_get_guesses(address):
    with calling(address) as client:
        assert endpoints(client) == {"/guess", "/guess_pasted"}
        for shape in SHAPES:
            for name in ("/guess", "/guess_pasted"):
                board, answer = client.predict(on_pad(shape), api_name=name)
                assert f'<div class="bn-top">{shape}</div>' in answer
                assert "Round 1, score" in board


def test_programs_cannot_disturb_it(address):
    check_hostile_drawings(address, "guess", place=-1)
    for value in HOSTILE_DRAWINGS:
        answer = ask(address, value, api_name="guess_pasted")
        assert answer is None or "bn-error" in answer[-1], value
    assert '<div class="bn-top">house</div>' in ask(address, on_pad("house"), api_name="guess")[-1]


def target(page):
    return page.locator("#board h1").inner_text().split(": ")[1].rstrip("!")


def test_a_game(page, tmp_path):
    assert target(page) in CLASSES

    write(page, strokes_of("triangle"), app.PAD, app.PAD)
    page.locator("#answer .bn-top", has_text="triangle").wait_for()
    settled(page)
    assert page.locator("#answer .bn-top").inner_text() == "triangle"
    assert page.locator("#answer svg").is_visible()
    assert len(page.screenshot(path=tmp_path / "page.png")) > 10_000
    stroke(page, [(0.2, 0.4), (0.5, 0.1), (0.8, 0.4)])
    page.get_by_text("2 strokes").wait_for()
    assert page.locator("#answer .bn-row").count() == 3
    assert page.locator("#answer img").count() >= 2

    first = target(page)
    page.locator("#next").click()
    page.get_by_text("Round 2").wait_for()
    assert target(page) != first
    page.get_by_text(GREETING).wait_for()
    page.get_by_text("2 strokes").wait_for(state="hidden")

    page.get_by_text("Paste strokes as JSON").click()
    page.locator("#pasted textarea").fill("[[[0, 50, 100, 100], [0, 0, 0, 100]], [[1, 2, 3], [9, 200, 9]]]")
    page.locator("#look").click()
    page.locator("#answer svg").wait_for()

    page.locator("#reset").click()
    page.get_by_text("Round 1, score 0").wait_for()
    check_telephone(page)
