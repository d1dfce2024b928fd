"""IDX and CSV readers against honest, damaged and hostile files: sound arrays, or one UserError that says where."""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.data import image_csv
from core.data.image_csv import read_image_csv, write_image_csv
from core.data.readers import idx_header, read_idx, read_idx_pair
from core.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 3, 2)).astype(np.uint8)
LABELS = np.array([0, 1, 2, 3, 4, 9, 0], np.uint8)
IDX = idx_header(IMAGES) + IMAGES.tobytes()
SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)


def pack(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def written(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


# IDX


@pytest.mark.parametrize("data", [IDX, pack(IDX)], ids=["plain", "gzip"])
def test_idx_from_a_path_and_from_a_stream(tmp_path, data):
    np.testing.assert_array_equal(read_idx(written(tmp_path / "x", data), rank=3), IMAGES)
    np.testing.assert_array_equal(read_idx(io.BytesIO(data), rank=3, name="member"), IMAGES)


def test_the_header_is_the_published_one():
    assert idx_header(np.zeros((60000, 28, 28), np.uint8)).hex() == "000008030000ea600000001c0000001c"


def header(*shape: int, kind: int = 8) -> bytes:
    return struct.pack(f">4B{len(shape)}I", 0, 0, kind, len(shape), *shape)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "within the header"),
        (IDX[:3], "within the header"),
        (IDX[:10], "within the header"),
        (IDX[:-1], "truncated: 41 of 42 bytes"),
        (IDX + b"x", "more data than its header"),
        (header(7) + bytes(7), "not an IDX file of rank 3"),
        (header(7, 3, 2, kind=13) + bytes(168), "not an IDX file of rank 3"),
        (b"<!doctype html>", "not an IDX file"),
        (header(0, 28, 28), "holds no items"),
        (header(7, 0, 2), "holds no items"),
        (header(2**32 - 1, 2**32 - 1, 2**32 - 1), "more than the"),
        (header(60000, 280, 280), "more than the"),
        (header(30000, 28, 28), "truncated: 0 of"),
        (pack(IDX)[:-12], "damaged or truncated gzip"),
        (pack(IDX)[:-1], "damaged or truncated gzip"),
        (pack(IDX)[:10] + b"\xff" * 40, "damaged or truncated gzip"),
        (pack(IDX + bytes(10**6)), "more data than its header"),
    ],
)
def test_a_bad_idx_file_is_named_with_its_fault(tmp_path, data, reason):
    path = written(tmp_path / "bad-ubyte", data)
    with pytest.raises(UserError, match=reason) as caught:
        read_idx(path, rank=3)
    assert str(path) in str(caught.value)


def test_a_damaged_gzip_checksum_is_noticed(tmp_path):
    packed = bytearray(pack(IDX))
    packed[-6] ^= 1
    with pytest.raises(UserError, match="gzip"):
        read_idx(written(tmp_path / "x", bytes(packed)), rank=3)


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_file_that_cannot_be_read(tmp_path, name):
    with pytest.raises(UserError, match="cannot be read"):
        read_idx(tmp_path / name, rank=3)


def test_images_and_labels_must_agree(tmp_path):
    def pair(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = written(tmp_path / "x", idx_header(images) + images.tobytes())
        return read_idx_pair(x, written(tmp_path / "t", idx_header(labels) + labels.tobytes()), classes=10)

    images, labels = pair(IMAGES, LABELS)
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)
    with pytest.raises(UserError, match="6 labels for 7 images"):
        pair(IMAGES, LABELS[:6])
    with pytest.raises(UserError, match="item 6 has the label 10, but there are 10 classes"):
        pair(IMAGES, LABELS + (LABELS == 9))


@SAME_FOLDER
@given(
    cut=st.integers(0, len(IDX)),
    place=st.integers(0, len(IDX)),
    junk=st.binary(max_size=9),
    packed=st.booleans(),
    late=st.integers(0, 40),
)
@example(cut=len(IDX), place=0, junk=b"", packed=True, late=0)
def test_a_mangled_idx_file_gives_an_array_or_a_user_error(tmp_path, cut, place, junk, packed, late):
    data = IDX[:cut]
    if packed:
        data = pack(data)
    data = data[:place] + junk + data[place + late :]
    with contextlib.suppress(UserError):
        array = read_idx(written(tmp_path / "x", data), rank=3, largest=1 << 20)
        assert (array.dtype, array.ndim) == (np.uint8, 3)


@SAME_FOLDER
@given(data=st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: IDX[:4] + tail))
def test_any_bytes_give_an_array_or_a_user_error(tmp_path, data):
    with contextlib.suppress(UserError):
        assert read_idx(written(tmp_path / "x", data), rank=3, largest=1 << 20).ndim == 3


# CSV


SHAPE = (3, 2)


def lines(images: np.ndarray = IMAGES, labels: np.ndarray = LABELS) -> list[str]:
    table = np.column_stack([labels, images.reshape(len(images), -1)])
    return [",".join(map(str, row)) for row in table]


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    return read_image_csv(path, classes=10, shape=SHAPE)


def check(path: Path) -> None:
    images, labels = read(path)
    assert images.dtype == labels.dtype == np.uint8
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


def test_csv_out_and_in_again(tmp_path):
    write_image_csv(tmp_path / "x.csv", IMAGES, LABELS)
    header = "label,pixel0,pixel1,pixel2,pixel3,pixel4,pixel5"
    assert (tmp_path / "x.csv").read_text() == "\n".join([header, *lines(), ""])
    check(tmp_path / "x.csv")


def test_every_value_survives(tmp_path, monkeypatch):
    images = np.arange(3000 * 6).reshape(3000, *SHAPE).astype(np.uint8)
    labels = (np.arange(3000) % 10).astype(np.uint8)
    monkeypatch.setattr(image_csv, "ROWS", 7)
    write_image_csv(tmp_path / "x.csv", images, labels)
    again = read(tmp_path / "x.csv")
    np.testing.assert_array_equal(again[0], images)
    np.testing.assert_array_equal(again[1], labels)


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(lines()),
        "\n".join(lines()) + "\n",
        "\r\n".join(lines()) + "\r\n",
        "\n\n" + "\n\n".join(lines()) + "\n \n",
        "label,1x1,1x2,2x1,2x2,3x1,3x2\n" + "\n".join(lines()),
        '"label","a","b","c","d","e","f"\n' + "\n".join(lines()),
        "label,0,1,2,3,4,5\n" + "\n".join(lines()),
        "label,1,2,3,4,5,6\n" + "\n".join(lines()),
        "\ufefflabel,a,b,c,d,e,f\n" + "\n".join(lines()),
        "\ufeff" + "\n".join(lines()),
        "\n".join(lines()).replace(",", ", "),
        "\n".join(lines()).replace(",", ".0,"),
        "\n".join(f'"{line}"'.replace(",", '","') for line in lines()),
        "\n".join(line.replace(",", ",00", 1) for line in lines()),
    ],
)
def test_the_common_variants_are_understood(tmp_path, text):
    check(written(tmp_path / "x.csv", text))


@pytest.mark.parametrize("name", ["label", '"Class"', "target"])
def test_a_label_in_another_column_than_the_first_is_refused(tmp_path, name):
    text = f"a,b,c,d,e,f,{name}\n" + "\n".join(lines())
    with pytest.raises(UserError, match=r"line 1: column 7 is the label, which must come first"):
        read(written(tmp_path / "x.csv", text))


def test_a_gzipped_csv(tmp_path):
    check(written(tmp_path / "x.csv.gz", pack("\n".join(lines()).encode())))


@pytest.mark.parametrize(
    ("line", "change", "reason"),
    [
        (3, "4,1,2,3,4,5,256", "line 3, column 7: a pixel is '256', not a whole number from 0 to 255"),
        (3, "4,1,2,x,4,5,6", "line 3, column 4: a pixel is 'x'"),
        (3, "4,1,2,1001,4,5,6", "line 3, column 4: a pixel is '1001'"),
        (3, "4,1,2,3,4,5,6,4,1,2,3,4,5,6", "line 3: 14 column(s), expected 7"),
        (3, "4,1,2,,4,5,6", "line 3, column 4: a pixel is ''"),
        (3, "4,1,2,-3,4,5,6", "line 3, column 4: a pixel is '-3'"),
        (3, "4,1,2,0.5,4,5,6", "line 3, column 4: a pixel is '0.5'"),
        (3, "4,1,2,nan,4,5,6", "line 3, column 4: a pixel is 'nan'"),
        (3, "4,1,2,3 3,4,5,6", "line 3, column 4: a pixel is '3 3'"),
        (3, "4,1,2,1_0,4,5,6", "line 3, column 4: a pixel is '1_0'"),
        (3, "4,1,2,\u0663,4,5,6", "line 3, column 4: a pixel is '\u0663'"),
        (3, "4,1,2," + "9" * 30 + ",4,5,6", "line 3, column 4: a pixel is '99999999999999999999'..."),
        (3, "10,1,2,3,4,5,6", "line 3, column 1: the label is '10', not a whole number from 0 to 9"),
        (3, "cat,1,2,3,4,5,6", "line 3, column 1: the label is 'cat'"),
        (3, "4,1,2,3,4,5", "line 3: 6 column(s), expected 7: the label, then 6 pixels (is the label column missing?)"),
        (3, "4,1,2,3,4,5,6,7", "line 3: 8 column(s), expected 7"),
        (3, "4;1;2;3;4;5;6", "line 3: 1 column(s), expected 7"),
        (7, "4,1", "line 7: 2 column(s)"),
        (1, "cat,1,2,3,4,5,60", "line 1, column 1: the label is 'cat'"),
        (1, "label,a,b", "line 1: 3 column(s)"),
        (1, "a,b,c,d,e,f", "line 1: 6 column(s), expected 7: the label, then 6 pixels (is the label column missing?)"),
        (1, "0,1,2,3,4,5", "line 1: 6 column(s)"),
    ],
)
def test_a_mistake_is_located(tmp_path, line, change, reason):
    rows = lines()
    rows[line - 1] = change
    path = written(tmp_path / "x.csv", "\n".join(rows))
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value).replace(", line", " line", 1).startswith(f"{path} {reason}")


def test_lines_are_counted_with_the_header_and_blank_lines(tmp_path):
    path = written(tmp_path / "x.csv", "label,a,b,c,d,e,f\n" + "\n\n".join(lines()) + "\n4,1,2,3,4,5,x\n")
    with pytest.raises(UserError, match="line 15, column 7"):
        read(path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no images"),
        (b"\n\n", "no images"),
        (b"label,a,b,c,d,e,f\n", "no images"),
        (b"\0" * 100, "line 1"),
        (b"1," * 2_000_000, "line 1: longer than a line of 7 numbers can be"),
        (b"1,2,3,4,5,6,7\n" + b"9" * 5000, "line 2: longer than a line of 7 numbers can be"),
        (pack(b"1,2,3,4,5,6,7\n" * 50)[:-9], "gzip"),
    ],
)
def test_a_file_that_is_no_such_csv(tmp_path, data, reason):
    with pytest.raises(UserError, match=reason):
        read(written(tmp_path / "x.csv", data))


def test_a_csv_that_is_missing_or_a_folder(tmp_path):
    for name in ("missing.csv", "."):
        with pytest.raises(UserError, match="cannot be read"):
            read(tmp_path / name)


def test_a_csv_has_a_largest_size(tmp_path, monkeypatch):
    monkeypatch.setattr(image_csv, "LARGEST", 40)
    with pytest.raises(UserError, match="too many"):
        read(written(tmp_path / "x.csv", "\n".join(lines())))


def test_a_full_disk_leaves_the_old_csv(tmp_path, monkeypatch):
    path = written(tmp_path / "x.csv", "old")

    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_csv, "_as_text", full)
    with pytest.raises(UserError, match="No space left"):
        write_image_csv(path, IMAGES, LABELS)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".tmp"] == []


FIELD = st.integers(0, 300).map(str) | st.text('0123456789 ."-x\t', max_size=4)
TABLE = st.lists(st.lists(FIELD, min_size=6, max_size=8).map(",".join), min_size=1, max_size=6)


@SAME_FOLDER
@given(rows=TABLE, end=st.sampled_from(["", "\n", "\r\n"]))
def test_any_table_gives_images_or_a_user_error(tmp_path, rows, end):
    """The fast parser may never take what the careful one refuses, nor read it otherwise."""
    path = written(tmp_path / "x.csv", "\n".join(rows) + end)
    answers = []
    with pytest.MonkeyPatch.context() as patch:
        for fast in (image_csv._parse_fast, lambda form: None):
            patch.setattr(image_csv, "_parse_fast", fast)
            try:
                images, labels = read(path)
                answers.append((images.shape, images.tobytes(), labels.tobytes()))
            except UserError as error:
                answers.append(str(error))
    assert answers[0] == answers[1]


@SAME_FOLDER
@given(data=st.binary(max_size=80))
def test_any_bytes_give_images_or_a_user_error(tmp_path, data):
    with contextlib.suppress(UserError):
        assert read(written(tmp_path / "x.csv", data))[0].shape[1:] == SHAPE
