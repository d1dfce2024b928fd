"""The parser of drawings against honest and hostile values: it answers with strokes or with a UserError, always."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.demo.strokes import MAX_CHARACTERS, MAX_POINTS, MAX_STROKES, as_json, parse_strokes
from core.errors import UserError

WIDTH, HEIGHT = 280, 140
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
NEARLY_DRAWINGS = st.lists(st.lists(st.lists(st.integers() | st.floats() | st.none(), min_size=1, max_size=3)))


def check_answer(value: object) -> None:
    """Parse `value`; whatever it is, the answer is a valid drawing or one line of complaint."""
    try:
        strokes = parse_strokes(value, WIDTH, HEIGHT)
    except UserError as error:
        complaint = str(error)
        strokes = []
    else:
        complaint = "none"
    assert complaint
    assert "\n" not in complaint
    assert len(strokes) <= MAX_STROKES
    assert sum(map(len, strokes)) <= MAX_POINTS
    for stroke in strokes:
        assert stroke.dtype == np.float64
        assert stroke.shape == (len(stroke), 2)
        assert len(stroke) > 0
        assert ((stroke >= 0) & (stroke <= [WIDTH, HEIGHT])).all()


@settings(max_examples=1000, deadline=None)
@given(ANYTHING | ANYTHING.map(json.dumps) | NEARLY_DRAWINGS.map(json.dumps) | st.binary() | st.text('[]{}",:0123eE-.'))
@example("[" * 5000)
@example('{"a":' * 5000)
@example("[" * 50_000 + "]" * 50_000)
@example("[[[1" + "0" * 5000 + ",1]]]")
@example("[[[1" + "0" * 400 + ",1]]]")
@example("[[[1e999,1]]]")
@example("[[[NaN,1]]]")
@example("[[[true,1]]]")
@example('[[["1",1]]]')
@example("[[[1,1]]]x")
@example("[[],[[1,2]],[]]")
@example("\ud800")
@example("\x00")
@example("[[[1,2]]]\u2028")
@example(json.dumps([[[1, 2]] * (MAX_POINTS + 1)]))
@example(json.dumps([[[1, 2]]] * (MAX_STROKES + 1)))
def test_no_value_crashes_the_parser(value):
    check_answer(value)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (b"[]", "text, not as bytes"),
        (3, "text, not as int"),
        ("[[[0,0],", "not valid JSON: Expecting value at line 1, column 9"),
        ("{}", "list of strokes"),
        ("[[], 1]", "stroke 2: a stroke is a list of points"),
        ("[[1]]", "pair"),
        ("[[[1]]]", "pair"),
        ("[[[1,2,3]]]", "pair"),
        ('[[], [[1,2],["1",2]]]', "stroke 2, point 2: a coordinate is a number"),
        ("[[[1e400,2]]]", "finite"),
        ("[[[Infinity,2]]]", "not valid JSON: Infinity is no number"),
        ("[[[[1,2]]]]", "deeper"),
        ("[" * 5000, "deeper"),
        (json.dumps([[[1, 2]]] * 65), "at most 64 strokes, this one has 65"),
        (json.dumps([[[1, 2]] * 2001]), "at most 2000 points, this one has 2001"),
        ("[" + " " * MAX_CHARACTERS + "]", "at most 65536 characters"),
    ],
)
def test_each_fault_is_named(value, complaint):
    with pytest.raises(UserError, match=complaint):
        parse_strokes(value, WIDTH, HEIGHT)


@pytest.mark.parametrize("value", [None, "", "[]", "[[]]", "[[],[]]"])
def test_nothing_drawn_is_an_empty_drawing(value):
    assert parse_strokes(value, WIDTH, HEIGHT) == []


def test_distances_that_nothing_can_be_scaled_by_are_none():
    (stroke,) = parse_strokes("[[[0,0],[5e-324,1e-310]]]", WIDTH, HEIGHT)
    np.testing.assert_array_equal(stroke, 0)


def test_points_outside_the_pad_are_moved_to_its_edge():
    (stroke,) = parse_strokes("[[[-5,3],[1e300,-1e300],[7.5,9]]]", WIDTH, HEIGHT)
    np.testing.assert_array_equal(stroke, [[0, 3], [WIDTH, 0], [7.5, 9]])


@given(st.lists(st.lists(st.tuples(*[st.floats(0, 140)] * 2), min_size=1, max_size=9), max_size=9))
def test_a_drawing_survives_the_way_to_the_browser_and_back(drawing):
    strokes = parse_strokes(as_json([np.array(stroke) for stroke in drawing]), WIDTH, HEIGHT)
    assert [len(stroke) for stroke in strokes] == [len(stroke) for stroke in drawing]
    for ours, theirs in zip(strokes, drawing, strict=True):
        assert math.isclose(np.abs(ours - np.array(theirs)).max(), 0, abs_tol=0.0501)
