"""The test script of rnn_doodles, run as a user runs it, on a small run and a few drawings."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from tiny_doodles import NOTICE, make_archive, make_run, some_drawings

from core.errors import UserError
from rnn_doodles import test_model
from rnn_doodles.pictures import SIDE, pictures


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The test drawings alone: whoever opens the training drawings fails."""
    return make_archive(tmp_path_factory.mktemp("archive") / "quickdraw", parts=("test",))


def test_the_report_is_whole(tmp_path, archive):
    """As a user runs it, from another folder."""
    run = make_run(tmp_path / "run")
    command = [sys.executable, test_model.__file__, "--run", str(run), "--data", str(archive)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"*** {NOTICE} ***" in done.stdout
    report = json.loads((run / "report" / "report.json").read_text())
    assert (report["notice"], report["dataset"], report["images"]) == (NOTICE, "Quick, Draw!", 200)
    assert report["model"] == "2-layer bidirectional GRU, 6 units"
    plots = ("confusion_matrix.png", "reliability.png", "mistakes.png", "seen.png")
    for name in (*plots, "model_card.md", *report["examples"]):
        assert (run / "report" / name).is_file(), name
    rows = list(csv.DictReader((run / "report" / "seen.csv").read_text().splitlines()))
    assert [row["seen"] for row in rows] == [f"{tenth / 10:.1f}" for tenth in range(1, 11)]
    assert float(rows[-1]["accuracy"]) == pytest.approx(report["accuracy"]["value"], abs=1e-4)
    assert float(rows[-1]["top_3"]) == pytest.approx(report["top_k"]["3"], abs=1e-4)


def test_data_with_other_classes_is_refused(tmp_path):
    other = make_archive(tmp_path / "other", parts=("test",), classes=list("0123456789"))
    with pytest.raises(UserError, match="other classes"):
        test_model.test(test_model.Settings(run=str(make_run(tmp_path / "run")), data=str(other)))


def test_drawings_that_may_have_been_learned_are_refused(tmp_path, archive):
    learned = {"dataset": "quickdraw", "arrays": {"train_points": "of another split"}}
    with pytest.raises(UserError, match="may have learned what is tested now"):
        test_model.test(test_model.Settings(run=str(make_run(tmp_path / "run", data=learned)), data=str(archive)))


def test_pictures_show_the_drawing_in_the_middle():
    drawings, _ = some_drawings(200)
    shown = pictures(drawings[:20])
    assert (shown.shape, shown.dtype) == ((20, SIDE, SIDE), np.uint8)
    for picture in shown:
        rows, columns = np.flatnonzero(picture.any(axis=1)), np.flatnonzero(picture.any(axis=0))
        assert picture.max() > 200
        for places in (rows, columns):
            assert abs(places[0] + places[-1] - (SIDE - 1)) <= 2
        assert max(np.ptp(rows), np.ptp(columns)) > SIDE - 10
