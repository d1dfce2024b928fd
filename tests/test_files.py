"""Files that are whole or absent, and the locks of those who write them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import files

ROOT = Path(files.__file__).parents[1]


def test_a_replaced_file_is_the_old_one_or_the_new_one(tmp_path):
    path = tmp_path / "x"
    with files.replacing(path) as handle:
        handle.write(b"old")
        assert not path.exists()
    with pytest.raises(TypeError), files.replacing(path) as handle:
        handle.writelines([b"half a f", None])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path], "neither the half file nor the lock stays"


def test_what_is_no_file_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(FileExistsError, match="no file"), files.replacing(pipe):
        pass
    assert pipe.is_fifo()


def test_one_waits_for_the_other_and_says_so(tmp_path, monkeypatch, capsys):
    looks = iter([False, False, True])
    monkeypatch.setattr(files, "try_lock", lambda handle: next(looks))
    monkeypatch.setattr(files, "WAIT", 0)
    with files.locked(tmp_path / "x"):
        pass
    assert next(looks, "none left") == "none left"
    assert "waiting for another process" in capsys.readouterr().err


def test_a_lock_is_a_lock(tmp_path):
    path = tmp_path / "x"
    with files.locked(path):
        assert files.take_lock(path) is None
    handle = files.take_lock(path)
    assert handle is not None
    assert files.take_lock(path) is None
    files.drop_lock(path, handle)


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no open file")
@pytest.mark.parametrize("others", ["gone", "another's", "mine"])
def test_the_lock_on_a_file_that_was_removed_meanwhile_does_not_count(tmp_path, monkeypatch, others):
    """The holder removes the file after it was opened here and before it is locked: a third one may have it by then."""
    path, try_lock, held = tmp_path / "x", files.try_lock, []

    def a_holder_is_faster(handle):
        monkeypatch.setattr(files, "try_lock", try_lock)
        files.lock_file(path).unlink()
        if others == "another's":
            held.append(files.take_lock(path))
        elif others == "mine":
            files.lock_file(path).touch()
        return try_lock(handle)

    monkeypatch.setattr(files, "try_lock", a_holder_is_faster)
    handle = files.take_lock(path)
    assert (handle is None) == (others == "another's")
    assert files.take_lock(path) is None
    files.drop_lock(path, handle or held[0])
    assert list(tmp_path.iterdir()) == []


COUNT = """
import sys
from pathlib import Path
from core import files

files.WAIT = 1e-4
path = Path(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with files.locked(path):
        number = int(path.read_text())
        path.write_text(str(number + 1))
"""


def test_no_two_processes_are_ever_inside(tmp_path):
    """Each adds one to a number, again and again; whoever came in beside another would lose counts."""
    path, processes, rounds = tmp_path / "number", 3, 60
    path.write_text("0")
    command = [sys.executable, "-c", COUNT, str(path), str(rounds)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = [subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) for _ in range(processes)]
    assert [process.wait() for process in started] == [0] * processes
    assert path.read_text() == str(processes * rounds)
    assert list(tmp_path.iterdir()) == [path]


def test_what_lies_beside_a_folder_is_the_same_however_it_is_written(tmp_path, monkeypatch):
    inside = tmp_path / "data" / "inside"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside.parent)
    ways = (Path("."), Path("inside/.."), Path("../data"), inside.parent)
    assert {files.beside(way, "old") for way in ways} == {tmp_path / ".data.old"}
    assert files.beside(Path("/"), "old") == Path("/..old")
