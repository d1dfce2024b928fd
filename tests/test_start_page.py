"""The start page: what it says of each demo, and a server that opens demos for its own visitors and nothing else."""

from __future__ import annotations

import importlib
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from scripts import projects
from scripts.environment import ROOT, SetupError
from scripts.projects import BY_NAME, DEMOS, VARIANTS, Model
from scripts.start import server as start_server
from scripts.start.page import error_page, start_page
from scripts.start.server import StartServer

REPORT = {
    "accuracy": {"value": 0.9844, "low": 0.98182, "high": 0.98665},
    "images": 10000,
    "samples": "drawings",
    "date": "2026-11-21T07:00:00+00:00",
}


def model(notice: str = "", report: dict | None = REPORT) -> Model:
    return Model(Path("runs") / "a <run>" / "best.safetensors", {"notice": notice}, report)


def test_the_demos_are_called_what_they_call_themselves():
    assert len(BY_NAME) == len(DEMOS) == 6
    for demo in (*DEMOS, *VARIANTS):
        app = importlib.import_module(f"{demo.project}.app")
        assert demo.title == (app.TITLES[demo.dataset] if demo.project == "mlp_mnist" else app.TITLE)
        assert len(demo.sentence) <= 60


def test_a_card_has_figures_notice_and_a_door():
    models = dict.fromkeys(BY_NAME, model())
    models["cifar"] = model("PARTIAL <data>")
    models["emnist"] = "no model for <emnist> has been trained yet"
    models["music_cuda"] = model(report=None)
    page = start_page(DEMOS, models, {"mlp_mnist": "http://127.0.0.1:7861/"})
    cards = {re.search(r'id="(\w+)"', card)[1]: card for card in page.split("<article")[1:]}
    assert list(cards) == list(BY_NAME)
    assert '<a href="http://127.0.0.1:7861/"' in cards["mlp_mnist"]
    assert "<form" not in cards["mlp_mnist"]
    assert 'method="post" action="/open/rnn_doodles"' in cards["rnn_doodles"]
    figures = "98.44% of 10,000 test drawings right (95 % interval 98.2% to 98.7%), measured 2026-11-21"
    assert figures in cards["rnn_doodles"]
    assert "a &lt;run&gt;" in cards["rnn_doodles"]
    assert "PARTIAL &lt;data&gt;" in cards["cifar"]
    assert 'class="notice"' not in cards["rnn_doodles"]
    assert "no model for &lt;emnist&gt; has been trained yet" in cards["emnist"]
    assert "not measured yet" in cards["music_cuda"]
    assert "<script>alert" not in error_page("x", "<script>alert(1)</script>")


def test_a_picture_or_an_emoji(tmp_path, monkeypatch):
    monkeypatch.setattr(projects, "ROOT", tmp_path)
    demo, models = DEMOS[0], {"mlp_mnist": model()}
    assert f">{demo.emoji}<" in start_page([demo], models, {})
    (tmp_path / "mlp_mnist").mkdir()
    (tmp_path / "mlp_mnist" / "demo.png").touch()
    page = start_page([demo], models, {})
    assert '<img class="picture" src="/picture/mlp_mnist.png"' in page
    assert demo.emoji not in page


def test_the_model_is_that_of_the_newest_run(tmp_path, monkeypatch):
    sys.path.append(str(Path(__file__).with_name("mlp_mnist")))
    make_run = importlib.import_module("tiny_run").make_run
    monkeypatch.setattr(projects, "ROOT", tmp_path)
    for age, name in enumerate(("new", "old")):
        folder = make_run(tmp_path / "mlp_mnist" / "runs" / name, notice=f"notice of the {name} one")
        os.utime(folder / "best.safetensors", (1e9 - age, 1e9 - age))
    found = start_server.find_models()
    assert isinstance(found["mlp_mnist"], Model)
    assert found["mlp_mnist"].notice == "notice of the new one"
    assert found["mlp_mnist"].report is None
    assert "run `python cifar/training.py` first" in found["cifar"]


class Door:
    """Stands in for the children: notes what is opened."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def open(self, name: str) -> int:
        self.opened.append(name)
        if name == "cifar":
            raise SetupError("the <weights> are gone")
        return 7999

    def open_ports(self) -> dict[str, int]:
        return dict.fromkeys(self.opened, 7999)


@pytest.fixture
def door(monkeypatch) -> Door:
    monkeypatch.setattr(start_server, "find_models", lambda: dict.fromkeys(BY_NAME, model()))
    return Door()


@pytest.fixture
def address(door) -> Iterator[str]:
    with StartServer("127.0.0.1", 0, door) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_door_leads_to_the_demo_by_the_name_the_visitor_used(address, door):
    assert "Six demos" in requests.get(f"{address}/", timeout=5).text
    by_name = address.replace("127.0.0.1", "localhost")
    for start in (address, by_name):
        answer = requests.post(f"{start}/open/emnist", headers={"Origin": start}, timeout=5, allow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (303, f"{start.rsplit(':', 1)[0]}:7999/")
    assert door.opened == ["emnist", "emnist"]
    assert 'href="http://localhost:7999/"' in requests.get(f"{by_name}/", timeout=5).text


def test_a_demo_that_does_not_start_is_told(address):
    answer = requests.post(f"{address}/open/cifar", timeout=5)
    assert answer.status_code == 502
    assert "the &lt;weights&gt; are gone" in answer.text


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/picture/mlp_mnist.png", {}, 200),
        ("GET", "/picture/scripts.png", {}, 404),
        ("GET", "/picture/../README.md", {}, 404),
        ("GET", "/mlp_mnist/app.py", {}, 404),
        ("GET", "/open/mlp_mnist", {}, 404),
        ("POST", "/open/pixels", {}, 404),
        ("POST", "/mlp_mnist", {}, 404),
        ("POST", "/open/mlp_mnist", {"Origin": "http://elsewhere.example"}, 403),
        ("POST", "/open/mlp_mnist", {"Origin": "null"}, 403),
        ("POST", "/open/mlp_mnist", {"Host": "elsewhere.example"}, 403),
        ("GET", "/", {"Host": "elsewhere.example:7860"}, 403),
        ("GET", "/", {"Host": "a b/<c>"}, 403),
    ],
)
def test_nothing_else_is_served_and_no_other_site_opens_a_door(method, path, headers, status, address, door):
    request = requests.Request(method, address, headers=headers).prepare()
    request.url = address + path  # as it is, without a browser's tidying
    with requests.Session() as session:
        answer = session.send(request, timeout=5, allow_redirects=False)
    assert answer.status_code == status
    assert door.opened == []
    if status == 200:
        assert answer.content == (ROOT / "mlp_mnist" / "demo.png").read_bytes()


def test_others_in_the_network_may_use_any_name_where_the_page_is_for_them(door, monkeypatch):
    with StartServer("127.0.0.1", 0, door) as server:
        server.private = False
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        port = server.server_address[1]
        headers = {"Host": f"classroom.local:{port}"}
        answer = requests.post(
            f"http://127.0.0.1:{port}/open/emnist", headers=headers, timeout=5, allow_redirects=False
        )
        server.shutdown()
        thread.join()
    assert answer.headers["Location"] == "http://classroom.local:7999/"
