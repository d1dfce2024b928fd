"""The scripts start anywhere, on a bare Python too, and tell in one line what is missing."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from scripts import environment, run_tests
from scripts.environment import Environment, SetupError

ROOT = Path(__file__).resolve().parent.parent
MEASURING = (  # which need what is to be measured
    "benchmark", "bench_apps", "bench_memory", "bench_music", "bench_steady", "gpu_check", "screenshots", "stranger",
)  # fmt: skip
SHARED = {"__init__", "environment", "machine", "projects"}  # what is in scripts/ besides the commands
SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py") if path.stem not in SHARED)
PROJECT_SCRIPTS = [
    f"{path.parent.name}.{path.stem}"
    for path in sorted(ROOT.glob("*/*.py"))
    if path.parent.name not in ("core", "scripts", "tests") and 'if __name__ == "__main__":' in path.read_text("utf-8")
]
HAVE_TORCH = importlib.util.find_spec("torch") is not None
MODULES = [f"scripts.{name}" for name in SCRIPTS] + [
    name for name in PROJECT_SCRIPTS if HAVE_TORCH or not name.endswith(".training_torch")
]
ONE_OF_EACH_FOLDER = {name.partition(".")[0]: name for name in reversed(MODULES)}.values()
BARE = (sys.executable, "-I", "-S")  # no installed packages, no environment variables, no current folder


def run(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, **variables})


def file_of(module: str) -> Path:
    return ROOT / (module.replace(".", "/") + ".py")


def only_line(text: str) -> str:
    (line,) = text.strip().splitlines()
    return line


@pytest.mark.parametrize("module", MODULES)
def test_help_as_a_file_from_any_folder(module, tmp_path):
    done = run(sys.executable, file_of(module), "--help", cwd=tmp_path, PYTHONPATH="")
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage" in done.stdout.lower()
    source = file_of(module).read_text(encoding="utf-8").split('"""')[1]
    examples = re.findall(r"^ *python3? .*", source, re.MULTILINE)
    assert [line for line in examples if line not in done.stdout.splitlines()] == []


@pytest.mark.parametrize("module", ONE_OF_EACH_FOLDER)  # other tests import or run the others
def test_help_as_a_module_from_any_folder(module, tmp_path):
    done = run(sys.executable, "-m", module, "--help", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage" in done.stdout.lower()


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_on_a_bare_python(name, tmp_path):
    done = run(*BARE, file_of(f"scripts.{name}"), "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name != "run_tests"])  # which hands it on to pytest
def test_an_unknown_flag_is_told_in_one_line(name, tmp_path):
    done = run(*BARE, file_of(f"scripts.{name}"), "some", "words", "--bogus", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert only_line(done.stderr).startswith("error: ")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("benchmark", "--rounds 0"),
        ("benchmark", "--threads 0"),
        ("bench_apps", "--clients -1"),
        ("bench_apps", "--hostile -1"),
        ("bench_apps", "--seconds 0"),
        ("bench_apps", "--seconds nan"),
        ("bench_music", "--rounds 0"),
        ("bench_start", "--times 0"),
        ("bench_steady", "--steps 5"),
        ("bench_steady", "--threads 100000"),
        ("launch", "--port 99999"),
    ],
)
def test_a_number_that_makes_no_sense_is_told_before_anything_is_measured(name, words, tmp_path):
    done = run(*BARE, file_of(f"scripts.{name}"), *words.split(), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert words.split()[0] in only_line(done.stderr)


def test_one_measurement_of_the_demos_at_a_time(tmp_path):
    done = run(*BARE, file_of("scripts.bench_apps"), "--start", "--clients", "2", "--hostile", "9", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--start and --clients and --hostile are different measurements" in only_line(done.stderr)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_reader_who_has_left_is_no_traceback(name, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    command = [*BARE, file_of(f"scripts.{name}"), "--help"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    os.close(writing)
    assert (done.returncode, done.stderr) == (environment.PIPE_CLOSED, "")


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_old_python_is_told_so_in_one_line(name, tmp_path):
    path = str(file_of(f"scripts.{name}"))
    code = f"import runpy, sys; sys.version_info = (3, 9, 2); runpy.run_path({path!r}, run_name='__main__')"
    done = run(sys.executable, "-c", code, cwd=tmp_path)
    assert done.returncode == 2
    assert only_line(done.stderr).startswith("error: Python 3.10 or newer is needed")


@pytest.mark.parametrize("module", [*PROJECT_SCRIPTS, *(f"scripts.{name}" for name in MEASURING)])
def test_missing_packages_are_told_in_one_line(module, tmp_path):
    done = run(*BARE, file_of(module), cwd=tmp_path)
    assert done.returncode == 2
    line = only_line(done.stderr)
    assert line.startswith("error: ")
    assert "install" in line


@pytest.mark.parametrize("module", PROJECT_SCRIPTS)  # those in scripts/ import only Python's own before they begin
def test_ctrl_c_while_packages_are_imported_is_quiet(module, tmp_path):
    for package in ("numpy", "torch"):  # the first that any of them imports
        (tmp_path / f"{package}.py").write_text("raise KeyboardInterrupt")
    done = run(sys.executable, file_of(module), cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (environment.INTERRUPTED, "", "")


def test_a_project_that_was_moved_away_from_core_says_so_in_one_line(tmp_path):
    shutil.copytree(ROOT / "mlp_mnist", tmp_path / "mlp_mnist", ignore=shutil.ignore_patterns("archive", "runs"))
    packages = sysconfig.get_path("purelib")  # without the link in it that an editable install makes, thanks to -S
    done = run(sys.executable, "-S", "mlp_mnist/training.py", cwd=tmp_path, PYTHONPATH=packages)
    assert done.returncode == 2
    assert only_line(done.stderr).startswith("error: No module named 'core'; keep this folder beside core/")


def test_the_doctor_finds_this_environment_usable(tmp_path):
    done = run(sys.executable, file_of("scripts.doctor"), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for heading in ("Python", "Packages", "BLAS", "Machine", "GPU", "Data and runs"):
        assert f"\n{heading}" in done.stdout


def test_the_doctor_works_on_a_bare_python_and_says_what_is_missing(tmp_path):
    done = run(*BARE, file_of("scripts.doctor"), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "missing: numpy" in done.stdout
    assert "quickstart.py" in done.stdout


def test_run_tests_passes_everything_else_on_to_pytest(monkeypatch, tmp_path):
    asked: dict[str, object] = {}

    def prepare(extras, here):
        asked.update(extras=extras, here=here)
        return Environment(tmp_path, Path("python"))

    monkeypatch.setattr(environment, "prepare", prepare)
    monkeypatch.setattr(run_tests, "refuse_mistakes", lambda command: None)
    monkeypatch.setattr(environment, "run", lambda command: asked.update(command=command) or 5)
    monkeypatch.setattr(sys, "argv", ["run_tests.py", "tests/test_cli.py", "--with", "demo", "-k", "one or two", "-v"])
    assert run_tests.main() == 5
    assert asked == {
        "extras": ["test", "demo"],
        "here": False,
        "command": ["python", "-m", "pytest", "tests/test_cli.py", "-k", "one or two", "-v"],
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bogus"], "pytest: unrecognized arguments: --bogus"),
        (["--tb", "bogus"], "pytest: argument --tb: invalid choice: 'bogus' "),
        (["-c", "nowhere.ini"], "pytest: "),
    ],
)
def test_run_tests_tells_of_a_wrong_flag_in_one_line(arguments, message, monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "prepare", lambda **_: Environment(tmp_path, Path(sys.executable)))
    monkeypatch.setattr(sys, "argv", ["run_tests.py", *arguments])
    with pytest.raises(SetupError) as caught:
        run_tests.main()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("of_pytest", "ours"), [(0, 0), (1, 1), (run_tests.WRONG_ARGUMENT, 2), (5, 5)])
def test_run_tests_ends_with_pytests_exit_code(of_pytest, ours, monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "prepare", lambda **_: Environment(tmp_path, Path(sys.executable)))
    commands = []
    monkeypatch.setattr(environment, "run", lambda command: commands.append(command) or of_pytest)
    monkeypatch.setattr(sys, "argv", ["run_tests.py"])
    assert run_tests.main() == ours
    assert commands[0][3:] == run_tests.ON_SEVERAL_CORES


def test_the_landing_check_leaves_out_no_extra_that_tests_need():
    block = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[project.optional-dependencies]")[1]
    extras = set(re.findall(r"^([\w-]+) = \[", block.split("[tool.")[0], re.MULTILINE))
    assert set(run_tests.EXTRAS) == extras - {"test", "torch", "record", "gpu-cuda12", "gpu-cuda13"}
    assert set(re.findall(r"--with (\w+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))) == set(run_tests.EXTRAS)
