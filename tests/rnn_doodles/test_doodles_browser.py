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


def status(page):
    return page.locator("#pad .pad-status")


def on_canvas(page, x, y):
    """A place on the page, from shares of the pad."""
    box = page.locator("#pad canvas").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def test_a_stroke_that_is_begun_before_the_next_target_is_there_goes_on(page):
    errors, held = [], []
    page.on("pageerror", lambda error: errors.append(error))
    stroke(page, [(0.1, 0.1), (0.2, 0.9)])
    settled(page)
    page.route("**/queue/join*", lambda route: held.append(route), times=1)
    page.locator("#next").click()
    while not held:
        page.wait_for_timeout(20)
    page.mouse.move(*on_canvas(page, 0.2, 0.5))
    page.mouse.down()
    page.mouse.move(*on_canvas(page, 0.4, 0.5))
    held[0].continue_()
    page.get_by_text("Round 2").wait_for()
    page.mouse.move(*on_canvas(page, 0.8, 0.6))
    page.mouse.up()
    settled(page)
    assert status(page).inner_text() == "1 stroke"
    assert errors == []


@pytest.mark.parametrize("key", ["Control+z", "Delete"])
def test_what_is_taken_back_while_it_is_drawn_is_gone(page, key):
    errors, sent = [], []
    page.on("pageerror", lambda error: errors.append(error))
    page.on("request", lambda request: sent.append(request.post_data) if "queue/join" in request.url else None)
    stroke(page, [(0.1, 0.1), (0.2, 0.1)])
    page.mouse.move(*on_canvas(page, 0.5, 0.8))
    page.mouse.down()
    page.mouse.move(*on_canvas(page, 0.6, 0.8))
    page.locator("#pad canvas").press(key)
    page.mouse.move(*on_canvas(page, 0.9, 0.9))
    page.mouse.up()
    settled(page)
    assert status(page).inner_text() == ("1 stroke" if key == "Control+z" else "")
    assert not any("[36" in data for data in sent), "0.9 of the pad's 400 units"
    assert errors == []


def test_an_example_that_is_shown_ends_with_its_round(page):
    page.locator("#pad .pad-examples button").first.click()
    page.wait_for_timeout(100)
    page.locator("#next").click()
    page.get_by_text("Round 2").wait_for()
    page.wait_for_timeout(1000)
    assert status(page).inner_text() == ""


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
