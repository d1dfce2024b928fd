"""Checkpoints keep every bit, survive a full disk, and turn any other file into one clear line."""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
import sys

import numpy as np
import pytest
import toy_run
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save
from toy_run import settings_of, train

from core.errors import UserError
from core.training import checkpoint
from core.training.checkpoint import load_checkpoint, load_weights, save_checkpoint

EXACT_DTYPES = [np.float16, np.float32, np.float64, np.uint8, np.int32, np.int64, np.bool_]


def assert_same(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape)
        assert a[name].tobytes() == b[name].tobytes()


@settings(max_examples=60, deadline=None)
@given(
    array=st.sampled_from(EXACT_DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    ),
    text=st.text(max_size=20),
)
def test_every_bit_comes_back(tmp_path_factory, array, text):
    path = tmp_path_factory.mktemp("checkpoint") / "a.safetensors"
    save_checkpoint(path, {"x": array, "y.z": array}, {"text": text, "number": 0.1})
    tensors, metadata = load_checkpoint(path)
    assert_same(tensors, {"x": array, "y.z": array})
    assert metadata == {"text": text, "number": 0.1}


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a.T,
        lambda a: a[::2],
        lambda a: a[:, ::-1],
        np.asfortranarray,
        lambda a: np.broadcast_to(a[:1], a.shape),
    ],
)
def test_an_array_that_is_not_contiguous_is_saved_right(tmp_path, view):
    array = view(np.arange(24.0).reshape(4, 6))
    save_checkpoint(tmp_path / "a.safetensors", {"x": array}, {})
    np.testing.assert_array_equal(load_checkpoint(tmp_path / "a.safetensors")[0]["x"], array)


def test_loaded_arrays_can_be_written_to(tmp_path):
    save_checkpoint(tmp_path / "a.safetensors", {"x": np.zeros(3, np.float32)}, {})
    load_checkpoint(tmp_path / "a.safetensors")[0]["x"][...] = 1


@pytest.mark.parametrize("array", [np.array([None]), np.zeros(2, complex), np.array(["a"]), np.zeros(2, ">f8")])
def test_another_dtype_is_a_type_error(tmp_path, array):
    with pytest.raises(TypeError, match=r"save_checkpoint expected one of .* for 'x'"):
        save_checkpoint(tmp_path / "a.safetensors", {"x": array}, {})
    assert list(tmp_path.iterdir()) == []


def test_metadata_must_be_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(tmp_path / "a.safetensors", {}, {"best": float("nan")})


def write(path, content):
    path.write_bytes(content)
    return path


def foreign_files():
    """Files that are not checkpoints of ours, each with a name for the test."""

    def header(fields, data=b"", length=None):
        text = json.dumps(fields).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + data

    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    metadata = {"format": "barenets checkpoint 1", "metadata": "{}", "sha256": "0" * 64}
    yield "empty", b""
    yield "a web page", b"<!DOCTYPE html><html>404</html>"
    yield "a pickle", b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00cos\nsystem\n(S'true'\ntR."
    yield "an npz", b"PK\x03\x04" + bytes(100)
    yield "huge header", header({}, length=2**62)
    yield "nested header", struct.pack("<Q", 100_000) + b"[" * 100_000
    yield "wrong shape", header({"a": {**one, "shape": [2]}}, bytes(4))
    yield "huge shape", header({"a": {**one, "shape": [2**62, 2**62]}}, bytes(4))
    yield "many axes", header({"a": {"dtype": "F32", "shape": [0] * 200, "data_offsets": [0, 0]}})
    yield "odd dtype", header({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, bytes(4))
    yield "foreign", save({"a": np.zeros(3, np.float32)})
    yield "foreign metadata", save({"a": np.zeros(3, np.float32)}, {"format": "pt"})
    yield "wrong hash", header({"__metadata__": metadata, "a": one}, bytes(4))


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in foreign_files()])
def test_a_foreign_or_hostile_file_is_one_line_that_names_it(tmp_path, content):
    path = write(tmp_path / "strange.safetensors", content)
    with pytest.raises(UserError, match=r"strange\.safetensors") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[" * 5000 + "]" * 5000, "[1]", "not json"])
def test_a_hostile_description_is_one_line(tmp_path, text):
    from core.training import checkpoint

    content = save({}, {"format": checkpoint.FORMAT, "metadata": text, "sha256": checkpoint._digest({}, text)})
    with pytest.raises(UserError, match="description"):
        load_checkpoint(write(tmp_path / "a.safetensors", content))


def test_a_missing_file_or_a_folder_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no checkpoint .*missing\.safetensors"):
        load_checkpoint(tmp_path / "missing.safetensors")
    with pytest.raises(UserError, match="cannot read"):
        load_checkpoint(tmp_path)


def test_a_file_of_terabytes_is_not_read(tmp_path):
    path = tmp_path / "sparse.safetensors"
    with path.open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(UserError, match="larger than any checkpoint"):
        load_checkpoint(path)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "good.safetensors"
    save_checkpoint(path, {"weight": np.arange(12, dtype=np.float32).reshape(3, 4)}, {"epoch": 3})
    return path.read_bytes()


def test_every_truncation_is_found(tmp_path, good):
    for length in range(len(good)):
        with pytest.raises(UserError):
            load_checkpoint(write(tmp_path / "cut.safetensors", good[:length]))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_changed_byte_is_found(tmp_path_factory, good, data):
    place = data.draw(st.integers(0, len(good) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != good[place]))
    damaged = bytearray(good)
    damaged[place] = byte
    path = write(tmp_path_factory.mktemp("damaged") / "damaged.safetensors", bytes(damaged))
    try:
        tensors, metadata = load_checkpoint(path)
    except UserError:
        return
    # Only a byte that carries no meaning (a space of the padding) may change without being noticed.
    assert_same(tensors, {"weight": np.arange(12, dtype=np.float32).reshape(3, 4)})
    assert metadata == {"epoch": 3}


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200) | st.binary(max_size=60).map(lambda b: struct.pack("<Q", len(b)) + b))
def test_random_bytes_are_one_line(tmp_path_factory, content):
    path = write(tmp_path_factory.mktemp("random") / "random.safetensors", content)
    with pytest.raises(UserError):
        load_checkpoint(path)


def test_a_full_disk_leaves_the_old_file(tmp_path):
    """The limit on a file's size stands for a full disk: the kernel cuts the write short in the same way."""
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, {"x": np.zeros(3)}, {"which": "old"})
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(UserError, match=r"cannot write .*a\.safetensors: File too large; .* untouched"):
            save_checkpoint(path, {"x": np.zeros(10_000)}, {"which": "new"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_no_space_at_the_last_moment_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, {"x": np.zeros(3)}, {})
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        save_checkpoint(path, {"x": np.ones(3)}, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        save_checkpoint(tmp_path / "file" / "a.safetensors", {"x": np.zeros(3)}, {})


def test_what_could_not_be_loaded_is_not_saved(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, {"x": np.zeros(3)}, {})
    before = path.read_bytes()
    monkeypatch.setattr(checkpoint, "MAX_BYTES", len(before) - 1)
    with pytest.raises(UserError, match=r"a\.safetensors would have .* GiB, .* make the network smaller"):
        save_checkpoint(path, {"x": np.ones(3)}, {})
    assert path.read_bytes() == before
    monkeypatch.setattr(checkpoint, "MAX_BYTES", len(before))
    save_checkpoint(path, {"x": np.ones(3)}, {})
    np.testing.assert_array_equal(load_checkpoint(path)[0]["x"], np.ones(3))


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_folder_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UserError, match="Permission denied"):
            save_checkpoint(tmp_path / "a.safetensors", {"x": np.zeros(3)}, {})
    finally:
        tmp_path.chmod(0o700)


def test_a_library_that_writes_wrong_values_is_caught(tmp_path, monkeypatch):
    import safetensors.numpy

    def wrong(arrays, metadata):
        return save({name: array + 1 for name, array in arrays.items()}, metadata)

    monkeypatch.setattr(safetensors.numpy, "save", wrong)
    with pytest.raises(RuntimeError, match="damaged"):
        save_checkpoint(tmp_path / "a.safetensors", {"x": np.zeros(3)}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_returns_other_bytes_is_caught(tmp_path, monkeypatch):
    from pathlib import Path

    monkeypatch.setattr(Path, "read_bytes", lambda self: b"other")
    with pytest.raises(UserError, match="the disk returned other bytes"):
        save_checkpoint(tmp_path / "a.safetensors", {"x": np.zeros(3)}, {})
    assert list(tmp_path.iterdir()) == []


KILLED_WHILE_SAVING = """
import sys, numpy as np
from core.training.checkpoint import save_checkpoint
for number in range(10_000):
    save_checkpoint(sys.argv[1], {"x": np.full(200_000, number)}, {"number": number})
    print(number, flush=True)
"""


def test_kill_9_while_saving_leaves_a_whole_file(tmp_path):
    path = tmp_path / "a.safetensors"
    for saves in (1, 2, 4):
        child = subprocess.Popen([sys.executable, "-c", KILLED_WHILE_SAVING, str(path)], stdout=subprocess.PIPE)
        for _ in range(saves):
            child.stdout.readline()
        child.kill()
        child.communicate()
        tensors, metadata = load_checkpoint(path)
        assert metadata["number"] >= saves - 1
        assert (tensors["x"] == metadata["number"]).all()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ["best", "last"])
def test_weights_load_from_either_kind_of_checkpoint(run_folder, name):
    model, _ = train(settings_of(run_folder, "--epochs", "1"))
    other, _ = toy_run.build(settings_of(run_folder, "--seed", "9"))
    load_weights(other, run_folder / f"{name}.safetensors")
    wanted = model.state_dict()
    assert all(np.array_equal(array, wanted[key]) for key, array in other.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("0.bias"), "missing"),
        (lambda state: state.update(extra=np.zeros(2, np.float32)), "unknown"),
        (lambda state: state.update({"0.bias": np.zeros(7, np.float32)}), "expected shape"),
        (lambda state: state.update({"0.bias": np.zeros(20, np.int64)}), "0.bias expected float32, got int64"),
        (lambda state: state.update({"0.bias": np.full(20, np.nan, np.float32)}), "0.bias that are not finite"),
    ],
)
def test_weights_that_do_not_fit_are_one_line(tmp_path, change, message):
    model, _ = toy_run.build(settings_of(tmp_path))
    before = model.state_dict()
    state = model.state_dict()
    change(state)
    save_checkpoint(tmp_path / "odd.safetensors", state, {"kind": "weights"})
    with pytest.raises(UserError, match=message) as caught:
        load_weights(model, tmp_path / "odd.safetensors")
    assert "odd.safetensors" in str(caught.value)
    assert all(np.array_equal(array, before[key]) for key, array in model.state_dict().items())
