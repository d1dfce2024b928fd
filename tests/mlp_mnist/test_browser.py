"""The digit demo in a real browser: drawing, undoing, the keyboard, the examples, and no request to the outside."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from browsing import chromium, draw, served, visit
from PIL import Image
from tiny_run import make_run

from mlp_mnist import app

pytest.importorskip("gradio")
SETTLED = 500  # milliseconds until the last of the live answers is there
SEVEN = [(0.25, 0.2), (0.75, 0.2), (0.45, 0.85)]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with served(app, "--run", make_run(tmp_path_factory.mktemp("run"))) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser, address):
    with visit(browser, address, "Draw a digit from 0 to 9") as page:
        yield page


def seen(page) -> np.ndarray:
    """The 28 x 28 pixels that the page says the network sees."""
    source = page.locator("#answer img").first.get_attribute("src")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))))


def test_a_drawing_is_answered(page):
    draw(page, SEVEN)
    page.locator("#answer .bn-top").wait_for()
    page.get_by_text("1 stroke", exact=True).wait_for()
    assert re.fullmatch(r"[0-9]", page.locator("#answer .bn-top").inner_text())
    assert page.locator("#answer .bn-row").count() == 3
    page.wait_for_timeout(SETTLED)
    image = seen(page)
    assert image.shape == (28, 28)
    top = np.flatnonzero(image.any(axis=1))[0]
    assert image[top + 1, 10:20].min() > 100, "the bar of the seven"


def test_undo_and_clear_take_back(page):
    draw(page, SEVEN)
    draw(page, [(0.3, 0.5), (0.6, 0.5)])
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
    page.wait_for_timeout(SETTLED)
    ink = seen(page) > 0
    assert ink.any(axis=1).sum() == 20
    assert ink.any(axis=0).sum() <= 4
    page.keyboard.press("Delete")
    page.get_by_text("Draw a digit from 0 to 9").wait_for()


def test_an_example_is_drawn_and_answered(page):
    page.get_by_role("button", name="Example: 1").click()
    page.locator("#answer .bn-top").wait_for()
    page.get_by_text("1 stroke", exact=True).wait_for()
    page.wait_for_timeout(600 + SETTLED)  # it is replayed first
    assert seen(page).max() == 255


def test_the_pad_does_not_move_under_the_pen_and_fits_a_phone(page):
    before = page.locator("#pad canvas").bounding_box()
    draw(page, SEVEN)
    page.locator("#answer .bn-top").wait_for()
    assert page.locator("#pad canvas").bounding_box() == before
    page.set_viewport_size({"width": 390, "height": 844})
    box = page.locator("#pad canvas").bounding_box()
    assert 280 <= box["width"] <= 390
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
