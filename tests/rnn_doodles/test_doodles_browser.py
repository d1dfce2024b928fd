"""The guessing game in a real browser: it draws, guesses, goes on to the next target, and asks nobody outside."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from tiny_doodles import CLASSES, make_archive, make_run

from rnn_doodles import app

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("needs Chromium: apt-get install chromium", allow_module_level=True)

FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@contextmanager
def served(*flags):
    """Start app.py with these flags and yield its address; Ctrl-C ends it quietly."""
    command = [sys.executable, "-u", app.__file__, *map(str, flags)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            first = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+/", first)
            assert found, first + process.stdout.read()
            yield found[0]
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
            assert process.wait(30) == 0, rest
            assert "Traceback" not in rest
        finally:
            process.kill()


def draw(page, corners):
    """Draw one stroke with the mouse through corners given as shares of the pad."""
    box = page.locator("#pad canvas").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()


def target(page):
    return page.locator("#board h1").inner_text().split(": ")[1].rstrip("!")


def test_a_game(tmp_path):
    run, archive = make_run(tmp_path / "run"), make_archive(tmp_path / "archive", parts=("train",))
    with served("--run", run, "--data", archive) as address, playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.get_by_text("the network guesses after every stroke").wait_for()
        assert target(page) in CLASSES

        draw(page, [(0.3, 0.4), (0.3, 0.8), (0.7, 0.8), (0.7, 0.4)])
        page.locator("#answer svg").wait_for()
        draw(page, [(0.2, 0.4), (0.5, 0.1), (0.8, 0.4)])
        page.get_by_text("2 strokes").wait_for()
        assert page.locator("#answer .bn-row").count() == 3
        assert page.locator("#answer img").count() >= 2

        first = target(page)
        page.locator("#next").click()
        page.get_by_text("Round 2").wait_for()
        assert target(page) != first
        page.get_by_text("the network guesses after every stroke").wait_for()
        page.get_by_text("2 strokes").wait_for(state="hidden")

        page.get_by_text("Paste strokes as JSON").click()
        page.locator("#pasted textarea").fill("[[[0, 50, 100, 100], [0, 0, 0, 100]], [[1, 2, 3], [9, 200, 9]]]")
        page.locator("#look").click()
        page.locator("#answer svg").wait_for()

        page.locator("#reset").click()
        page.get_by_text("Round 1, score 0").wait_for()
        browser.close()
        assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
        assert errors == []
