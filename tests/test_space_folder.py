"""A Space's folder is written whole or not at all, and replaces nothing but an earlier one."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

import pytest
from tiny_space import content, tiny_run

from scripts import export_space
from scripts.environment import ROOT, SetupError
from scripts.export_space import export
from scripts.space.folder import check_place


@pytest.fixture
def run(tmp_path) -> str:
    return str(tiny_run(tmp_path / "tiny"))


@pytest.fixture
def space(tmp_path, run) -> Path:
    """An earlier export."""
    return export("mlp_mnist", tmp_path / "space", run)


def test_an_earlier_export_is_replaced_as_a_whole_but_for_its_git(space, run):
    (space / "old.txt").write_text("of the earlier export")
    (space / ".git").mkdir()
    (space / ".git" / "HEAD").write_text("ref: refs/heads/main")
    export("mlp_mnist", space, run)
    assert not (space / "old.txt").exists()
    assert (space / ".git" / "HEAD").read_text() == "ref: refs/heads/main"
    assert sorted(path.name for path in space.parent.iterdir()) == ["space", "tiny"]


def test_a_folder_of_something_else_is_replaced_by_force_only(tmp_path, run):
    diary = tmp_path / "mine" / "diary.txt"
    diary.parent.mkdir()
    export("mlp_mnist", diary.parent, run)  # it was empty
    shutil.rmtree(diary.parent)
    diary.parent.mkdir()
    diary.write_text("mine")
    with pytest.raises(SetupError, match="is no earlier export and not empty"):
        export("mlp_mnist", diary.parent, run)
    assert diary.read_text() == "mine"
    export("mlp_mnist", diary.parent, run, force=True)
    assert not diary.exists()
    assert (diary.parent / "app.py").exists()


@pytest.mark.parametrize(
    ("dest", "said"),
    [
        (ROOT / "core" / "space", "lies among the source of this clone"),
        (ROOT / "space", "lies among the source of this clone"),
        (ROOT, "lies among the source of this clone"),
        (ROOT.parent, "holds this clone"),
        (Path("~"), "holds your home folder|holds this clone"),
        (ROOT / "dist", None),
    ],
    ids=["in a tracked folder", "in the clone", "the clone", "around the clone", "home", "dist"],
)
def test_places_that_are_refused_even_by_force(dest, said):
    context = pytest.raises(SetupError, match=said) if said else contextlib.nullcontext()
    with context:
        check_place(dest.expanduser().resolve())


def test_a_file_is_not_replaced(tmp_path, run):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SetupError, match="is a file: choose a folder"):
        export("mlp_mnist", tmp_path / "file", run, force=True)


def test_a_full_disk_leaves_what_was_there(space, run, monkeypatch):
    before, copy, copied = content(space), shutil.copyfile, []

    def copy_some(source, target):
        if len(copied) == 30:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        copied.append(copy(source, target))

    monkeypatch.setattr(export_space.shutil, "copyfile", copy_some)
    with pytest.raises(SetupError, match=r"cannot write .*space: No space left on device; nothing there has changed"):
        export("mlp_mnist", space, run)
    assert len(copied) == 30
    assert content(space) == before
    assert sorted(path.name for path in space.parent.iterdir()) == ["space", "tiny"]


def test_a_rename_that_fails_leaves_what_was_there(space, run, monkeypatch):
    before, rename = content(space), os.rename

    def not_the_new_one(source, target):
        if source.name == ".space.new":
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", not_the_new_one)
    with pytest.raises(SetupError, match="Input/output error"):
        export("mlp_mnist", space, run)
    assert content(space) == before


@pytest.mark.parametrize("new_one_is_there", [False, True])
def test_a_kill_between_the_renames_loses_nothing(space, run, new_one_is_there):
    (space / ".git").mkdir()
    (space / ".git" / "HEAD").write_text("mine")
    old = space.with_name(".space.old")
    space.rename(old)
    if new_one_is_there:
        shutil.copytree(old, space, ignore=shutil.ignore_patterns(".git"))
    export("mlp_mnist", space, run)
    assert (space / ".git" / "HEAD").read_text() == "mine"
    assert not old.exists()
