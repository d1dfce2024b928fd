"""What every setup_data.py shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.data.fetch import MIRROR_VARIABLE
from core.data.setup import SetupSettings, command_of, origin_of, print_counts, set_up

STAND_IN = "SYNTHETIC data in place of MNIST"


@pytest.mark.parametrize(("origin", "name"), [("publisher", "MNIST"), ("synthetic", STAND_IN)])
def test_a_stand_in_is_never_called_by_the_name_of_the_data_set(origin, name, tmp_path, capsys):
    recipe = {"origin": origin}
    info = {"dataset": "mnist", "origin": origin, "complete": True, "notice": "", "recipe": recipe, "command": "x"}
    for done in ("is prepared: wrote", "is already prepared in"):
        set_up("MNIST", tmp_path / "mnist", SetupSettings(), recipe, lambda: ({"train_labels": np.arange(3)}, info))
        assert capsys.readouterr().out.startswith(f"{name} {done}")


@pytest.mark.parametrize(
    ("settings", "own_files", "origin"),
    [
        (SetupSettings(), None, "publisher"),
        (SetupSettings(mirror="http://127.0.0.1:9"), None, "mirror"),
        (SetupSettings(mirror="http://127.0.0.1:9"), ("a.csv", "b.csv"), "csv"),
        (SetupSettings(synthetic=True), None, "synthetic"),
    ],
)
def test_the_origin_in_a_word(settings, own_files, origin, monkeypatch):
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    assert origin_of(settings, own_files) == origin


def test_the_command_leaves_out_where_things_lie():
    settings = SetupSettings(
        mirror="x", archive=Path("y"), data_dir=Path("z"), offline=True, force=True, allow_unverified=True, subset=9
    )
    assert command_of(Path("mlp_mnist"), settings) == "python mlp_mnist/setup_data.py --subset 9 --allow-unverified"


def test_counts_of_each_class(capsys):
    print_counts(["jazz", "rock"], {"training": np.repeat([0, 1], [2000, 1]), "test": np.array([1, 1])}, "genre")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["genre", "training", "test"], ["jazz", "2,000", "0"], ["rock", "1", "2"]]
