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
    """The page fits the width of a telephone."""
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
