"""A demo as a process of its own, asked by programs or used in a real browser; `page` and `browser` are in conftest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests
from PIL import Image

from scripts.environment import ROOT
from scripts.visit import demos

HOSTILE_DRAWINGS = ("[" * 5000, 7, True, ["[]"], {"a": 1}, "[[[1e999,0]]]", '{"a":1}', "<script>", "/etc/passwd")
# Texts whose contrast is below 4.5, as WCAG 2.1 computes it (1.4.3 AA), with their contrast.
FAINT_TEXTS = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const [r, g, b, opacity = 1] = numbers(getComputedStyle(element).backgroundColor);
      if (opacity > 0.5) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const faint = {};
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim(), element = texts.currentNode.parentElement;
    if (!text || !element.checkVisibility({ visibilityProperty: true }) || element.clientHeight === 1) continue;
    if (element.closest('button:disabled')) continue;
    const [one, other] = [light(numbers(getComputedStyle(element).color)), light(ground(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) faint[text] = contrast.toFixed(1);
  }
  return faint;
}"""
FILE = {"_type": "gradio.FileData"}
HOSTILE_FILES = (
    "/etc/passwd",
    7,
    ["x"],
    {"path": "/etc/passwd"},
    {"path": "/etc/passwd", "meta": FILE},
    {"path": "../../etc/passwd", "meta": FILE},
    {"path": "http://127.0.0.1:1/", "url": "http://127.0.0.1:1/", "meta": FILE},
)


def served(app: ModuleType, *flags: object) -> AbstractContextManager[str]:
    """Start an app.py with these flags and yield its address; Ctrl-C ends it, quietly and soon."""
    assert app.__file__ is not None
    return demos.served(Path(app.__file__), *flags)


# -- programs ---------------------------------------------------------------------------------------------------------


@contextmanager
def calling(address: str) -> Iterator[Any]:
    """A demo's `gradio_client.Client`."""
    from gradio_client import Client

    client = Client(address, verbose=False, analytics_enabled=False)
    yield client
    client.close()


def endpoints(client: Any) -> set[str]:
    """The names under which programs may ask a demo."""
    return set(client.view_api(return_format="dict", print_info=False)["named_endpoints"])


def ask(address: str, *values: object, api_name: str = "predict") -> Any:
    """What an endpoint answers to values that are sent as they are: its only output or all of them, or None.

    None is the demo's refusal, which says nothing about the machine it runs on.
    """
    call = f"{address}gradio_api/call/{api_name}"
    event = requests.post(call, json={"data": list(values)}, timeout=20).json()["event_id"]
    text = requests.get(f"{call}/{event}", timeout=60).text
    kind, _, content = text.strip().rpartition("\n\n")[2].partition("\ndata: ")  # heartbeats come before it
    if kind != "event: complete":
        assert str(ROOT) not in content
        assert "Traceback" not in content
        return None
    outputs = json.loads(content)
    return outputs[0] if len(outputs) == 1 else outputs


def check_hostile_drawings(address: str, api_name: str = "predict", place: int | None = None) -> None:
    """Each is answered with a line of text, in the output at `place` if there are several."""
    for value in HOSTILE_DRAWINGS:
        answer = ask(address, value, api_name=api_name)
        shown = answer if place is None else answer[place]
        assert "bn-error" in shown, str(value)[:40]
        assert "<script" not in shown


def check_hostile_files(address: str, api_name: str, kind: str, folder: Path) -> None:
    """What is no upload is refused, and an upload that is not of this `kind` is answered with a line of text."""
    from gradio_client import handle_file

    secret = folder / "secret.png"  # Gradio's own Image opens it for whoever names it
    Image.new("L", (28, 28), 255).save(secret)
    for value in (*HOSTILE_FILES, {"path": str(secret)}):
        assert ask(address, value, api_name=api_name) is None, value
    with calling(address) as client:
        for content in (b"", b"<script>alert(1)</script>", bytes(range(256)) * 50):
            path = folder / f"evil.{kind}"
            path.write_bytes(content)
            answer = client.predict(handle_file(path), api_name=f"/{api_name}")
            shown = answer if isinstance(answer, str) else answer[0]
            assert "bn-error" in shown
            assert "<script" not in shown
            assert "/tmp" not in shown, "visitors need not know where their files are"


# -- visitors ---------------------------------------------------------------------------------------------------------


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window; the test is skipped where there is none."""
    if missing := demos.no_browser():
        pytest.skip(missing)
    with demos.chromium() as browser:
        yield browser


def check_telephone(page: Any) -> None:
    """The page fits the width of a telephone, and its texts can be read, in the light and in the dark."""
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for dark in (False, True):
        page.evaluate("dark => document.body.classList.toggle('dark', dark)", dark)
        page.wait_for_timeout(300)  # some colours change slowly
        faint = page.evaluate(FAINT_TEXTS)
        assert not faint, (dark, faint)
    page.evaluate("document.body.classList.remove('dark')")
