"""A search tries settings, gives up early, goes on with what it was started with, and is shared by processes."""

from __future__ import annotations

import csv
import os
import subprocess
import sys

import pytest
from fake_tuning import fake_train, settings_of, trained

from core.errors import UserError
from core.training.improve import improve
from core.training.search import search

optuna = pytest.importorskip("optuna")
pytestmark = pytest.mark.usefixtures("nothing_trained")


def journal(folder):
    """The states of the study's trials, read apart from the code under test."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    (study,) = storage.get_all_studies()
    return [trial.state.name for trial in storage.get_all_trials(study._study_id)]


def test_a_search_finds_good_settings_and_says_so(tmp_path, capsys):
    best = search(settings_of("--search", "25", "--name", "mine"), fake_train, tmp_path, {"notice": "MADE-UP"})
    assert 2e-3 < best.lr < 5e-2
    assert (best.name, best.search) == ("mine", 0)
    states = journal(tmp_path)
    assert len(states) == len(trained) == 25
    assert {"COMPLETE", "PRUNED"} <= set(states) <= {"COMPLETE", "PRUNED", "FAIL"}
    assert trained[3].name == "mine-search/0003"
    with (tmp_path / "search.csv").open() as file:
        assert len(list(csv.DictReader(file))) == states.count("COMPLETE")
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")
    assert "given up: worse than the median" in capsys.readouterr().out


@pytest.mark.parametrize("auto", [False, True])
def test_what_follows_a_search(auto, tmp_path, capsys):
    tested = []
    flags = ["--search", "4", "--name", "mine", *(["--auto"] if auto else [])]
    improve(settings_of(*flags), fake_train, tested.append, tmp_path, {}, space={"lr": (1e-3, 1e-2)})
    (best,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("best: ")]
    searched, after = trained[:4], trained[4:]
    highest = max(searched, key=lambda settings: settings.lr)  # fake_train likes 1e-2 best
    assert best == f"best: --lr {highest.lr:.4g}"
    assert (tmp_path / "mine-search" / "search.csv").exists()
    assert [(settings.name, settings.lr) for settings in after] == ([("mine", highest.lr)] if auto else [])
    assert tested == ([str(tmp_path / "mine")] if auto else [])


def test_a_search_among_choices(tmp_path, monkeypatch):
    monkeypatch.setattr("os.getpid", lambda: 1)  # it is part of the seed: one process in a hundred would draw no 64
    space = {"lr": (1e-4, 1e-2), "hidden": [(64,), (256, 128)], "batch_size": [32, 64], "optimizer": ["adam", "sgd"]}
    best = search(settings_of("--search", "8"), fake_train, tmp_path, space=space)
    assert best.hidden in space["hidden"]
    assert {settings.batch_size for settings in trained} == {32, 64}
    with (tmp_path / "search.csv").open() as file:
        assert {row["hidden"] for row in csv.DictReader(file)} == {"64", "256x128"}
    for picture in ("search", "parallel", "time"):
        assert (tmp_path / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_an_interrupted_search_goes_on(tmp_path):
    def interrupted(settings, *, watch=None):
        if len(trained) == 4:
            raise SystemExit(130)
        return fake_train(settings, watch=watch)

    settings = settings_of("--search", "6")
    with pytest.raises(SystemExit):
        search(settings, interrupted, tmp_path)
    search(settings, fake_train, tmp_path)
    states = journal(tmp_path)
    assert states.count("RUNNING") == 1  # the interrupted one
    assert len(states) == 7
    before = len(trained)
    search(settings, fake_train, tmp_path)
    assert len(trained) == before  # all trials were done already


@pytest.mark.parametrize(
    ("flags", "files", "told"),
    [
        (["--monitor", "loss"], "aa", "--monitor was accuracy and is loss"),
        (["--epochs", "3", "--hidden", "9"], "aa", r"--epochs was 20 and is 3; --hidden was \[256, 128\] and is \[9\]"),
        ([], "bb", "the data's files changed"),
    ],
)
def test_a_search_goes_on_only_with_what_it_was_started_with(tmp_path, flags, files, told):
    """Else trials of another network or of other data would count, and the best one might be the worst."""
    space = {"lr": (1e-3, 1e-2)}
    search(settings_of("--search", "2"), fake_train, tmp_path, {"files": "aa"}, space)
    with pytest.raises(UserError, match=f"cannot resume {tmp_path}: {told}. Resume with what the run"):
        search(settings_of("--search", "3", *flags), fake_train, tmp_path, {"files": files}, space)
    assert len(trained) == len(journal(tmp_path)) == 2
    search(settings_of("--search", "3", "--lr", "0.5", "--threads", "1"), fake_train, tmp_path, {"files": "aa"}, space)
    assert len(trained) == 3


def test_a_study_that_does_not_say_what_it_was_made_with_is_left_alone(tmp_path):
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    optuna.create_study(storage=storage, study_name="default").ask()
    with pytest.raises(UserError, match="does not say with which settings"):
        search(settings_of("--search", "3"), fake_train, tmp_path)


@pytest.mark.parametrize("damage", [b"\xff\x00\xfe" * 99, b'{"a": 1}\n', None], ids=["noise", "json", "torn"])
def test_a_damaged_journal_is_one_line(tmp_path, damage):
    search(settings_of("--search", "1"), fake_train, tmp_path, space={"lr": (1e-3, 1e-2)})
    path = tmp_path / "study.journal"
    path.write_bytes(path.read_bytes()[:300] if damage is None else damage)
    with pytest.raises(UserError, match=r"study\.journal is damaged: put a copy in its place"):
        search(settings_of("--search", "2"), fake_train, tmp_path)


def test_trials_that_overflow_fail_and_all_of_them_is_one_line(tmp_path, capsys):
    with pytest.raises(UserError, match="none of the 3 trials"):
        search(settings_of("--search", "3"), fake_train, tmp_path, space={"lr": (0.06, 0.1)})
    assert journal(tmp_path) == ["FAIL"] * 3
    assert "failed: the loss is nan" in capsys.readouterr().out


TWO = """
import sys, time
sys.path[:0] = {path}
from core.training.search import search
from fake_tuning import fake_train, settings_of, trained
from pathlib import Path
def slow(settings, *, watch=None):
    time.sleep(0.05)
    return fake_train(settings, watch=watch)
search(settings_of("--search", "12"), slow, Path(sys.argv[1]))
print(len(trained))
"""


def test_two_processes_share_a_study(tmp_path):
    code = TWO.format(path=[os.path.dirname(__file__), *sys.path])
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "ab"]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    counts = [int(output.split()[-1]) for output, _ in outputs]
    assert sum(counts) == len(journal(tmp_path)) in (12, 13)  # the last ones may start at the same moment


def test_without_optuna_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r'--search needs Optuna: pip install -e "\.\[search\]"'):
        search(settings_of("--search", "3"), fake_train, tmp_path)
    assert list(tmp_path.iterdir()) == []
