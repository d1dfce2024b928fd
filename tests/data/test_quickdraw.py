"""Quick, Draw! lines become points, three bytes each; what is no drawing is counted, and nothing ever crashes."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.quickdraw import LONGEST_LINE, MAX_POINTS, DrawingReader, Drawings, join

TWO_STROKES = [[[0, 10, 20, 30], [5, 5, 6, 7]], [[200, 255], [0, 255]]]


def line(drawing, **extra):
    return json.dumps({"word": "cat", "key_id": "1", "drawing": drawing} | extra).encode() + b"\n"


def read(*lines, most=100):
    reader = DrawingReader(most)
    reader.read(io.BytesIO(b"".join(lines)))
    return reader


def test_a_drawing_becomes_points():
    drawings = read(line(TWO_STROKES)).drawings()
    assert drawings.points.dtype == np.uint8
    assert drawings.lengths.dtype == np.uint16
    assert drawings.lengths.tolist() == [6]
    expected = [[0, 5, 0], [10, 5, 0], [20, 6, 0], [30, 7, 1], [200, 0, 0], [255, 255, 1]]
    assert drawings.points.tolist() == expected
    assert [stroke.T.tolist() for stroke in drawings.strokes(0)] == TWO_STROKES


def test_only_recognised_drawings_are_taken_where_the_field_exists():
    reader = read(line(TWO_STROKES, recognized=False), line(TWO_STROKES, recognized=True), line(TWO_STROKES))
    assert (len(reader), reader.unrecognized, reader.lines) == (2, 1, 3)


def test_short_drawings_are_left_out_and_long_ones_cut():
    short = [[[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]]
    long = [[[7] * (MAX_POINTS - 1)] * 2, [[9] * 30] * 2]
    reader = read(line(short), line(long))
    assert (len(reader), reader.short) == (1, 1)
    drawings = reader.drawings()
    assert drawings.lengths.tolist() == [MAX_POINTS]
    assert [len(stroke) for stroke in drawings.strokes(0)] == [MAX_POINTS - 1, 1]


@pytest.mark.parametrize(
    "bad",
    [
        b"\n",
        b"{\n",
        b'{"word": "cat"}\n',
        b"[]\n",
        b"null\n",
        b'"drawing"\n',
        b"[" * 100_000 + b"\n",
        b"\xff\xfe\n",
        line("abcdef"),
        line(5),
        line([5] * 9),
        line([[5, 5]] * 9),
        line([[10**12, 10**12]]),
        line([["abc", "abc"]] * 3),
        line([[[1, 2, 3], [1, 2]]] * 3),
        line([[[1] * 9]]),
        line([[]]),
        line([[[1.5] * 9, [1] * 9]]),
        line([[[256] * 9, [1] * 9]]),
        line([[[-1] * 9, [1] * 9]]),
        line([[[float("nan")] * 9, [1] * 9]]),
        line([[[None] * 9, [1] * 9]]),
        line([[[[1]] * 9, [1] * 9]]),
    ],
)
def test_one_malformed_line_is_skipped_and_counted(bad):
    reader = read(line(TWO_STROKES), bad, line(TWO_STROKES))
    assert (len(reader), reader.malformed, reader.short) == (2, 1, 0)
    assert len(reader.drawings().points) == 12


def test_a_monstrous_line_takes_no_more_memory_than_a_piece_of_it():
    reader = read(b"[" * (2 * LONGEST_LINE + 5) + b"\n", line(TWO_STROKES))
    assert (len(reader), reader.malformed) == (1, 3)


def test_nothing_is_read_beyond_what_is_wanted():
    stream = io.BytesIO(line(TWO_STROKES) * 5)
    reader = DrawingReader(2)
    reader.read(stream)
    assert reader.full
    assert stream.tell() == 2 * len(line(TWO_STROKES))


def test_strokes_may_carry_times_and_be_empty():
    drawing = [[x, y, list(range(len(x)))] for x, y in TWO_STROKES]
    drawing.insert(1, [[], [], []])
    drawings = read(line(drawing)).drawings()
    assert [stroke.T.tolist() for stroke in drawings.strokes(0)] == TWO_STROKES


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.floats() | st.text(), st.lists).map(line))
@settings(max_examples=60, deadline=None)
def test_whatever_a_line_holds_the_reader_goes_on(data):
    reader = read(data.replace(b"\n", b"") + b"\n", line(TWO_STROKES))
    assert len(reader) + reader.malformed + reader.short + reader.unrecognized == reader.lines
    assert reader.drawings().strokes(len(reader) - 1)[0].T.tolist() == TWO_STROKES[0]


def some_drawings(lengths, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 256, (sum(lengths), 3)).astype(np.uint8)
    points[:, 2] = rng.random(len(points)) < 0.2
    return Drawings(points, np.array(lengths, np.uint16))


@pytest.mark.parametrize("chosen", [slice(1, 3), slice(0, 0), np.array([3, 0, 0]), np.array([True, False, True, True])])
def test_drawings_are_chosen_like_rows(chosen):
    drawings = some_drawings([6, 9, 7, 250])
    single = np.split(drawings.points, np.cumsum(drawings.lengths)[:-1])
    part = drawings[chosen]
    kept = np.arange(4)[chosen]
    assert part.lengths.tolist() == drawings.lengths[kept].tolist()
    np.testing.assert_array_equal(part.points, np.concatenate([single[k] for k in kept] or [drawings.points[:0]]))


def test_drawings_are_joined():
    parts = [some_drawings([6, 9], 1), some_drawings([7], 2)]
    both = join(parts)
    np.testing.assert_array_equal(both[0:2].points, parts[0].points)
    np.testing.assert_array_equal(both[2:3].points, parts[1].points)


@pytest.mark.parametrize(("share", "lengths"), [(1.0, [6, 9, 250]), (0.5, [3, 5, 125]), (0.01, [2, 2, 3])])
def test_beginnings(share, lengths):
    drawings = some_drawings([6, 9, 250])
    begun = drawings.beginnings(share)
    assert begun.lengths.tolist() == lengths
    for number in range(3):
        whole, part = drawings[number : number + 1].points, begun[number : number + 1].points
        np.testing.assert_array_equal(part, whole[: len(part)])
