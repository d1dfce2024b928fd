"""A demo without a model in a real browser: a click, a bar, and the demo in its place; and how it ends in between."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import requests
from browsing import check_telephone

from scripts.environment import ROOT
from scripts.visit import demos

pytest.importorskip("gradio")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of a project in which nothing is prepared or trained."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("BARENETS_MIRROR", str(tmp_path))  # an empty folder: no real data
    folder = tmp_path / "mlp_mnist"
    folder.mkdir()
    for path in (ROOT / "mlp_mnist").glob("*.py"):
        shutil.copy(path, folder)
    return folder


def test_from_nothing_to_the_demo(project, browser):
    with demos.served(project / "app.py") as address:
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.locator("#begin-real").wait_for()
        check_telephone(page)
        page.locator("#begin-real").click()
        page.get_by_text("could not get mnist/train-images-idx3-ubyte.gz").wait_for()
        page.locator("#begin-synthetic").click()
        page.locator("#begin [role=progressbar]").wait_for()
        page.locator("#begin-stop").wait_for()
        assert page.locator("#begin-real").is_hidden()
        page.locator("#pad canvas").wait_for(timeout=120_000)  # it came by itself, at the same address
        assert "SYNTHETIC data" in page.locator("#notice").inner_text()
        assert "synthetic, not MNIST" in page.locator("#facts").inner_text()
        page.get_by_role("button", name="Example: 3").click()
        page.locator("#answer .bn-top").wait_for()
        page.close()
    assert all(url.startswith((address, "data:", "blob:")) for url in asked)
    assert not (project / "archive" / "mnist").exists()


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX's signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_the_end_of_the_demo_is_the_end_of_the_training(project, browser, number, code):
    note = project / "id"
    (project / "setup_data.py").write_text(
        f"import os, time, pathlib; pathlib.Path({str(note)!r}).write_text(str(os.getpid())); time.sleep(600)"
    )
    command = [sys.executable, "-u", str(project / "app.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as app:
        try:
            assert app.stdout is not None
            found = re.search(r"http://\S+", app.stdout.readline())
            assert found
            page = browser.new_page()
            page.goto(found[0])
            page.locator("#begin-synthetic").click()
            until = time.monotonic() + 30
            while not (note.exists() and note.read_text()):
                assert time.monotonic() < until
                time.sleep(0.05)
            page.close()
            app.send_signal(number)
            assert app.wait(30) == code
        finally:
            app.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def press(address: str, button: str, **headers: str) -> str:
    """What the server does when a program says that this button was pressed."""
    config = requests.get(f"{address}config", timeout=10).json()
    pressed = next(part["id"] for part in config["components"] if part["props"].get("elem_id") == button)
    number = next(each["id"] for each in config["dependencies"] if [pressed, "click"] in each["targets"])
    event = {"data": [], "fn_index": number, "trigger_id": pressed, "session_hash": "stranger"}
    requests.post(f"{address}gradio_api/queue/join", json=event, headers=headers, timeout=10).raise_for_status()
    answers = requests.get(f"{address}gradio_api/queue/data?session_hash=stranger", stream=True, timeout=10)
    return next(line.decode() for line in answers.iter_lines() if b"process_completed" in line)


def test_the_page_of_somebody_else_cannot_press_the_button(project):
    (project / "setup_data.py").write_text("import time; time.sleep(600)")
    with demos.served(project / "app.py") as address:
        for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}):
            assert "No trained model yet" in press(address, "begin-synthetic", **headers), headers
        assert "On the way to a model" in press(address, "begin-synthetic", Origin=address.rstrip("/"))


def test_for_strangers_there_is_no_button(project):
    with subprocess.Popen(
        [sys.executable, "-u", str(project / "app.py"), "--host", "0.0.0.0"], stdout=subprocess.PIPE, text=True
    ) as app:
        try:
            assert app.stdout is not None
            found = re.search(r":(\d+)/", app.stdout.readline())
            assert found
            page = requests.get(f"http://127.0.0.1:{found[1]}/config", timeout=10).text
            assert "python mlp_mnist/setup_data.py" in page
            assert '"type":"button"' not in page.replace(" ", "")
        finally:
            app.kill()
