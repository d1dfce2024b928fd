"""The reader of pickles that runs nothing: plain data comes out, everything else is refused."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from core.data.plain_pickle import read_plain_pickle
from core.errors import UserError


def array_pickle(array: np.ndarray, core: str = "numpy.core", order: str = "F") -> bytes:
    """An array as Python 2 pickled it, protocol 2."""
    shape = b"(" + b"".join(b"J" + size.to_bytes(4, "little", signed=True) for size in array.shape) + b"t"
    content = array.tobytes()
    dtype = b"cnumpy\ndtype\nU\x02" + array.dtype.str[1:].encode() + b"K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xff"
    dtype += b"J\xff\xff\xff\xffK\x00tb"
    made = f"c{core}.multiarray\n_reconstruct\ncnumpy\nndarray\n".encode() + b"K\x00\x85U\x01b\x87R"
    size = len(content).to_bytes(4, "little")
    return made + b"(K\x01" + shape + dtype + b"\x89T" + size + content + b"tb"


def as_protocol_2(value: object) -> bytes:
    return pickle.dumps(value, protocol=2)


@pytest.mark.parametrize("protocol", [0, 1, 2])
@pytest.mark.parametrize(
    "value",
    [
        {"labels": [3, 1, 255, 70_000, -5], "name": "a batch", "share": 0.5, "yes": True, "none": None},
        [[1, 2], [3, [4, 5]], []],
        {"nested": {"deep": [1, {"er": "x"}]}},
        (1, (2, 3), (), ("a",)),
        list(range(2000)),
    ],
)
def test_plain_data_is_read(value, protocol):
    assert read_plain_pickle(pickle.dumps(value, protocol=protocol), "x") == value


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
@pytest.mark.parametrize("dtype", ["u1", "<i4", "<f4", "<f8"])
def test_arrays_of_python_2_are_read(core, dtype):
    array = np.random.default_rng(0).integers(0, 256, (3, 5)).astype(dtype)
    data = b"\x80\x02}(U\x04data" + array_pickle(array, core) + b"U\x06labels](K\x01K\x02K\x03eu."
    found = read_plain_pickle(data, "x")
    np.testing.assert_array_equal(found["data"], array)
    assert found["data"].dtype == array.dtype
    assert found["labels"] == [1, 2, 3]


class Evil:
    def __reduce__(self):
        return os.system, ("touch was_run",)


class Instance:
    pass


@pytest.mark.parametrize(
    "value", [Evil(), [1, Evil()], {"data": Evil()}, Instance(), print, {1, 2}, b"bytes", np.zeros(3, object), 1j]
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_everything_else_is_refused_and_nothing_runs(value, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="x: ") as caught:
        read_plain_pickle(pickle.dumps(value, protocol=protocol), "x")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no pickle",
        b"\x80\x02]q\x01K\x01",  # no end
        b"\x80\x02a.",  # an empty stack
        b"\x80\x02K\x01K\x02a.",  # appended to a number
        b"\x80\x02h\x05.",  # a value that was never remembered
        b"\x80\x02(K\x01u.",
        b"\x80\x02K\x01K\x02R.",  # a call of a number
        b"\x80\x02K\x01K\x02b.",
        b"\x80\x02cnumpy\nndarray\nK\x00\x85R.",  # an array by its own name, with any size
        b"\x80\x02]q\x00h\x00a.",  # a list that holds itself
        b"\x80\x02T\xff\xff\xff\x7fabc.",  # a text that is not there
        b"e.",
        b"\x80\x02cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb.",
    ],
)
def test_damaged_pickles_end_in_one_line(data):
    with pytest.raises(UserError, match=r"\Abatch: .*\Z") as caught:
        read_plain_pickle(data, "batch")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"}" + b")" + b"\x85" * 300_000 + b"Ns.",  # a key that nests 300,000 deep, which Python hashes by recursion
        b"}(" + b")" + b"\x85" * 300_000 + b"Nu.",
        b"(" + b")" + b"\x85" * 300_000 + b"Nd.",
    ],
)
def test_a_deep_key_does_not_end_python(data):
    with pytest.raises(UserError, match="a key that is neither text nor a number"):
        read_plain_pickle(data, "x")


def test_what_stands_at_many_places_is_built_once():
    layers = 15
    lists = b"".join(b"](" + (b"h" + bytes([n])) * 8 + b"eq" + bytes([n + 1]) for n in range(layers))
    value = read_plain_pickle(b"\x80\x02]q\x00" + lists + b".", "x")  # of 8**15 lists, if each were a copy
    for _ in range(layers):
        assert len(value) == 8
        value = value[7]
    assert value == []


def test_many_arrays_cannot_take_the_same_bytes():
    array = array_pickle(np.ones(9000, np.uint8))
    content = b"T" + (9000).to_bytes(4, "little") + b"\1" * 9000
    first, again = array.replace(content, content + b"q\x07"), array.replace(content, b"h\x07")
    assert len(read_plain_pickle(b"\x80\x02](" + first + b"e.", "x")) == 1
    with pytest.raises(UserError, match="more bytes than the file has"):
        read_plain_pickle(b"\x80\x02](" + first + again + b"e.", "x")


def test_a_pickle_cut_anywhere_is_refused():
    whole = b"\x80\x02}(U\x04data" + array_pickle(np.ones((2, 3), np.uint8)) + b"U\x06labels](K\x01K\x02eu."
    assert read_plain_pickle(whole, "x")["labels"] == [1, 2]
    for length in range(len(whole)):
        with pytest.raises(UserError):
            read_plain_pickle(whole[:length], "x")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a changed text with a strange escape
def test_changed_bytes_give_data_or_one_line():
    whole = b"\x80\x02}(U\x04data" + array_pickle(np.ones((2, 3), np.uint8)) + b"U\x06labels](K\x01K\x02eu."
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(3000):
        changed = bytearray(whole)
        for place in rng.integers(0, len(whole), 2):
            changed[place] = rng.integers(0, 256)
        try:
            read_plain_pickle(bytes(changed), "x")
        except UserError:
            refused += 1
    assert refused > 300
