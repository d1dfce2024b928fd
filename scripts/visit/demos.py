"""The demos as a visitor finds them: each a process of its own, used in a real browser without a window."""

from __future__ import annotations

import importlib.util
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DRAWING = ("mlp_mnist", "cnn_mnist100", "rnn_doodles", "emnist")  # the demos with a drawing pad
PROJECTS = (*DRAWING, "music_cuda", "cifar")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync")
SETTLED = """quiet => new Promise(done => {
  let timer = setTimeout(done, quiet);
  const later = () => { clearTimeout(timer); timer = setTimeout(done, quiet); };
  new MutationObserver(later).observe(document.querySelector('#answer'), { childList: true, subtree: true });
})"""

Strokes = Sequence[Sequence[Sequence[float]]]  # each a list of points [x, y], as the pad sends them


class DemoError(Exception):
    """A demo that does not start or does not do what it should, or no browser to see it with: one line."""


@contextmanager
def served(app: Path, *flags: object) -> Iterator[str]:
    """Start an app.py with these flags and yield its address; Ctrl-C ends it, and must do so quietly and soon.

    DemoError when it does not start or end, or when it has shown a traceback, of this project or of Gradio.
    """
    command = [sys.executable, "-u", str(app), *map(str, flags)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+/", first)
            if not found:
                raise DemoError((first + process.stdout.read()).strip().removeprefix("error: "))
            lines: list[str] = []
            reader = threading.Thread(target=lines.extend, args=(process.stdout,))  # a full pipe would stop the demo
            reader.start()
            yield found[0]
            process.send_signal(signal.SIGINT)
            code = process.wait(30)
            reader.join()
            if code != 0 or "Traceback" in "".join(lines):
                raise DemoError(f"{app} ended with code {code} and this output:\n{''.join(lines)}")
        finally:
            process.kill()


def no_browser() -> str:
    """What is missing for a browser, and how to get it; "" where there is one."""
    if importlib.util.find_spec("playwright") is None:
        return 'this needs Playwright: pip install -e ".[browser]"'
    return "" if CHROMIUM else "this needs Chromium: apt-get install chromium"


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window; DemoError where there is none."""
    if missing := no_browser():
        raise DemoError(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def visit(browser: Any, address: str, width: int = 1200, height: int = 900) -> Iterator[Any]:
    """The open page of a demo once it invites to begin.

    Afterwards, nothing may have been asked of another host, and no error may have been logged: DemoError otherwise.
    """
    page = browser.new_page(viewport={"width": width, "height": height})
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.locator("#answer .bn-message").wait_for()
    yield page
    outside = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    page.close()
    if outside or errors:
        raise DemoError(f"the page asked for {outside} elsewhere, and logged these errors: {errors}")


def stroke(page: Any, places: Sequence[Sequence[float]], pause: float = 0) -> None:
    """Draw one stroke with the mouse through places on the pad, given as shares of its width and height.

    `pause` is the milliseconds between two places.
    """
    box = page.locator("#pad canvas").bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point)
        if pause:
            page.wait_for_timeout(pause)
    page.mouse.up()


def write(page: Any, strokes: Strokes, width: float, height: float) -> None:
    """Draw strokes with the mouse, given in the units of a pad of this width and height."""
    for each in strokes:
        stroke(page, [(x / width, y / height) for x, y in each])


def settled(page: Any, quiet: int = 400) -> None:
    """Wait until the answer has not changed for `quiet` milliseconds."""
    page.evaluate(SETTLED, quiet)
