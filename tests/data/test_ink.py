"""Pictures of characters: PNG files that are none, and EMNIST's place and size."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from core.data.ink import emnist_style, read_grey_png
from core.errors import UserError


def as_png(array, kind="png"):
    data = io.BytesIO()
    Image.fromarray(array).save(data, kind)
    return data.getvalue()


def test_a_png_is_read_as_grey():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(read_grey_png(as_png(grey), "x", (3, 4)), grey)
    colour = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_grey_png(as_png(colour), "x", (3, 4)), grey)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (as_png(np.zeros((5, 4), np.uint8)), "x: 4 x 5 pixels, expected 4 x 3"),
        (as_png(np.zeros((3, 4), np.uint8), "gif"), "x: not a PNG"),
        (as_png(np.zeros((3, 4), np.uint8))[:40], "x: not a PNG"),
        (b"", "x: not a PNG"),
        (b"<svg/>", "x: not a PNG"),
    ],
)
def test_anything_else_is_one_line(data, message):
    with pytest.raises(UserError, match=message):
        read_grey_png(data, "x", (3, 4))


@pytest.mark.parametrize(("height", "width"), [(60, 30), (30, 60), (8, 8), (3, 28), (200, 1)])
def test_ink_fills_the_box_and_lies_in_the_middle(height, width):
    ink = np.zeros((height + 50, width + 20), np.uint8)
    ink[31 : 31 + height, 7 : 7 + width] = 255
    result = emnist_style(ink)
    assert (result.shape, result.dtype) == ((28, 28), np.uint8)
    rows, columns = (np.flatnonzero((result > 40).any(axis=axis)) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) == 23
    for found in (rows, columns):
        assert abs(found[0] + found[-1] - 27) <= 1
    expected = height / width
    if 0.2 < expected < 5:
        assert (np.ptp(rows) + 1) / (np.ptp(columns) + 1) == pytest.approx(expected, rel=0.1)


def test_no_ink_is_black_and_wrong_arrays_are_refused():
    assert not emnist_style(np.zeros((9, 9), np.uint8)).any()
    assert not emnist_style(np.full((9, 9), 30, np.uint8)).any(), "too faint to be ink"
    with pytest.raises(ValueError, match="emnist_style expected uint8"):
        emnist_style(np.zeros((9, 9)))
