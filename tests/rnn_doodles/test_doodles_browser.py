"""The guessing game in a real browser: it draws, guesses, goes on to the next target, and asks nobody outside."""

from __future__ import annotations

import pytest
from browsing import chromium, draw, served, visit
from tiny_doodles import CLASSES, make_archive, make_run

from rnn_doodles import app

pytest.importorskip("gradio")
GREETING = "the network guesses after every stroke"


def target(page):
    return page.locator("#board h1").inner_text().split(": ")[1].rstrip("!")


def test_a_game(tmp_path):
    run, archive = make_run(tmp_path / "run"), make_archive(tmp_path / "archive", parts=("train",))
    with (
        chromium() as browser,
        served(app, "--run", run, "--data", archive) as address,
        visit(browser, address, GREETING, height=1000) as page,
    ):
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
        page.get_by_text(GREETING).wait_for()
        page.get_by_text("2 strokes").wait_for(state="hidden")

        page.get_by_text("Paste strokes as JSON").click()
        page.locator("#pasted textarea").fill("[[[0, 50, 100, 100], [0, 0, 0, 100]], [[1, 2, 3], [9, 200, 9]]]")
        page.locator("#look").click()
        page.locator("#answer svg").wait_for()

        page.locator("#reset").click()
        page.get_by_text("Round 1, score 0").wait_for()
