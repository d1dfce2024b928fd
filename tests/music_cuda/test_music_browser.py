"""The demo in a real browser: a sound, the sliders, a phone, and no request to the outside."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from tiny_music import RATE, make_archive, make_run, tone

from music_cuda import app
from music_cuda.table import GENRES

pytest.importorskip("gradio")
soundfile = pytest.importorskip("soundfile", reason='needs librosa: pip install -e ".[audio]"')
pytest.importorskip("librosa")
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


def test_a_visit(tmp_path):
    run, archive = make_run(tmp_path / "run"), make_archive(tmp_path / "archive", parts=("train",))
    soundfile.write(tmp_path / "song.wav", tone(2.0), RATE)
    asked, errors = [], []
    with served("--run", run, "--dataset", archive) as address, playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.get_by_text("Upload or record up to 30 seconds").wait_for()

        page.locator("#audio input[type=file]").first.set_input_files(tmp_path / "song.wav")
        page.locator("#answer img[alt=Spectrogram]").wait_for()
        assert page.locator("#answer .bn-top").inner_text() in GENRES
        assert page.locator("#answer .bn-row").count() == app.SHOWN

        page.get_by_role("tab", name="Sliders").click()
        page.locator("#genre input").click()
        page.get_by_role("option", name="metal").click()
        page.locator("#answer img[alt=Spectrogram]").wait_for(state="detached")
        before = page.locator("#answer").inner_html()
        page.locator("#tempo input[type=range]").focus()
        page.keyboard.press("Home")
        page.wait_for_function("before => document.querySelector('#answer').innerHTML != before", arg=before)

        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        browser.close()
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert errors == []
