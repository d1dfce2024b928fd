"""The environment that scripts make and install into, and the commands that they run there."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import cli
from scripts import environment
from scripts.environment import ROOT, Environment, SetupError

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


@pytest.mark.parametrize(("path", "where"), [("results/a.json", "results/a.json: "), (None, "")])
def test_a_disk_that_refuses_is_told_in_one_line(path, where, capsys):
    assert environment.DISK_REFUSES == cli.DISK_REFUSES

    def refused() -> int:
        raise OSError(errno.ENOSPC, "No space left on device", path)

    assert environment.guarded(refused) == 2
    assert capsys.readouterr().err == f"error: {where}No space left on device\n"


def test_other_errors_of_the_system_keep_their_traceback():
    def mistaken() -> int:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "a")

    with pytest.raises(FileNotFoundError):
        environment.guarded(mistaken)


def test_what_a_command_inside_has_said_is_enough(capfd):
    command = [sys.executable, "-c", "import sys; print('error: the reason', file=sys.stderr); sys.exit(2)"]
    assert environment.guarded(lambda: subprocess.run(command, check=True).returncode) == 2
    assert capfd.readouterr().err == "error: the reason\n"


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
