"""A demo opened by its name, the demos as children that do not outlive the launcher, and a visit to all of them."""

from __future__ import annotations

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
from ports import own

from scripts.environment import ROOT, SetupError
from scripts.projects import BY_NAME
from scripts.start.children import Children, free_port

needs_gradio = pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs Gradio")
LAUNCH = ROOT / "scripts" / "launch.py"


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
            ["--host", "a..b", "--port", "7860"],
            "cannot listen at a..b:7860",
            marks=needs_gradio,
        ),
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
    children = Children(apps, "127.0.0.1", free_port("127.0.0.1", own(17860)))
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
    with pytest.raises(SetupError, match=r"cannot listen at 999\.1\.1\.1: "):
        free_port("999.1.1.1", 7860)


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
    apps = {{"demo": Path({str(fake(tmp_path, "demo", fault))!r})}}
    children.TIED = Path({str(tied)!r})
    print(children.Children(apps, "127.0.0.1", {own(18860)}).open("demo"))
    sys.stdout.flush()
    time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        port = int(next(line for line in launcher.stdout if line.strip().isdigit()))
        assert answers(port)
        launcher.send_signal(signal.SIGKILL)
        wait_until(lambda: not answers(port))


# -- all of it --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def launched() -> Iterator[str]:
    """The real start page's address; afterwards Ctrl-C ends everything, with exit code 0 and without a trace."""
    command = [sys.executable, "-u", LAUNCH, "--port", str(own(10860))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
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
