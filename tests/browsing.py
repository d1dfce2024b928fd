"""A demo as a process of its own, asked over HTTP by a program, or used in a real browser as a visitor would."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
import requests

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@contextmanager
def served(app: ModuleType, *flags: object) -> Iterator[str]:
    """Start an app.py with these flags and yield its address; Ctrl-C ends it, quietly and soon."""
    assert app.__file__ is not None
    command = [sys.executable, "-u", app.__file__, *map(str, flags)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
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


def ask(address: str, value: object) -> str:
    """What the demo answers to the pad's value."""
    call = f"{address}gradio_api/call/predict"
    event = requests.post(call, json={"data": [value]}, timeout=10).json()["event_id"]
    text = requests.get(f"{call}/{event}", timeout=10).text
    return str(json.loads(text.split("data: ", 1)[1])[0])


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def visit(browser: Any, address: str, greeting: str, height: int = 900) -> Iterator[Any]:
    """The open page of a demo once it shows `greeting`.

    Afterwards, nothing may have been asked of another host, and no error may have been logged.
    """
    page = browser.new_page(viewport={"width": 1200, "height": height})
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.get_by_text(greeting).wait_for()
    yield page
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert errors == []
    page.close()


def draw(page: Any, corners: Sequence[tuple[float, float]]) -> None:
    """Draw one stroke with the mouse through corners given as shares of the pad."""
    box = page.locator("#pad canvas").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
    page.mouse.up()
