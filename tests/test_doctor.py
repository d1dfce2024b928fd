"""What the doctor sees, and what it says of it."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from scripts import doctor, machine
from scripts.environment import ROOT


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
    monkeypatch.setattr(machine, "allowed_cores", lambda: 4)
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
