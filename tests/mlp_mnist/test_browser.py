"""The running digit demo: asked by programs, and used in a real browser with pen, keyboard and examples."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import requests
from browsing import (
    HOSTILE_DRAWINGS,
    ask,
    calling,
    check_hostile_drawings,
    check_hostile_files,
    check_telephone,
    endpoints,
    served,
)
from PIL import Image
from tiny_run import make_archive, make_run, make_trained_run

from core.demo.examples import DIGITS
from core.demo.raster import rasterise
from core.demo.strokes import as_json
from mlp_mnist import app, test_model
from scripts import screenshots
from scripts.visit import hostile
from scripts.visit.demos import DemoError, settled, stroke, write
from scripts.visit.visitors import answer_times, send_hostile, visit_together

pytest.importorskip("gradio")
SEVEN = [(0.25, 0.2), (0.75, 0.2), (0.45, 0.85)]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with served(app, "--run", make_trained_run(tmp_path_factory.mktemp("run"))) as address:
        yield address


# -- programs ---------------------------------------------------------------------------------------------------------


def answer_of(html: str) -> str:
    """The class that an answer gives in large letters."""
    return html.split('<div class="bn-top">')[1].split("</div>")[0]


def test_programs_get_the_answer(address, tmp_path):
    from gradio_client import handle_file

    photo = tmp_path / "photo.png"
    Image.fromarray(255 - np.pad(np.kron(rasterise(DIGITS[2]), np.ones((5, 5), np.uint8)), 30)).save(photo)
    with calling(address) as client:
        assert endpoints(client) == {"/predict", "/predict_photo"}
        for digit in (0, 1, 2, 3, 4, 7):
            assert answer_of(client.predict(as_json(DIGITS[digit]), api_name="/predict")) == str(digit)
        assert answer_of(client.predict(handle_file(photo), api_name="/predict_photo")) == "2"
    assert "Draw a digit" in ask(address, None, api_name="predict_photo")


def test_programs_cannot_disturb_it(address, tmp_path):
    check_hostile_drawings(address)
    check_hostile_files(address, "predict_photo", "png", tmp_path)
    assert answer_of(ask(address, as_json(DIGITS[3]))) == "3"


def test_what_no_page_asks_is_refused_in_a_sentence(address):
    call = f"{address}gradio_api/call/"
    unknown = requests.post(f"{call}nothing", json={"data": []}, timeout=20)
    outdated = {"data": [], "fn_index": 99, "session_hash": "x"}  # from a page that another demo has served
    for answer in (unknown, requests.post(f"{address}gradio_api/queue/join", json=outdated, timeout=20)):
        assert answer.status_code == 404
        assert "no such function" in answer.json()["detail"]
    for name, data in (("predict", []), ("predict_photo", ["text"])):
        event = requests.post(f"{call}{name}", json={"data": data}, timeout=20).json()["event_id"]
        assert "cannot make sense of these values" in requests.get(f"{call}{name}/{event}", timeout=20).text


def test_many_programs_at_once_are_answered(address):
    drawings = [as_json(DIGITS[digit]) for digit in range(10)]
    figures = visit_together(address, "mlp_mnist", drawings, clients=8, seconds=1)
    assert figures["errors"] == 0, figures
    assert figures["answers"] >= 8
    assert 0 < figures["median_ms"] <= figures["p95_ms"] <= figures["slowest_ms"]
    figures = visit_together(address, "mlp_mnist", ["[7]"], clients=2, seconds=1)
    assert figures["errors"] == 2, "a line of complaint is no answer to a visitor who has drawn"


def test_hostile_values_are_counted_and_a_drawing_is_answered_after(address):
    counts = send_hostile(address, "mlp_mnist", hostile.values(60), as_json(DIGITS[3]))
    assert sum(counts.values()) == 60
    assert counts["drawn"] > 5
    assert counts["a line of text"] > 20
    with pytest.raises(DemoError, match="no longer answers"):
        send_hostile(address, "mlp_mnist", [], "[]")


def test_the_clothes_demo_answers_programs(tmp_path):
    from gradio_client import handle_file

    run = make_run(tmp_path / "run", "fashion_mnist")
    archive = make_archive(tmp_path / "archive", "fashion_mnist")
    test_model.test(test_model.Settings(run=str(run), data=str(archive)))
    with served(app, "--run", run) as address, calling(address) as client:
        assert endpoints(client) == {"/predict_photo", "/example"}
        assert client.predict("9/1", api_name="/example").count("bn-row") == 3
        picture = run / "report" / "confusion_matrix.png"
        assert client.predict(handle_file(picture), api_name="/predict_photo").count("bn-row") == 3
        for value in (*HOSTILE_DRAWINGS, "10/1", "-1/1", "1" * 10_000 + "/1"):
            assert "there is no such example" in ask(address, value, api_name="example")


# -- visitors ---------------------------------------------------------------------------------------------------------


def seen(page) -> np.ndarray:
    """The 28 x 28 pixels that the page says the network sees."""
    settled(page)
    source = page.locator("#answer img").first.get_attribute("src")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))))


@pytest.mark.parametrize("digit", [2, 4])
def test_a_drawn_digit_is_read(page, tmp_path, digit):
    write(page, DIGITS[digit], 100, 100)
    page.locator("#answer .bn-top", has_text=str(digit)).wait_for()
    settled(page)
    assert page.locator("#answer .bn-top").inner_text() == str(digit)
    assert page.locator("#answer .bn-row").count() == 3
    assert 10_000 < screenshots.save(page.screenshot(), tmp_path / "demo.png") < 200_000
    with Image.open(tmp_path / "demo.png") as picture:
        assert (picture.size, picture.mode) == ((1200, 900), "P")
    difference = np.abs(seen(page).astype(int) - rasterise(DIGITS[digit]))
    assert difference.mean() < 3, "as the drawing's own points give it"


def test_the_answers_to_strokes_are_timed(page):
    times = answer_times(page, [SEVEN, [(0.3, 0.5), (0.6, 0.5)]], rounds=1)
    assert len(times) == 2
    assert all(0 <= time < 30_000 for time in times)
    assert max(times) > 0


def test_a_wrong_answer_gets_no_picture(browser, tmp_path, monkeypatch):
    def expect_a_four(page, _):
        write(page, DIGITS[3], 100, 100)
        settled(page)
        page.locator("#answer .bn-top", has_text="4").wait_for(timeout=100)

    monkeypatch.setitem(screenshots.SCENES, "mlp_mnist", screenshots.Scene("", expect_a_four))
    run = make_trained_run(tmp_path / "run")
    with pytest.raises(DemoError, match="does not answer as it should, but: '3"):
        screenshots.take(browser, "mlp_mnist", str(run), tmp_path / "demo.png", None)
    assert not (tmp_path / "demo.png").exists()


def test_undo_and_clear_take_back(page):
    stroke(page, SEVEN)
    stroke(page, [(0.3, 0.5), (0.6, 0.5)])
    page.get_by_text("2 strokes", exact=True).wait_for()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("1 stroke", exact=True).wait_for()
    page.get_by_role("button", name="Clear").click()
    page.get_by_text("Draw a digit from 0 to 9").wait_for()
    assert page.get_by_role("button", name="Clear").is_disabled()


def test_the_keyboard_draws(page):
    page.locator("#pad canvas").focus()
    for key in ["Space", *["ArrowDown"] * 8, "Space"]:
        page.keyboard.press(key)
    page.locator("#answer .bn-top").wait_for()
    ink = seen(page) > 0
    assert ink.any(axis=1).sum() == 20
    assert ink.any(axis=0).sum() <= 4
    page.keyboard.press("Delete")
    page.get_by_text("Draw a digit from 0 to 9").wait_for()


def test_an_example_is_drawn_and_answered(page):
    page.get_by_role("button", name="Example: 1").click()
    page.get_by_text("1 stroke", exact=True).wait_for()
    page.locator("#answer .bn-top", has_text="1").wait_for()
    assert seen(page).max() == 255


def test_the_pad_does_not_move_under_the_pen_and_fits_a_phone(page):
    before = page.locator("#pad canvas").bounding_box()
    stroke(page, SEVEN)
    page.locator("#answer .bn-top").wait_for()
    assert page.locator("#pad canvas").bounding_box() == before
    check_telephone(page)
    assert 280 <= page.locator("#pad canvas").bounding_box()["width"] <= 390
