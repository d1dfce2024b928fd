"""The report as a whole: its files, its figures, and the notice in every one of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from core.demo import cards
from core.errors import UserError
from core.report import report
from core.report.report import About, as_table, measure, write_report

NOTICE = "SYNTHETIC data: rendered digits, not MNIST; no figure here is a real result"
CLASSES = ["T-shirt/top", "Bag|box", "Ankle boot", "hat"]
LABELS = np.arange(60) % 4
PROBABILITIES = np.eye(4)[LABELS] * 0.8 + 0.05
PROBABILITIES[:6] = np.roll(PROBABILITIES[:6], 1, axis=1)
IMAGES = np.random.default_rng(0).integers(0, 256, (60, 28, 28), dtype=np.uint8)


@pytest.fixture
def about(tmp_path) -> About:
    weights = tmp_path / "best.safetensors"
    weights.write_bytes(b"weights")
    return About(
        model="multilayer perceptron, 784-107-26-10",
        dataset="fashion_mnist",
        origin="mirror",
        licence="MIT",
        citation="Xiao, Rasul and Vollgraf 2017",
        command="python mlp_mnist/test_model.py",
        limits=("Photographs differ from the catalogue pictures it knows.",),
        weights=weights,
    )


def test_all_files_are_there_and_agree(tmp_path, about, capsys):
    folder = tmp_path / "run" / "report"
    returned = write_report(folder, LABELS, PROBABILITIES, IMAGES, CLASSES, "", about)
    figures = json.loads((folder / "report.json").read_text())
    assert figures == returned
    assert figures["accuracy"]["value"] == 0.9
    assert figures["accuracy"]["correct"] == 54
    assert figures["images"] == 60
    assert figures["top_k"] == {"3": pytest.approx(58 / 60)}
    assert figures["weights_sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert np.trace(figures["confusion"]) == 54
    assert {path.name for path in folder.glob("*.png")} == {"confusion_matrix.png", "reliability.png", "mistakes.png"}
    assert [(folder / name).is_file() for name in figures["examples"]] == [True] * 4
    assert figures["examples"][0] == "examples/00-t-shirt-top.png"
    card = (folder / "model_card.md").read_text()
    for piece in ("90.00%", "MIT", "Xiao", "Photographs", "Bag/box", figures["weights_sha256"], figures["date"][:10]):
        assert piece in card
    printed = capsys.readouterr().out
    assert "90.00%" in printed
    assert "T-shirt/top" in printed
    assert "***" not in printed


def test_the_notice_is_in_the_terminal_the_json_and_the_card(tmp_path, about, capsys):
    figures = write_report(tmp_path, LABELS, PROBABILITIES, None, CLASSES, NOTICE, about)
    assert f"*** {NOTICE} ***" in capsys.readouterr().out
    assert json.loads((tmp_path / "report.json").read_text())["notice"] == NOTICE
    assert f"**{NOTICE}**" in (tmp_path / "model_card.md").read_text()
    assert figures["examples"] == []
    assert not (tmp_path / "mistakes.png").exists()


def test_classes_that_the_data_do_not_have_count_for_nothing(tmp_path, about, capsys):
    labels = np.array([1, 1, 2, 2])
    figures = write_report(tmp_path, labels, np.eye(len(CLASSES))[labels], None, CLASSES, "", about)
    assert figures["macro_f1"] == 1
    assert f'It finds "{CLASSES[1]}" least often: 100.00% of 2.' in (tmp_path / "model_card.md").read_text()
    labels = np.arange(60)
    figures |= measure(labels, np.eye(100)[labels], [f"{i:02d}" for i in range(100)])
    assert " 0.00%" not in as_table(figures).partition("10 worst of 100")[2]


def test_a_hundred_classes_are_not_all_listed_in_the_terminal():
    labels = np.arange(200) % 100
    figures = measure(labels, np.eye(100)[labels], [f"{i:02d}" for i in range(100)])
    figures |= {"notice": "", "model": "CNN", "dataset": "pairs", "origin": "mirror", "samples": "pairs"}
    table = as_table(figures)
    assert "10 worst of 100" in table
    assert len(table.splitlines()) < 25


def test_the_table_does_not_name_a_stand_in_after_the_data_set(tmp_path, about, capsys):
    synthetic = replace(about, origin="synthetic")
    write_report(tmp_path, LABELS, PROBABILITIES, IMAGES, CLASSES, NOTICE, synthetic)
    assert "on 60 test images of synthetic data, not fashion_mnist\n" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, about):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the report"):
        write_report(tmp_path / "file" / "report", LABELS, PROBABILITIES, IMAGES, CLASSES, "", about)


def test_a_report_that_is_broken_off_leaves_no_old_figures_beside_new_pictures(tmp_path, about, monkeypatch):
    write_report(tmp_path, LABELS, PROBABILITIES, IMAGES, CLASSES, "", about)
    assert (tmp_path / "report.json").exists()

    def broken_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "_write_examples", broken_off)
    with pytest.raises(KeyboardInterrupt):
        write_report(tmp_path, LABELS, PROBABILITIES, IMAGES, CLASSES, "", about)
    assert not (tmp_path / "report.json").exists()


def test_arrays_that_do_not_fit_write_nothing(tmp_path, about):
    with pytest.raises(ValueError, match="class names"):
        write_report(tmp_path / "r", LABELS, PROBABILITIES, IMAGES[:-1], CLASSES, "", about)
    with pytest.raises(ValueError, match="class names"):
        write_report(tmp_path / "r", LABELS, PROBABILITIES, IMAGES, CLASSES[:-1], "", about)
    assert not (tmp_path / "r").exists()


def test_the_report_calls_its_samples_by_their_name(tmp_path, about, capsys):
    songs = replace(about, samples="songs")
    figures = write_report(tmp_path, LABELS, PROBABILITIES, None, CLASSES, "", songs)
    assert f"{len(LABELS)} test songs of" in capsys.readouterr().out
    assert f"{len(LABELS)} test songs right" in (tmp_path / "model_card.md").read_text()
    assert "Test songs" in cards.model_facts(figures, {})
