"""Sweeps, and the flags that they share with searches: every variant is trained once, tables and plots are written."""

from __future__ import annotations

import csv
import dataclasses
import json
from dataclasses import dataclass

import pytest
import toy_run
from fake_tuning import FakeSettings, fake_train, settings_of, trained

from core.cli import as_flags, parse
from core.errors import UserError
from core.training.improve import improve
from core.training.search import search
from core.training.sweep import combinations, sweep
from core.training.tuning import TuningSettings, as_table

pytestmark = pytest.mark.usefixtures("nothing_trained")


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


# -- with a real training ---------------------------------------------------------------------------------------


@dataclass
class ToyTuning(TuningSettings, toy_run.ToySettings):
    """The toy training with the flags for tuning."""


def toy_train(root):
    def train(settings, *, watch=None):
        _, run = toy_run.train(dataclasses.replace(settings, folder=str(root / settings.run_name)), watch=watch)
        return run.best

    return train


@pytest.mark.usefixtures("quick")
def test_a_sweep_of_real_runs(tmp_path, capsys):
    settings = parse(ToyTuning, ["--epochs", "2", "--sweep", "lr=1e-3,1e-2"])
    rows = sweep(settings, toy_train(tmp_path), tmp_path / "default-sweep")
    config = json.loads((tmp_path / "default-sweep" / "lr-0.001" / "config.json").read_text())
    assert (config["settings"]["lr"], config["settings"]["sweep"]) == (1e-3, [])
    again = sweep(dataclasses.replace(settings, resume=True), toy_train(tmp_path), tmp_path / "default-sweep")
    assert again == rows
    assert capsys.readouterr().out.count("is finished") == 2


@pytest.mark.usefixtures("quick")
def test_a_search_of_real_runs(tmp_path):
    pytest.importorskip("optuna")
    settings = parse(ToyTuning, ["--epochs", "2", "--search", "4"])
    found = search(settings, toy_train(tmp_path), tmp_path / "default-search")
    assert (tmp_path / "default-search" / "0003" / "best.safetensors").exists()
    assert found.lr != settings.lr
