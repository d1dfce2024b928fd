"""Sweeps and searches: every variant is trained once, tables and plots are written, processes share a study."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest
import toy_run

from core.cli import as_flags, parse
from core.errors import UserError
from core.training.guard import NotFiniteError
from core.training.improve import improve
from core.training.outputs import Outputs
from core.training.search import search
from core.training.sweep import combinations, sweep
from core.training.tuning import TuningSettings, as_table


@dataclass
class FakeSettings(TuningSettings):
    """Settings of a training that is a formula."""

    hidden: tuple[int, ...] = (256, 128)
    """Sizes of the hidden layers."""
    rotate: float = 0
    """A fraction whose value happens to be whole, as in some presets."""
    preset: str = "default"
    """The values that all other flags start from."""


def fake_train(settings, *, watch=None):
    """A training whose accuracy is best at lr 1e-2, told epoch by epoch."""
    from math import log10

    trained.append(settings)
    if settings.lr > 0.05:
        raise NotFiniteError("the loss is nan")
    final = 1 - 0.1 * abs(log10(settings.lr) + 2)
    for epoch in range(1, 6):
        row = {"epoch": epoch, "validation_accuracy": final * epoch / 5, "validation_loss": 1 - final, "seconds": 0.1}
        if watch is not None:
            watch(epoch, row)
    return row


trained: list = []


@pytest.fixture(autouse=True)
def nothing_trained():
    trained.clear()


def settings_of(*flags):
    return parse(FakeSettings, flags)


def test_combinations_have_the_kinds_of_the_settings():
    flags = ["lr=1e-4,3e-4", "--epochs=2", "hidden=64,256x128", "--nesterov=true", "optimizer=sgd", "rotate=7.5"]
    found = combinations(FakeSettings(sweep=tuple(flags)))
    assert found[0] == {
        "lr": 1e-4, "epochs": 2, "hidden": (64,), "nesterov": True, "optimizer": "sgd", "rotate": 7.5,
    }  # fmt: skip
    assert [(change["lr"], change["hidden"]) for change in found] == [
        (1e-4, (64,)),
        (1e-4, (256, 128)),
        (3e-4, (64,)),
        (3e-4, (256, 128)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr", "--sweep expected setting=value,value"),
        ("lr=", "--sweep expected setting=value,value"),
        ("colour=red", "--sweep colour=red: there is no setting 'colour'"),
        ("lr=fast", "--sweep lr: 'fast' is not a float"),
        ("epochs=1.5", "--sweep epochs: '1.5' is not a int"),
        ("nesterov=2", "--sweep nesterov: '2' is not a bool"),
        ("hidden=3xx4", "--sweep hidden: '3xx4' is not a tuple"),
        ("lr=1e-3,-1", "--lr must be above 0, got -1"),
        ("schedule=cosin,one_cycle", "--schedule must be one of constant, step, linear, "),
        ("optimizer=adm", "--optimizer must be one of adam, adamw, amsgrad, sgd, got 'adm'"),
        ("name=a,b", "--sweep cannot compare values of --name"),
        ("preset=default,best", "--sweep cannot compare values of --preset"),
        ("lr-find=true", "--sweep cannot compare values of --lr-find"),
        ("search=1,2", "--sweep cannot compare values of --search"),
        ("resume=true,false", "--sweep cannot compare values of --resume"),
        ("lr=1e-4 lr=1e-3", "--sweep has two lists of values for lr"),
        ("lr=1e-3,0.001", "--sweep lr: 0.001 is there twice"),
        ("lr=1e-3,0.0010000001", "--sweep lr: 0.001 is there twice"),  # to four digits, as in the folder's name
    ],
)
def test_a_wrong_sweep_is_one_line_before_anything_is_trained(tmp_path, text, message):
    with pytest.raises(UserError) as caught:
        sweep(settings_of("--sweep", *text.split()), fake_train, tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert trained == []


def test_a_sweep_trains_each_variant_and_writes_a_table(tmp_path, capsys):
    rows = sweep(settings_of("--name", "a", "--sweep", "lr=1e-4,1e-3,1e-2"), fake_train, tmp_path)
    assert [settings.name for settings in trained] == ["a-sweep/lr-0.0001", "a-sweep/lr-0.001", "a-sweep/lr-0.01"]
    assert [settings.sweep for settings in trained] == [(), (), ()]
    assert [row["validation_accuracy"] for row in rows] == pytest.approx([0.8, 0.9, 1.0])
    with (tmp_path / "sweep.csv").open() as file:
        assert [(row["lr"], row["epoch"]) for row in csv.DictReader(file)] == [
            ("0.0001", "5"),
            ("0.001", "5"),
            ("0.01", "5"),
        ]
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    lines = capsys.readouterr().out.rstrip().splitlines()[-4:]
    assert lines[0].split() == ["lr", "epoch", "validation_accuracy", "validation_loss", "seconds"]
    assert [line.split()[0] for line in lines[1:]] == ["0.01", "0.001", "0.0001"]


def test_a_sweep_goes_on_after_a_training_that_overflows(tmp_path, capsys):
    rows = sweep(settings_of("--sweep", "lr=1e-3,0.06,1e-2"), fake_train, tmp_path)
    assert [row["validation_accuracy"] for row in rows] == pytest.approx([0.9, 1.0])
    assert "failed: the loss is nan" in capsys.readouterr().out
    assert [line.split(",")[0] for line in (tmp_path / "sweep.csv").read_text().splitlines()] == ["lr", "0.001", "0.01"]
    assert (tmp_path / "sweep.png").exists()
    with pytest.raises(UserError, match="none of the 2 trainings succeeded"):
        sweep(settings_of("--sweep", "lr=0.06,0.07"), fake_train, tmp_path)


def test_a_sweep_of_several_settings_is_drawn_as_a_list(tmp_path):
    sweep(settings_of("--sweep", "lr=1e-3,1e-2", "hidden=8,8x8"), fake_train, tmp_path, notice="MADE-UP")
    assert [settings.name for settings in trained][1] == "default-sweep/lr-0.001_hidden-8x8"
    assert (tmp_path / "sweep.png").exists()


def test_the_table_puts_the_lowest_loss_first():
    rows = [{"epoch": 1, "validation_loss": loss} for loss in (3.0, 1.0, 2.0)]
    lines = as_table([{"lr": n} for n in (1, 2, 3)], rows, "validation_loss", highest_first=False).splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["1", "2", "3"]


def test_settings_as_flags_are_understood_again():
    values = {"lr": 3e-4, "hidden": (64, 32), "weight_decay": 0.0, "schedule": "cosine", "batch_size": 64}
    text = as_flags(values)
    assert text == "--lr 0.0003 --hidden 64 32 --weight-decay 0.0 --schedule cosine --batch-size 64"
    settings = settings_of(*text.split())
    assert {name: getattr(settings, name) for name in values} == values


def test_a_sweep_is_not_followed_by_a_test(tmp_path):
    tested = []
    improve(settings_of("--sweep", "lr=1e-3,1e-2", "--name", "a"), fake_train, tested.append, tmp_path, {})
    assert (tmp_path / "a-sweep" / "sweep.csv").exists()
    assert (len(trained), tested) == (2, [])


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        ("--lr-find --search 3 --auto", "--lr-find and --auto"),
        ("--lr-find --sweep lr=1e-4", "--lr-find and --sweep"),
        ("--sweep lr=1e-4 --search 3", "--sweep and --search"),
    ],
)
def test_two_ways_at_once_are_a_mistake(flags, chosen):
    with pytest.raises(UserError, match=f"^{chosen} are different ways"):
        settings_of(*flags.split())


def test_a_search_that_is_switched_off_leaves_room_for_a_sweep():
    @dataclass
    class Searching(TuningSettings):
        search: int = 20

    assert Searching(sweep=("lr=1e-4",), search=0).sweep == ("lr=1e-4",)
    with pytest.raises(UserError, match="--sweep and --search"):
        Searching(sweep=("lr=1e-4",), search=3)


def test_auto_needs_a_search():
    with pytest.raises(UserError, match="--auto needs a number of trials"):
        settings_of("--auto")


# -- the search -------------------------------------------------------------------------------------------------

optuna = pytest.importorskip("optuna")


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
import test_tuning
from pathlib import Path
def slow(settings, *, watch=None):
    time.sleep(0.05)
    return test_tuning.fake_train(settings, watch=watch)
test_tuning.search(test_tuning.settings_of("--search", "12"), slow, Path(sys.argv[1]))
print(len(test_tuning.trained))
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


# -- with a real training ---------------------------------------------------------------------------------------


@dataclass
class ToyTuning(TuningSettings, toy_run.ToySettings):
    """The toy training with the flags for tuning."""


def toy_train(root):
    def train(settings, *, watch=None):
        _, run = toy_run.train(dataclasses.replace(settings, folder=str(root / settings.run_name)), watch=watch)
        return run.best

    return train


def test_a_sweep_and_a_search_of_real_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Outputs, "draw", lambda self, state: None)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    settings = parse(ToyTuning, ["--epochs", "2", "--sweep", "lr=1e-3,1e-2"])
    rows = sweep(settings, toy_train(tmp_path), tmp_path / "default-sweep")
    config = json.loads((tmp_path / "default-sweep" / "lr-0.001" / "config.json").read_text())
    assert (config["settings"]["lr"], config["settings"]["sweep"]) == (1e-3, [])
    again = sweep(dataclasses.replace(settings, resume=True), toy_train(tmp_path), tmp_path / "default-sweep")
    assert again == rows
    assert capsys.readouterr().out.count("is finished") == 2
    found = search(
        parse(ToyTuning, ["--epochs", "2", "--search", "4"]), toy_train(tmp_path), tmp_path / "default-search"
    )
    assert (tmp_path / "default-search" / "0003" / "best.safetensors").exists()
    assert found.lr != settings.lr
