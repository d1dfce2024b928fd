"""setup_data.py of emnist on tiny archives in the publishers' formats: what it makes of them, and what it refuses."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mistakes import complaint_of
from tiny_emnist import MAPPINGS, SYMBOLS, idx, make_bhmsds, make_emnist, make_mirror, png, symbol_files

from core.data.archives import Member
from core.data.prepared import load_prepared
from core.errors import UserError
from emnist import characters, setup_data, symbols
from emnist.classes import MERGED, choose_symbols, join
from emnist.setup_data import Settings
from emnist.symbols import git_tree

DRAW_CONTACT_SHEET = setup_data.draw_contact_sheet


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """From a mirror with tiny archives, into a temporary folder."""
    monkeypatch.delenv("BARENETS_MIRROR", raising=False)
    monkeypatch.delenv("BARENETS_DATA", raising=False)
    monkeypatch.setattr(setup_data, "draw_contact_sheet", lambda *_: None)  # it takes a second
    make_mirror(tmp_path / "mirror")
    return Settings(
        mirror=str(tmp_path / "mirror"),
        archive=tmp_path / "archive" / "emnist",
        data_dir=tmp_path / "downloads",
        allow_unverified=True,
    )


def prepare(settings):
    setup_data.run(settings)
    return load_prepared(settings.archive, verify=True)


def test_characters_are_upright_and_symbols_follow_them(settings):
    prepared = prepare(settings)
    info, arrays = prepared.info, prepared.arrays
    assert info["classes"] == [*"0123456789ABab", *SYMBOLS]
    assert info["characters"] == {"train": 84, "test": 28}
    assert info["counts"] == {"train": 84 + 4 * 18, "test": 28 + 4 * 2}
    images, labels = arrays["train_images"], arrays["train_labels"]
    assert (images.dtype, labels.dtype) == (np.uint8, np.uint8)
    assert (images[:84, 0] == 200).all(), "the bar is along the top"
    np.testing.assert_array_equal(images[:84, 5, 3], labels[:84])
    np.testing.assert_array_equal(np.bincount(labels[84:], minlength=18)[14:], [18] * 4)


def test_symbols_are_white_on_black_and_in_the_middle(settings):
    images = prepare(settings).arrays["train_images"][84:]  # (72, 28, 28)
    assert (images.max(axis=(1, 2)) > 200).all()
    rows, columns = (np.flatnonzero((images[0] > 40).any(axis=axis)) for axis in (1, 0))
    assert (rows[0], rows[-1]) == (12, 15), "4 pixels high, as published"
    assert columns.mean() == pytest.approx(13.5, abs=0.5)


def test_symbols_are_parted_once_and_for_all_and_no_picture_is_in_both_parts(settings):
    first = prepare(settings).arrays
    second = prepare(replace(settings, force=True)).arrays
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
    files = symbol_files()
    doubled = {name.replace("-0000", "-0099"): data for name, data in files.items() if "-0000" in name}
    make_bhmsds(Path(settings.mirror) / "bhmsds" / "bhmsds-master.zip", files | doubled)
    third = prepare(replace(settings, force=True)).arrays
    np.testing.assert_array_equal(third["test_images"], first["test_images"])


def test_letters_start_at_one_and_a_symbol_joins_the_class_of_its_capital(settings):
    make_mirror(Path(settings.mirror), "letters")
    prepared = prepare(replace(settings, split="letters", symbols="x,minus"))
    assert prepared.info["classes"] == ["A", "B", "C", "x", "minus"]
    assert prepared.arrays["train_labels"][:4].tolist() == [0, 1, 2, 0]
    assert join("x", MERGED) == "X"
    assert join("x", ["X", "x"]) == "x"
    assert join("3", MERGED) == "3"


def test_no_symbols_at_all(settings):
    prepared = prepare(replace(settings, symbols=""))
    assert len(prepared.info["classes"]) == 14
    assert len(prepared.arrays["test_labels"]) == 28


def test_counts_and_a_contact_sheet_are_shown(settings, capsys, monkeypatch):
    monkeypatch.setattr(setup_data, "draw_contact_sheet", DRAW_CONTACT_SHEET)
    prepare(settings)
    out = capsys.readouterr().out
    assert "156 training and 36 test images of 18 classes" in out
    assert "slash     18 + 2" in out
    sheet = settings.archive.with_name("emnist_classes.png")
    assert sheet.read_bytes().startswith(b"\x89PNG")
    prepare(settings)
    assert "nothing to do" in capsys.readouterr().out


def test_a_partial_copy_needs_the_flag_and_says_so(settings):
    with pytest.raises(UserError, match="--allow-unverified"):
        prepare(replace(settings, allow_unverified=False))
    assert not settings.archive.exists()
    info = prepare(settings).info
    assert not info["complete"]
    for piece in ("UNVERIFIED", "PARTIAL copy of EMNIST balanced (84 + 28 of 112,800", "BHMSDS (120 of 27,000"):
        assert piece in info["notice"]
    assert info["origin"] == "mirror"
    assert "--allow-unverified" in info["command"]
    assert str(settings.mirror) not in json.dumps(info)


def test_symbols_that_are_not_the_pinned_ones_need_the_flag(settings, monkeypatch):
    path = make_bhmsds(Path(settings.mirror) / "bhmsds" / "bhmsds-master.zip")
    strict = replace(settings, allow_unverified=False)
    with pytest.raises(UserError, match="not those of BHMSDS"):
        symbols.get_symbols(SYMBOLS, strict, Path("p"))
    with zipfile.ZipFile(path) as archive:
        members = [Member(name, archive.read(name), False) for name in archive.namelist() if "symbols/" in name]
    monkeypatch.setattr(symbols, "TREE", git_tree(members))
    assert symbols.get_symbols(SYMBOLS, strict, Path("p")).notice == ""


def test_the_checksum_of_a_folder_is_gits(tmp_path):
    for name, data, mode in (("b-1.png", b"two", 0o755), ("a-2.png", b"one", 0o644)):
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(mode)
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    expected = subprocess.run([*git, "write-tree"], check=True, capture_output=True, text=True).stdout.strip()
    assert git_tree([Member("x/b-1.png", b"two", True), Member("x/a-2.png", b"one", False)]) == expected


def test_the_symbols_may_come_as_tar_gz(settings):
    from_zip = prepare(settings).arrays
    (Path(settings.mirror) / "bhmsds" / "bhmsds-master.zip").unlink()
    with tarfile.open(Path(settings.mirror) / "bhmsds" / "bhmsds-master.tar.gz", "w:gz") as archive:
        for name, data in symbol_files().items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    from_tar = prepare(replace(settings, force=True)).arrays
    for name, array in from_zip.items():
        np.testing.assert_array_equal(array, from_tar[name])


def test_a_subset_keeps_every_symbol(settings):
    prepared = prepare(replace(settings, subset=28))
    assert prepared.info["characters"] == {"train": 28, "test": 28}
    assert set(prepared.arrays["train_labels"]) == set(range(18))
    assert "SUBSET: the first 28 of 84 training and 28 of 28 test characters" in prepared.info["notice"]


def test_synthetic_needs_no_source_and_is_labelled(tmp_path, capsys):
    info = prepare(Settings(synthetic=True, archive=tmp_path / "emnist", data_dir=tmp_path / "d")).info
    assert capsys.readouterr().out.startswith("SYNTHETIC data in place of EMNIST with symbols is prepared")
    assert info["classes"] == [*MERGED, *SYMBOLS]
    assert info["notice"].startswith("SYNTHETIC")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mapping": b"0 48\n2 49"}, "not those of EMNIST"),
        ({"mapping": b"zero"}, "not a mapping"),
        ({"mapping": b"0 99999999999"}, "not a mapping"),
        ({"mapping": b"0 10\n1 48"}, "not those of EMNIST"),
        ({"mapping": b""}, "not those of EMNIST"),
        ({"train_labels_idx1": idx(np.full(84, 14, np.uint8))}, "label 14, but there are 14 classes"),
        ({"train_labels_idx1": idx(np.zeros(83, np.uint8))}, "83 labels for 84 images"),
        ({"test_images_idx3": idx(np.zeros((28, 20, 20), np.uint8))}, "not 28 x 28"),
        ({"test_images_idx3": idx(np.zeros((28, 28, 28), np.uint8))[:60]}, "truncated"),
        ({"test_images_idx3": b"<html>"}, "not an IDX file"),
        ({"test_images_idx3": idx(np.zeros((28, 28, 28), np.uint8)) + b"\0" * 3000}, ""),
    ],
)
def test_members_that_are_not_sound_are_one_line(settings, changes, message):
    make_emnist(Path(settings.mirror) / "emnist" / "gzip.zip", **changes)
    if not message:  # zeros after a gzip file are padding
        prepare(settings)
        return
    with pytest.raises(UserError, match=message):
        prepare(settings)
    assert not settings.archive.exists()


def test_a_member_beyond_the_limit_is_not_read(settings, monkeypatch):
    monkeypatch.setattr(characters, "LARGEST", 100)
    with pytest.raises(UserError, match="larger than the 100 bytes"):
        prepare(settings)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a/symbols/dot-0000.png": png(np.zeros((29, 28), np.uint8))}, "28 x 29 pixels"),
        ({"a/symbols/dot-0000.png": b"no picture"}, "not a PNG"),
        ({"a/symbols/dot-0000.png": bytes(70_000)}, "larger than the 65,536"),
        ({"a/symbols/other-0000.png": b""}, "no picture of dot"),
        ({}, "no picture of dot"),
    ],
)
def test_symbols_that_are_not_sound_are_one_line(settings, files, message):
    make_bhmsds(Path(settings.mirror) / "bhmsds" / "bhmsds-master.zip", files)
    with pytest.raises(UserError, match=message):
        prepare(settings)
    assert not settings.archive.exists()


def test_a_split_that_is_not_there_names_those_that_are(settings):
    with pytest.raises(UserError, match="no whole split 'byclass'; it has: balanced"):
        prepare(replace(settings, split="byclass"))


@pytest.mark.parametrize("text", ["plus,times", "../x", "plus minus"])
def test_unknown_symbols(text):
    with pytest.raises(UserError, match="BHMSDS has"):
        choose_symbols(text)


def test_the_mappings_of_the_tests_are_of_the_publishers_form():
    assert characters.parse_mapping("\n".join(MAPPINGS["letters"]).encode(), "x") == (1, ("A", "B", "C"))


def test_mistakes_end_in_one_line_and_exit_code_2(tmp_path):
    line = complaint_of(setup_data.__file__, "--mirror", tmp_path, "--archive", tmp_path / "emnist", folder=tmp_path)
    assert line.startswith("could not get emnist/gzip.zip")
