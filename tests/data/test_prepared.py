"""Prepared folders: what was saved comes back, damage is noticed, and no failure costs the data that was there."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.data import prepared
from core.data.prepared import load_prepared, save_prepared
from core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
INFO = {"dataset": "toy", "origin": "synthetic", "complete": False, "notice": "TOY data", "command": "python toy.py"}
OLD = {"x": np.arange(6, dtype=np.uint8).reshape(2, 3), "t": np.array([1, 0], np.int64)}
NEW = {"x": np.full((4, 3), 7, np.uint8), "t": np.array([3, 2, 1, 0], np.int64)}


@pytest.fixture
def folder(tmp_path) -> Path:
    save_prepared(tmp_path / "toy", OLD, INFO)
    return tmp_path / "toy"


def holds(folder: Path, arrays: dict[str, np.ndarray]) -> bool:
    loaded = load_prepared(folder, verify=True).arrays
    return all(np.array_equal(loaded[name], array) for name, array in arrays.items())


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(20, dtype=np.float32)[::3],
        np.array(["cat", "naïve"]),
        np.array([True, False]),
        np.array(3.5),
        np.zeros((0, 28, 28), np.uint8),
        np.arange(3, dtype=">i4"),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
@pytest.mark.parametrize("mmap", [True, False])
def test_any_plain_array_comes_back(tmp_path, array, mmap):
    save_prepared(tmp_path / "a", {"x": array}, INFO)
    again = load_prepared(tmp_path / "a", mmap=mmap, verify=True).arrays["x"]
    assert type(again) is np.ndarray
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert np.array_equal(again, array)
    assert again.flags.writeable is not mmap


def test_the_info_comes_back_with_time_and_arrays(folder):
    info = load_prepared(folder).info
    assert {key: info[key] for key in INFO} == INFO
    assert info["arrays"]["x"]["shape"] == [2, 3]
    assert info["created"].endswith("+00:00")


def test_only_the_named_arrays_are_read(folder):
    (folder / "t.npy").write_bytes(b"damaged")
    assert list(load_prepared(folder, ["x"]).arrays) == ["x"]
    with pytest.raises(UserError, match="holds x, t, but not y"):
        load_prepared(folder, ["x", "y"])


def test_a_mapped_array_outlives_a_replacement(folder):
    mapped = load_prepared(folder).arrays["x"]
    save_prepared(folder, NEW, INFO)
    assert np.array_equal(mapped, OLD["x"])
    assert holds(folder, NEW)
    assert not [path.name for path in folder.parent.iterdir() if path.name != "toy"]


@pytest.mark.parametrize(
    ("arrays", "info", "reason"),
    [
        ({"x": np.array([{}])}, {}, "plain"),
        ({"x": np.zeros(2, "V4")}, {}, "plain"),
        ({"../x": np.zeros(2)}, {}, "plain"),
        ({}, {"notice": ""}, "needs a notice"),
        ({}, {"command": None}, "needs command"),
    ],
)
def test_mistakes_of_a_programmer(tmp_path, arrays, info, reason):
    whole = {key: value for key, value in {**INFO, **info}.items() if value is not None}
    with pytest.raises(ValueError, match=reason):
        save_prepared(tmp_path / "a", arrays, whole)
    assert list(tmp_path.iterdir()) == []


def test_missing_data_names_the_command(tmp_path):
    folder = tmp_path / "archive" / "toy"
    with pytest.raises(UserError, match=rf"no prepared data in .*: run `python \w+/setup_data\.py --archive {folder}`"):
        load_prepared(folder)
    (tmp_path / "setup_data.py").touch()
    with pytest.raises(UserError, match=rf"run `python {tmp_path.name}/setup_data\.py` first"):
        load_prepared(folder)
    with pytest.raises(UserError, match=rf"run `python {tmp_path.name}/setup_data\.py --dataset toy` first"):
        load_prepared(folder, setup_flags="--dataset toy")
    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize("place", ["my data", "project/archive/other"])
def test_data_that_lie_elsewhere_are_prepared_there(tmp_path, monkeypatch, place):
    (tmp_path / "project").mkdir()
    for name in ("setup_data.py", "training.py"):
        (tmp_path / "project" / name).touch()
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "project" / "training.py")])
    folder = tmp_path / place
    with pytest.raises(UserError, match=r"run `python project/setup_data\.py") as missing:
        load_prepared(folder)
    assert (f"--archive '{folder}'`" in str(missing.value)) == (place == "my data")
    save_prepared(folder, NEW, INFO)
    (folder / "t.npy").unlink()
    with pytest.raises(UserError, match=r"run `python toy\.py --archive '?.*/(my data'|other)`"):
        load_prepared(folder)


def change_info(folder: Path, **changes: object) -> None:
    path = folder / "info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def claim(folder: Path, size: int) -> None:
    """A header that promises far more than the file holds."""
    with open(folder / "x.npy", "wb") as handle:
        np.lib.format.write_array_header_1_0(handle, {"descr": "|u1", "fortran_order": False, "shape": (size,)})
    change_info(folder, arrays={"x": {"shape": [size], "dtype": "|u1", "sha256": ""}})


def change_text(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


DAMAGE = {
    "array missing": lambda folder: (folder / "x.npy").unlink(),
    "array empty": lambda folder: (folder / "x.npy").write_bytes(b""),
    "array cut": lambda folder: (folder / "x.npy").write_bytes((folder / "x.npy").read_bytes()[:-1]),
    "array longer": lambda folder: (folder / "x.npy").write_bytes((folder / "x.npy").read_bytes() + b"x"),
    "array is a folder": lambda folder: ((folder / "x.npy").unlink(), (folder / "x.npy").mkdir()),
    "array of another shape": lambda folder: np.save(folder / "x.npy", OLD["x"].reshape(3, 2)),
    "array of another type": lambda folder: np.save(folder / "x.npy", OLD["x"].view(np.int8)),
    "array needs pickle": lambda folder: np.save(folder / "x.npy", np.array([{}]), allow_pickle=True),
    "array is a zip": lambda folder: shutil.move(make_npz(folder), folder / "x.npy"),
    "array with a changed bracket": lambda folder: change_text(folder / "x.npy", b"(", b"["),
    "array with a changed word": lambda folder: change_text(folder / "x.npy", b"False", b"F(lse"),
    "array with a changed quote": lambda folder: change_text(folder / "x.npy", b": '", b": ,"),
    "array claims a petabyte": lambda folder: claim(folder, 10**15),
    "info empty": lambda folder: (folder / "info.json").write_text(""),
    "info is no text": lambda folder: (folder / "info.json").write_bytes(b"\xff\xfe\x00"),
    "info is a list": lambda folder: (folder / "info.json").write_text("[]"),
    "info nested too deep": lambda folder: (folder / "info.json").write_text("[" * 200_000),
    "info without arrays": lambda folder: change_info(folder, arrays=None),
    "info with half an array": lambda folder: change_info(folder, arrays={"x": {}}),
    "info with an array without its shape": lambda folder: change_info(
        folder, arrays={"x": {"dtype": "|u1", "sha256": ""}}
    ),
    "info with a path": lambda folder: (
        np.save(folder.parent / "x.npy", OLD["t"]),
        change_info(folder, arrays={"../x": {"shape": [2], "dtype": "<i8", "sha256": ""}}),
    ),
    "info with objects": lambda folder: change_info(folder, arrays={"x": {"shape": [1], "dtype": "O", "sha256": ""}}),
    "info without a notice": lambda folder: change_info(folder, notice=None),
}


def make_npz(folder: Path) -> str:
    np.savez(folder / "whole.npz", x=OLD["x"])
    return str(folder / "whole.npz")


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_one_line_with_the_command(folder, kind):
    DAMAGE[kind](folder)
    with pytest.raises(UserError, match=r"is damaged: run `.*` to prepare the data again"):
        load_prepared(folder)
    save_prepared(folder, NEW, INFO)
    assert holds(folder, NEW)


def change_a_byte(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_changed_byte_of_a_small_array_is_always_found(folder):
    change_a_byte(folder / "t.npy")
    load_prepared(folder, ["x"])
    with pytest.raises(UserError, match=r"t\.npy is damaged: run `python toy\.py --archive "):
        load_prepared(folder)


def test_a_changed_byte_of_a_large_array_is_found_by_a_full_look(folder, monkeypatch):
    monkeypatch.setattr(prepared, "ALWAYS_VERIFIED", 5)
    change_a_byte(folder / "x.npy")
    load_prepared(folder)
    with pytest.raises(UserError, match=r"x\.npy is damaged: run `python toy\.py --archive "):
        load_prepared(folder, verify=True)


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"thesis\.tex"):
        save_prepared(tmp_path / "home", NEW, INFO)
    with pytest.raises(UserError, match="is a file"):
        save_prepared(tmp_path / "home" / "thesis.tex", NEW, INFO)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "years of work"


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", ["np.save", "flush", "fsync folder", "first rename", "second rename"])
def test_a_full_disk_leaves_the_old_data(folder, monkeypatch, call):
    real_rename, renames = os.rename, []

    def rename(source: Path, target: Path) -> None:
        renames.append(source)
        if len(renames) == {"first rename": 1, "second rename": 2}[call]:
            full_disk()
        real_rename(source, target)

    with monkeypatch.context() as patch:
        if call == "np.save":
            patch.setattr(np, "save", full_disk)
        elif call == "flush":
            patch.setattr(prepared, "flush_to_disk", full_disk)
        elif call == "fsync folder":
            patch.setattr(prepared, "fsync_folder", full_disk)
        else:
            patch.setattr(os, "rename", rename)
        with pytest.raises(UserError, match=r"No space left on device; what was there before is untouched"):
            save_prepared(folder, NEW, INFO)
    assert folder.exists()
    assert holds(folder, OLD)
    assert not [path.name for path in folder.parent.iterdir() if path.name != "toy"]


def test_a_really_full_disk_leaves_the_old_data(folder):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(UserError, match="cannot write"):
            save_prepared(folder, {"x": np.zeros(20_000, np.uint8)}, INFO)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert holds(folder, OLD)


def test_ctrl_c_leaves_the_old_data(folder, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepared, "_swap", interrupt)
        with pytest.raises(KeyboardInterrupt):
            save_prepared(folder, NEW, INFO)
    assert holds(folder, OLD)


@pytest.mark.parametrize("next_step", ["load", "save"])
def test_a_kill_between_the_two_renames_is_healed(folder, next_step):
    folder.rename(folder.with_name(".toy.old"))
    (folder.with_name(".toy.new")).mkdir()
    if next_step == "save":
        save_prepared(folder, NEW, INFO)
    assert holds(folder, NEW if next_step == "save" else OLD)


KILLED_ANYWHERE = """
import os, shutil, signal, sys
from pathlib import Path
import numpy as np
from core.data.prepared import load_prepared, save_prepared

folder, torn = Path(sys.argv[1]) / "toy", sys.argv[2] == "torn"
info = {"dataset": "toy", "origin": "synthetic", "complete": False, "notice": "TOY data", "command": "python toy.py"}
EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")

def save(value):
    save_prepared(folder, {"x": np.full(100, value, np.uint8), "t": np.full(50, value, np.int64)}, info)

save(0)
before, kills = 0, 0
for moment in range(1, 1000):
    if torn:
        shutil.rmtree(folder.with_name(".toy.old"), ignore_errors=True)
        os.rename(folder, folder.with_name(".toy.old"))  # as a kill between the two renames leaves it
    child = os.fork()
    if child == 0:
        left = moment
        def hook(event, arguments):
            global left
            if event in EVENTS:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        save(moment % 250 + 1)
        os._exit(0)
    killed = os.waitpid(child, 0)[1] != 0
    arrays = load_prepared(folder, verify=True).arrays
    now = int(arrays["x"][0])
    assert now in (before, moment % 250 + 1) and (arrays["t"] == now).all(), (moment, before, now)
    before, kills = now, kills + killed
    if not killed:
        break
assert now == moment % 250 + 1, "the save that nobody killed must be there"
print(kills)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("start", ["whole", "torn"])
def test_a_kill_at_any_moment_leaves_the_old_data_or_the_new(tmp_path, start):
    """A child is killed before each of its file operations in turn, and what it leaves must load in full."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED_ANYWHERE, str(tmp_path), start]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15
    assert not [path.name for path in tmp_path.iterdir() if path.name != "toy"]


def test_a_file_system_without_locks_does_not_stop_the_work(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", full_disk)
    save_prepared(tmp_path / "toy", OLD, INFO)
    assert holds(tmp_path / "toy", OLD)


def test_the_folder_that_one_is_in_can_be_read_but_is_not_replaced(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert holds(Path("."), OLD)
    with pytest.raises(UserError, match="the folder that you are in"):
        save_prepared(Path("."), NEW, INFO)
    assert holds(folder, OLD)
    (folder / "info.json").unlink()
    with pytest.raises(UserError, match=r"no prepared data in \.: run"):
        load_prepared(Path("."))
