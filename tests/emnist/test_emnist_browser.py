"""The running demo of emnist: asked by programs, and used in a real browser."""

from __future__ import annotations

import json

import pytest
import requests
from browsing import ask, calling, check_hostile_drawings, check_telephone, endpoints, served
from tiny_emnist import NOTICE, make_trained_run, written

from emnist import app
from scripts.visit.demos import write

pytest.importorskip("gradio")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with served(app, "--run", make_trained_run(tmp_path_factory.mktemp("run"))) as address:
        yield address


def test_programs_get_the_answer(address):
    with calling(address) as client:
        assert endpoints(client) == {"/predict"}
        assert "= 19" in client.predict(written("12+7"), api_name="/predict")
        assert "= 9" in client.predict(written("36/4"), api_name="/predict")
    components = requests.get(f"{address}config", timeout=10).json()["components"]
    assert NOTICE in "\n".join(str(component["props"].get("value")) for component in components)


def test_programs_cannot_disturb_it(address):
    check_hostile_drawings(address)
    assert "= 19" in ask(address, written("12+7"))


def test_a_written_expression_is_read(page, tmp_path):
    write(page, json.loads(written("12+7")), app.PAD_WIDTH, app.PAD_HEIGHT)
    page.get_by_text("12+7 = 19").wait_for()
    assert len(page.screenshot(path=tmp_path / "page.png")) > 10_000
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
    check_telephone(page)
    page.get_by_role("button", name="Example: 2*3+10").click()
    page.get_by_text("= 16").wait_for()
    check_telephone(page)
