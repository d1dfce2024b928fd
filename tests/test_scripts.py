"""The scripts start anywhere, on a bare Python too, and tell in one line what is missing."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts import doctor, environment, machine, run_tests
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


@pytest.mark.parametrize("module", MODULES)
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


def test_the_doctor_reads_what_is_needed_from_pyproject():
    needed = dict(doctor._requirements())
    assert needed["numpy"] == "2.2"
    assert "gradio" not in needed


@pytest.mark.parametrize(
    ("place", "said", "warnings"),
    [
        (ROOT, "", 0),
        (None, "the project is not installed here; its scripts find core in the clone all the same", 1),
        (ROOT.parent / "other", "another clone is installed here", 1),
    ],
)
def test_the_doctor_knows_where_core_comes_from(place, said, warnings, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_installed_from", lambda: place)
    report = doctor.Report()
    doctor.check_packages(report)
    assert said in capsys.readouterr().out
    assert (report.stops, report.warnings) == (0, warnings)  # the scripts of this clone use its own core anyway


def test_the_doctor_shows_the_notice_of_prepared_data(tmp_path, monkeypatch, capsys):
    project = tmp_path / "mlp_mnist"
    (project / "archive" / "mnist").mkdir(parents=True)
    (project / "archive" / "mnist" / "info.json").write_text(json.dumps({"notice": "SYNTHETIC data"}))
    (project / "archive" / "broken").mkdir()
    (project / "archive" / "broken" / "info.json").write_text("{")
    (project / "training.py").touch()
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    doctor.check_data(doctor.Report())
    assert "mnist is prepared - SYNTHETIC data" in capsys.readouterr().out


@pytest.mark.parametrize(("threads", "said"), [(2, True), (4, False)])
def test_the_doctor_tells_of_a_limited_container(threads, said, monkeypatch, capsys):
    monkeypatch.setattr(machine, "usable_cores", lambda: 4)
    monkeypatch.setattr("core.cores.usable_cores", lambda: threads)
    doctor.check_machine(doctor.Report())
    assert ("training uses 2 threads" in capsys.readouterr().out) == said


CARD = machine.Gpu("An old card", "535.1", "16384 MiB", "7.0")


def fake_cupy(nvrtc: tuple[int, int], available: bool = True) -> SimpleNamespace:
    cuda = SimpleNamespace(is_available=lambda: available, nvrtc=SimpleNamespace(getVersion=lambda: nvrtc))
    return SimpleNamespace(__version__="14.2.0", cuda=cuda)


@pytest.mark.parametrize(
    ("cards", "packages", "cupy", "said"),
    [
        ([], [], None, "no GPU and no CuPy: everything runs on the CPU"),
        ([CARD], [], None, 'pip install -e ".[gpu-cuda12]"'),
        ([CARD], ["cupy-cuda12x", "cupy-cuda13x"], fake_cupy((12, 9)), "more than one CuPy"),
        ([CARD], ["cupy-cuda13x"], fake_cupy((13, 0)), "capability 7.5 and newer only"),
        ([], ["cupy-cuda12x"], fake_cupy((12, 9), available=False), "CuPy finds no usable GPU"),
        ([CARD], ["cupy-cuda12x"], fake_cupy((12, 9)), "NVRTC 12.9"),
    ],
)
def test_the_doctor_knows_the_troubles_of_gpus(cards, packages, cupy, said, monkeypatch, capsys):
    monkeypatch.setattr(machine, "gpus", lambda: cards)
    monkeypatch.setattr(machine, "cuda_driver_version", lambda: "12.2" if cards else None)
    monkeypatch.setattr(doctor, "_version", lambda name: "14.2.0" if name in packages else None)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    report = doctor.Report()
    doctor.check_gpu(report)
    assert said in capsys.readouterr().out
    assert report.stops == 0  # a CPU is enough to train
    assert report.warnings == (0 if said in ("NVRTC 12.9", "no GPU and no CuPy: everything runs on the CPU") else 1)


def test_the_list_of_gpus_is_read(monkeypatch):
    monkeypatch.setattr(machine, "_output", lambda command: "A card, 580.1, 81559 MiB, 9.0\nOdd line\n")
    assert machine.gpus() == [machine.Gpu("A card", "580.1", "81559 MiB", "9.0")]


PIP_WITHOUT_NETWORK = """\
WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('Failed to establish')': /simple/x/
ERROR: Could not find a version that satisfies the requirement setuptools>=77 (from versions: none)
ERROR: No matching distribution found for setuptools>=77
"""


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        (PIP_WITHOUT_NETWORK, "no package index could be reached"),
        ("ERROR: Could not find a version that satisfies numpy (from versions: 1.0)", "no fitting build"),
        ("error: externally-managed-environment\n\n× This environment is externally managed", "without --here"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("Collecting numpy\nERROR: something nobody has seen\nhint: none", "ERROR: something nobody has seen"),
        ("Error: [Errno 13] Permission denied: '/clone/.venv'", "cannot be written to: run this in a copy of your own"),
        ("", "it gave no reason"),
    ],
)
def test_a_failed_installation_is_explained_in_one_line(output, advice):
    line = environment.diagnose(output.splitlines())
    assert advice in line
    assert "\n" not in line


def fake_installer(tmp_path, monkeypatch, output: str, code: int) -> list[str]:
    script = tmp_path / "installer.py"
    script.write_text(f"import sys\nprint({output!r})\nsys.exit({code})\n")
    monkeypatch.setattr(environment, "_installer", lambda python: [sys.executable, str(script)])
    monkeypatch.setattr(environment, "PROBE", "")


def test_an_installation_that_fails_leaves_a_log_and_no_stamp(tmp_path, monkeypatch):
    fake_installer(tmp_path, monkeypatch, PIP_WITHOUT_NETWORK, 1)
    place = Environment(tmp_path, Path(sys.executable))
    with pytest.raises(SetupError, match="no package index could be reached"):
        environment.install(place, set())
    assert "Retrying" in (tmp_path / environment.LOG_NAME).read_text()
    assert not environment.is_installed(place, set())


def test_nothing_is_installed_again_until_something_changes(tmp_path, monkeypatch):
    fake_installer(tmp_path, monkeypatch, "", 0)
    place = Environment(tmp_path, Path(sys.executable))
    assert not environment.is_installed(place, set())
    environment.install(place, {"test"})
    assert environment.is_installed(place, {"test"})
    assert environment.is_installed(place, set())
    assert not environment.is_installed(place, {"demo"})
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("numpy==0.1\n")
    monkeypatch.setattr(environment, "CONSTRAINTS", constraints)
    assert not environment.is_installed(place, {"test"})


def test_a_package_that_went_missing_is_noticed(tmp_path, monkeypatch):
    fake_installer(tmp_path, monkeypatch, "", 0)
    place = Environment(tmp_path, Path(sys.executable))
    environment.install(place, set())
    monkeypatch.setattr(environment, "PROBE", "import a_package_that_is_gone")
    assert not environment.is_installed(place, set())


def test_an_environment_is_made_and_a_broken_one_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)  # no ensurepip, as on Debian
    folder = tmp_path / "environment"
    folder.mkdir()
    place = Environment(folder, folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    assert not place.works()
    environment.make(folder)
    assert place.works()
    place.python.unlink()
    environment.make(folder)
    assert place.works()


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path):
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(SetupError, match="not a virtual environment"):
        environment.make(tmp_path)
    assert (tmp_path / "diary.txt").read_text() == "mine"


def test_a_mistake_of_the_user_ends_with_one_line_and_exit_code_2(capsys):
    def fail() -> int:
        raise SetupError("the reason")

    assert environment.guarded(fail) == 2
    assert capsys.readouterr().err == "error: the reason\n"


def test_run_tests_passes_everything_else_on_to_pytest(monkeypatch, tmp_path):
    asked: dict[str, object] = {}

    def prepare(extras, here):
        asked.update(extras=extras, here=here)
        return Environment(tmp_path, Path("python"))

    monkeypatch.setattr(environment, "prepare", prepare)
    monkeypatch.setattr(environment, "run", lambda command: asked.update(command=command) or 5)
    monkeypatch.setattr(sys, "argv", ["run_tests.py", "tests/test_cli.py", "--with", "demo", "-k", "one or two", "-v"])
    assert run_tests.main() == 5
    assert asked == {
        "extras": ["test", "demo"],
        "here": False,
        "command": [Path("python"), "-m", "pytest", "tests/test_cli.py", "-k", "one or two", "-v"],
    }


def test_the_landing_check_leaves_out_no_extra_that_tests_need():
    block = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[project.optional-dependencies]")[1]
    extras = set(re.findall(r"^([\w-]+) = \[", block.split("[tool.")[0], re.MULTILINE))
    assert set(run_tests.EXTRAS) == extras - {"test", "torch", "record", "gpu-cuda12", "gpu-cuda13"}
    assert set(re.findall(r"--with (\w+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))) == set(run_tests.EXTRAS)


@pytest.mark.parametrize(("code", "result"), [("3", 3), ("-signal.SIGTERM", 143)])
def test_a_command_ends_with_its_own_exit_code(code, result):
    kill = f"import os, signal, sys; c = {code}; os.kill(os.getpid(), -c) if c < 0 else sys.exit(c)"
    assert environment.run([sys.executable, "-c", kill]) == result


def test_a_command_may_save_its_work_after_ctrl_c(tmp_path):
    """The terminal sends SIGINT to both: the command is waited for, and only then the script ends, with 130."""
    saved = tmp_path / "saved"
    child = f"""
import os, signal, time
def stop(*_):
    time.sleep(0.5)
    open({str(saved)!r}, "w").close()
    raise SystemExit(130)
signal.signal(signal.SIGINT, stop)
os.killpg(os.getpgid(0), signal.SIGINT)
time.sleep(30)
"""
    parent = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from scripts import environment
sys.exit(environment.guarded(lambda: environment.run([sys.executable, "-c", {child!r}])))
"""
    done = subprocess.run([sys.executable, "-c", parent], start_new_session=True, capture_output=True, text=True)
    assert done.returncode == 130
    assert saved.exists()
    assert "Traceback" not in done.stderr
