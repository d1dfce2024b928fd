"""What every setup_data.py shares."""

from __future__ import annotations

import numpy as np
import pytest

from core.data.setup import SetupSettings, set_up

STAND_IN = "SYNTHETIC data in place of MNIST"


@pytest.mark.parametrize(("origin", "name"), [("publisher", "MNIST"), ("synthetic", STAND_IN)])
def test_a_stand_in_is_never_called_by_the_name_of_the_data_set(origin, name, tmp_path, capsys):
    recipe = {"origin": origin}
    info = {"dataset": "mnist", "origin": origin, "complete": True, "notice": "", "recipe": recipe, "command": "x"}
    for done in ("is prepared: wrote", "is already prepared in"):
        set_up("MNIST", tmp_path / "mnist", SetupSettings(), recipe, lambda: ({"train_labels": np.arange(3)}, info))
        assert capsys.readouterr().out.startswith(f"{name} {done}")
