"""A Space's folder holds what its demo needs and nothing else, and starts alone."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from ports import own
from tiny_space import NOTICE, content, tiny_run

from core.errors import UserError
from scripts import export_space
from scripts.environment import ROOT, SetupError
from scripts.export_space import export
from scripts.projects import DEMOS, VARIANTS
from scripts.space.app import where

WEIGHTS = "mlp_mnist/runs/tiny/best.safetensors"
# Runs in the folder as its app.py does, up to the page, in whose place stands a mock, and says whose modules it used.
PROBE = """
import importlib, json, runpy, sys
from unittest.mock import MagicMock
sys.modules["gradio"] = MagicMock()
sys.argv = ["app.py", "--help"]
try:
    runpy.run_path("app.py", run_name="__main__")
except SystemExit as stop:
    assert not stop.code, stop.code
space = json.load(open("space.json", encoding="utf-8"))
app = importlib.import_module(space["project"] + ".app")
app.make_demo(app.Settings(run=space["run"]))
ours = ("core", space["project"])
print("PLACES", json.dumps([m.__file__ for n, m in sys.modules.items() if n.split(".")[0] in ours and m.__file__]))
"""


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    """The export of a tiny mlp_mnist; not to be changed."""
    folder = tmp_path_factory.mktemp("spaces")
    return export("mlp_mnist", folder / "space", str(tiny_run(folder / "tiny")))


@pytest.fixture
def space(pristine, tmp_path) -> Path:
    """A copy of it."""
    return shutil.copytree(pristine, tmp_path / "space")


def isolated(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the folder without anything of this environment but the installed packages."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-I", *command], cwd=folder, capture_output=True, text=True, env=kept | variables
    )


def test_the_folder_holds_what_is_needed_and_nothing_else(pristine):
    names = set(content(pristine))
    assert {name for name in names if "/" not in name} == {
        ".gitattributes", ".gitignore", "LICENSE", "README.md", "app.py", "requirements.txt", "space.json",
    }  # fmt: skip
    assert {name.split("/")[0] for name in names if "/" in name} == {"core", "mlp_mnist"}
    assert {name for name in names if name.startswith("mlp_mnist/runs/")} == {
        WEIGHTS,
        "mlp_mnist/runs/tiny/config.json",
        "mlp_mnist/runs/tiny/report/report.json",
        "mlp_mnist/runs/tiny/report/model_card.md",
        "mlp_mnist/runs/tiny/report/examples/00-zero.png",
    }
    listed = subprocess.run(["git", "ls-files", "core", "mlp_mnist"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        tracked = {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}
        assert tracked - names == set(), "a file of the program was left out"
    assert not [name for name in names if re.search(r"__pycache__|/archive/|/\.|\.(npy|csv|lock)$", name)]


def test_only_the_program_is_copied(tmp_path):
    wanted = ("app.py", "kernels/fused.cu", "demo.png", "README.md")
    for name in (
        *wanted,
        "archive/a.py",
        "runs/r/model_card.md",
        "__pycache__/a.py",
        ".a.py",
        "data.npy",
        "curves.png",
    ):
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).touch()
    export_space.copy(tmp_path / "from", tmp_path / "to", export_space.is_source)
    assert set(content(tmp_path / "to")) == set(wanted)


def test_what_the_hub_reads(pristine):
    text = (pristine / "README.md").read_text(encoding="utf-8")
    _, matter, body = text.split("---\n", 2)
    settings = {name: json.loads(value) for name, value in (line.split(": ", 1) for line in matter.splitlines())}
    requirements = (pristine / "requirements.txt").read_text().splitlines()
    assert settings["sdk"] == "gradio"
    assert f"gradio=={settings['sdk_version']}" in requirements
    assert settings["python_version"] == "{}.{}".format(*sys.version_info)
    assert (pristine / settings["app_file"]).is_file()
    assert settings["license"] == "mit"
    assert 0 < len(settings["short_description"]) <= 60
    assert len(settings["emoji"]) == 1
    assert settings["title"] == "Handwritten digits"
    assert all(re.fullmatch(r"[a-z-]+==[\w.]+", line) for line in requirements)
    assert {"numpy", "safetensors", "pillow", "tyro"} <= {line.split("==")[0] for line in requirements}
    assert not re.search(r"cupy|torch", " ".join(requirements))
    assert f"> **{NOTICE}**" in body
    assert "98.70% of 1,234 test images right" in body
    assert "CC BY 4.0 (Somebody, 1998)" in body
    links = re.findall(r"\]\((.*?)\)", body)
    assert links
    assert [link for link in links if not (pristine / link).is_file()] == []


def test_notice_and_hash_go_with_the_weights(pristine):
    space = json.loads((pristine / "space.json").read_text(encoding="utf-8"))
    assert space["weights"] == WEIGHTS
    assert space["sha256"] == hashlib.sha256((pristine / WEIGHTS).read_bytes()).hexdigest()
    assert space["notice"] == NOTICE


@pytest.mark.parametrize("demo", [*DEMOS, *VARIANTS], ids=lambda demo: demo.dataset)
def test_each_demo_is_made_from_the_folder_alone(demo, tmp_path):
    run = tiny_run(tmp_path / "tiny", demo)
    folder = export(demo.project, tmp_path / "space", str(run))
    shutil.rmtree(run)
    done = isolated(folder, "-c", PROBE)
    assert done.returncode == 0, done.stderr
    places = json.loads(done.stdout.split("PLACES ")[1])
    assert len(places) > 10
    assert [place for place in places if not Path(place).is_relative_to(folder)] == []


@pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs Gradio")
def test_the_demo_answers_from_the_folder_alone(pristine):
    from scripts.start.children import free_port

    port = free_port("127.0.0.1", own(9900))
    command = [sys.executable, "-I", "-u", "app.py"]
    variables = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "PYTHONPATH": ""}
    with subprocess.Popen(
        command, cwd=pristine, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert f"http://127.0.0.1:{port}/" in line, line
            page = requests.get(f"http://127.0.0.1:{port}/", timeout=20).text
            assert NOTICE in page
            assert "98.70%" in page
            call = f"http://127.0.0.1:{port}/gradio_api/call/predict"
            event = requests.post(call, json={"data": ["[[[40,40],[200,60],[120,240]]]"]}, timeout=20).json()
            answer = requests.get(f"{call}/{event['event_id']}", timeout=20).text
            assert "bn-answer" in answer
        finally:
            process.terminate()
            process.communicate()


def damage(space: Path) -> None:
    data = bytearray((space / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (space / WEIGHTS).write_bytes(data)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (damage, "is not the file that was exported: its SHA-256 is"),
        (lambda space: (space / WEIGHTS).unlink(), "cannot be read: No such file"),
        (lambda space: (space / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    ],
    ids=["changed", "missing", "not fetched"],
)
def test_other_weights_are_refused_in_one_line(space, change, said):
    change(space)
    done = isolated(space, "app.py")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {WEIGHTS} ")
    assert said in line


def test_the_surroundings_say_where_to_listen(monkeypatch):
    monkeypatch.delenv("GRADIO_SERVER_PORT", raising=False)
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    assert where() == ["--host", "0.0.0.0"]
    monkeypatch.setenv("GRADIO_SERVER_PORT", "7860")
    monkeypatch.setenv("GRADIO_SERVER_NAME", "")
    assert where() == ["--port", "7860"]


def test_without_a_report_the_page_says_so(tmp_path, capsys):
    run = tiny_run(tmp_path / "tiny", notice="")
    (run / "report" / "report.json").write_text(json.dumps({"weights_sha256": "of others"}))
    folder = export("mlp_mnist", tmp_path / "space", str(run))
    assert not (folder / "mlp_mnist/runs/tiny/report").exists()
    assert "has not been measured yet" in (folder / "README.md").read_text(encoding="utf-8")
    assert "have not been measured" in capsys.readouterr().out


def test_mistakes_end_with_one_line_and_exit_code_2(tmp_path):
    script = ROOT / "scripts" / "export_space.py"
    for words, said in (
        (("pixels", "space"), "there is no project 'pixels'; there are mlp_mnist, cnn_mnist100"),
        (("cifar", "space", "--run", "nothing"), "there is no run 'nothing' with saved weights"),
    ):
        done = subprocess.run([sys.executable, script, *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"error: {said}")
    assert list(tmp_path.iterdir()) == []


def test_a_run_on_other_data_is_refused(tmp_path):
    run = importlib.import_module("tiny_cifar").make_run(tmp_path / "odd", data={"dataset": "mnist"})
    with pytest.raises(SetupError, match="was trained on mnist, which this demo does not show"):
        export("cifar", tmp_path / "space", str(run))


def test_damaged_weights_are_not_exported(tmp_path):
    run = tiny_run(tmp_path / "tiny")
    data = bytearray((run / "best.safetensors").read_bytes())
    data[-1] ^= 1
    (run / "best.safetensors").write_bytes(data)
    with pytest.raises(UserError, match="is damaged"):
        export("mlp_mnist", tmp_path / "space", str(run))
    assert not (tmp_path / "space").exists()


def test_what_is_not_installed_has_the_tested_version(monkeypatch):
    def absent(name):
        raise export_space.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(export_space.importlib.metadata, "version", absent)
    pinned = re.search(r"^librosa==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    assert export_space.version_of("librosa") == pinned[1]
    with pytest.raises(SetupError, match="pip install nonsense"):
        export_space.version_of("nonsense")


def test_only_music_asks_for_sound(monkeypatch):
    assert "librosa" in export_space.requirements("music_cuda")
    assert "librosa" not in export_space.requirements("emnist")
