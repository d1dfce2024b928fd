"""The start page, the demos as children that do not outlive the launcher, and a demo opened by its name."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from scripts import projects
from scripts.environment import ROOT, SetupError
from scripts.projects import BY_NAME, DEMOS, VARIANTS, Model
from scripts.start import server as start_server
from scripts.start.children import Children, free_port
from scripts.start.page import error_page, start_page
from scripts.start.server import StartServer

needs_gradio = pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs Gradio")
LAUNCH = ROOT / "scripts" / "launch.py"
REPORT = {
    "accuracy": {"value": 0.9844, "low": 0.98182, "high": 0.98665},
    "images": 10000,
    "samples": "drawings",
    "date": "2026-11-21T07:00:00+00:00",
}


def model(notice: str = "", report: dict | None = REPORT) -> Model:
    return Model(Path("runs") / "a <run>" / "best.safetensors", {"notice": notice}, report)


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, words)], cwd=cwd, capture_output=True, text=True)


# -- one demo by its name ---------------------------------------------------------------------------------------------


def test_flags_go_to_the_demo(tmp_path):
    for name in ("mlp_mnist", "emnist"):
        done = run(LAUNCH, name, "--port", "70000", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (2, "error: --port must lie in 0..65535, got 70000\n")
    assert "--dataset" in run(LAUNCH, "mlp_mnist", "--help", cwd=tmp_path).stdout
    assert "--dataset" not in run(LAUNCH, "emnist", "--help", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pixels", "--port", "1"], f"there is no demo 'pixels'; there are {', '.join(BY_NAME)}"),
        (["--port", "8000", "cifar"], "the name of a demo comes first, and its flags after it: launch.py cifar ..."),
        (["--port", "70000"], "--port must lie in 0..65535, got 70000"),
        pytest.param(
            ["--host", "no.such.host.invalid", "--port", "7860"],
            "cannot listen at no.such.host.invalid:7860",
            marks=needs_gradio,
        ),
    ],
)
def test_mistakes_end_with_one_line_and_exit_code_2(words, said, tmp_path):
    done = run(LAUNCH, *words, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {said}")


def test_without_packages_one_line_says_how_to_get_them(tmp_path):
    done = run("-I", "-S", LAUNCH, cwd=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"error: numpy and gradio missing: pip install .*\n", done.stderr)


# -- what the page says -----------------------------------------------------------------------------------------------


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


# -- children ---------------------------------------------------------------------------------------------------------

# A demo in small, which says where it is; `fault` makes it go wrong in some way.
FAKE = """
import socket, sys
port = int(sys.argv[sys.argv.index("--port") + 1])
print("Something else first")
{fault}
server = socket.create_server(("127.0.0.1", port))
server.settimeout(60)
print(f"The demo is at http://127.0.0.1:{{port}}/", flush=True)
while True:
    server.accept()[0].close()
"""
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
FAILING = "print('error: the weights are gone'); sys.exit(2)"


def fake(folder: Path, name: str, fault: str = "") -> Path:
    path = folder / f"{name}.py"
    path.write_text(FAKE.format(fault=fault))
    return path


@pytest.fixture
def children(tmp_path) -> Iterator[Children]:
    apps = {"good": fake(tmp_path, "good"), "other": fake(tmp_path, "other"), "bad": fake(tmp_path, "bad", FAILING)}
    children = Children(apps, "127.0.0.1", free_port("127.0.0.1", 17860))
    yield children
    children.close()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def wait_until(condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_demo_is_started_once_and_ended_with_the_others(children, capsys):
    ports: list[int] = []
    threads = [threading.Thread(target=lambda: ports.append(children.open("good"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ports) == 4
    assert len(set(ports)) == 1
    assert capsys.readouterr().out.count("good: The demo is at") == 1
    other = children.open("other")
    assert other not in ports
    assert children.open_ports() == {"good": ports[0], "other": other}
    children.close()
    assert not answers(ports[0])
    assert not answers(other)
    with pytest.raises(SetupError, match="about to end"):
        children.open("good")


def test_a_demo_that_fails_says_why_and_may_be_tried_again(children, tmp_path):
    with pytest.raises(SetupError, match=r"^the weights are gone$"):
        children.open("bad")
    assert children.open_ports() == {}
    fake(tmp_path, "bad")
    assert answers(children.open("bad"))


def test_a_port_that_is_taken_is_passed_over():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert port < free_port("127.0.0.1", port, {port + 1}) <= port + 100
        assert free_port("127.0.0.1", port, {port + 1}) != port + 1
    with pytest.raises(SetupError, match="no free port among the 100"):
        free_port("127.0.0.1", 65536)


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is a matter of POSIX")
@pytest.mark.parametrize("fault", ["", STUBBORN], ids=["usual", "stubborn"])
def test_no_demo_outlives_a_launcher_that_was_killed(fault, tmp_path):
    tied = tmp_path / "tied.py"  # with less patience, for the sake of the test's
    tied.write_text((ROOT / "scripts" / "start" / "tied.py").read_text().replace("PATIENCE = 12.0", "PATIENCE = 0.5"))
    code = f"""
    import sys, time
    sys.path.insert(0, {str(ROOT)!r})
    from pathlib import Path
    from scripts.start import children
    children.TIED = Path({str(tied)!r})
    print(children.Children({{"demo": Path({str(fake(tmp_path, "demo", fault))!r})}}, "127.0.0.1", 18860).open("demo"))
    sys.stdout.flush()
    time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        port = int(next(line for line in launcher.stdout if line.strip().isdigit()))
        assert answers(port)
        launcher.send_signal(signal.SIGKILL)
        wait_until(lambda: not answers(port))


# -- the server -------------------------------------------------------------------------------------------------------


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


# -- all of it --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def launched() -> Iterator[str]:
    """The real start page's address; afterwards Ctrl-C ends everything, with exit code 0 and without a trace."""
    with subprocess.Popen(
        [sys.executable, "-u", LAUNCH], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("All demos are at http://127.0.0.1:"), line
            yield line.split()[4]
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
            assert process.wait(30) == 0, rest
            assert "Traceback" not in rest
            for port in map(int, re.findall(r"The demo is at http://127.0.0.1:(\d+)/", rest)):
                assert not answers(port)
        finally:
            process.terminate()


@needs_gradio
def test_a_visitor_opens_a_demo_and_comes_back(launched, browser):
    page = browser.new_page()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(launched)
    assert page.locator("article").count() == 6
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#emnist button").click()
    page.locator(".bn-heading h1", has_text="Handwritten arithmetic").wait_for(timeout=60_000)
    assert page.url != launched
    opened = page.url
    page.go_back()
    assert page.locator("#emnist .open a").get_attribute("href") == opened
    page.close()
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))] == []
    assert errors == []
