"""The demo of cifar in a real browser: an example, an upload, a telephone, and no request to the outside."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys

import pytest
from PIL import Image
from tiny_cifar import make_archive, make_run, pictures

from cifar import app, test_model

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("needs Chromium: apt-get install chromium", allow_module_level=True)

FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    run = make_run(folder / "run")
    archive = make_archive(folder / "cifar10", parts=("test",))
    test_model.test(test_model.Settings(run=str(run), data=str(archive)))  # it saves the examples
    command = [sys.executable, "-u", app.__file__, "--run", str(run)]
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


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """The open demo; afterwards, nothing may have been asked of another host, and no error may have been logged."""
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.get_by_text(app.INVITATION).wait_for()
    yield page
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert errors == []
    page.close()


def test_an_example_is_answered_and_explained(page):
    assert page.locator("#picks button").count() == 10
    page.get_by_role("button", name="Example: automobile").click()
    page.locator("#answer .bn-top").wait_for()
    assert page.locator("#answer .bn-row").count() == 3
    assert page.locator("#answer img").count() == 4
    assert page.locator("#filters img").count() == 1


def test_a_picture_is_uploaded(page, tmp_path):
    Image.fromarray(pictures(12)[0][5]).resize((200, 150)).save(tmp_path / "photo.png")
    page.locator("#photo input[type=file]").set_input_files(tmp_path / "photo.png")
    page.locator("#answer .bn-top").wait_for()
    page.get_by_text("Your picture as 32 × 32 pixels").wait_for()


def test_it_fits_a_telephone(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="Example: ship").click()
    page.locator("#answer .bn-top").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
