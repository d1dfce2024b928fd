"""From strokes to symbols, and from probabilities to a text and its value."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_emnist import SYMBOLS

from core.demo.examples import DIGITS
from emnist.classes import MERGED
from emnist.drawing import OPERATORS, as_character, as_sign, example, part
from emnist.lookalikes import as_lines, measure_lookalikes, measure_parts
from emnist.reading import Answers, read_line

CLASSES = [*MERGED, *SYMBOLS]


@pytest.mark.parametrize("text", ["12+7", "12+7-3", "36/4", "9*80", "1", "0-0", "+", "45/6*78+90-1"])
@pytest.mark.parametrize("scale", [0.2, 1.0, 2.0])
def test_a_line_is_parted_into_its_symbols(text, scale):
    drawn = [stroke * scale + np.array([13.0, 5.0]) for stroke in example(text)]
    symbols = part(drawn[::-1], pen=8 * scale)
    assert len(symbols) == len(text)
    assert [len(symbol.strokes) for symbol in symbols] == [len(OPERATORS.get(c) or DIGITS[int(c)]) for c in text]
    assert all(
        picture.shape == (28, 28) and picture.max() > 200 for s in symbols for picture in (s.as_character, s.as_sign)
    )


def test_an_empty_line_has_no_symbols():
    assert part([], pen=8) == []


def test_strokes_that_overlap_belong_together_whatever_their_order():
    bar, stem = OPERATORS["+"]
    foot = stem + np.array([0.0, 60.0])
    for strokes in ([bar, stem, foot], [foot, bar, stem], [stem, foot, bar]):
        assert len(part(strokes, pen=8)) == 1


def test_a_dot_fills_the_picture_and_only_a_low_one_is_a_decimal_point():
    tap = np.array([[180.0, 86.0]])
    digits = [DIGITS[3], [stroke + np.array([80.0, 0]) for stroke in DIGITS[5]]]
    low = part([*digits[0], *digits[1], tap], pen=8)[-1]
    assert low.is_low
    assert (low.as_character > 127).sum() > 300
    high = part([*digits[0], *digits[1], tap - np.array([0, 36.0])], pen=8)[-1]
    assert not high.is_low


def test_a_small_symbol_is_drawn_with_emnists_pen():
    """However large a digit is written, its line is as wide as in the training data."""
    inks = [as_character([stroke * scale for stroke in DIGITS[2]], pen=8).mean() for scale in (1.0, 2.0, 4.0)]
    assert max(inks) - min(inks) < 0.1 * max(inks)


def test_a_sign_has_hard_edges_and_fills_the_picture():
    plus = as_sign(OPERATORS["+"], pen=3)
    assert set(np.unique(plus)) == {0, 255}
    assert plus.any(axis=1).sum() >= 27
    assert plus.any(axis=0).sum() >= 27


def probabilities(*symbols: dict[str, float]) -> np.ndarray:
    rows = np.full((len(symbols), len(CLASSES)), 1e-6)
    for row, symbol in zip(rows, symbols, strict=True):
        for name, share in symbol.items():
            row[CLASSES.index(name)] = share
    return rows / rows.sum(axis=1, keepdims=True)


def read(*symbols, signs=None, lean=None, low=None):
    none = [0.0] * len(symbols)
    return read_line(
        Answers(probabilities(*symbols), probabilities(*(signs or symbols)), lean or none, low or none), CLASSES
    )


def test_a_network_that_knows_letters_only_reads_words():
    shares = np.array([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1]])
    reading = read_line(Answers(shares, shares, [0.0, 0.0], [0.0, 0.0]), ["A", "B", "I"])
    assert (reading.text, reading.value) == ("IA", "")


def test_lookalikes_are_read_as_digits_where_that_makes_a_sum():
    reading = read({"I": 0.7, "1": 0.3}, {"Z": 0.9, "2": 0.1}, {"plus": 1}, {"O": 0.6, "0": 0.4})
    assert (reading.text, reading.value) == ("12+0", "12")
    assert reading.classes == ("1", "2", "plus", "0")


def test_a_plus_that_looks_like_a_t_is_known_by_its_picture_as_a_sign():
    symbols = [{"3": 1}, {"t": 0.99}, {"4": 1}]
    assert read(*symbols, signs=[{"3": 1}, {"plus": 1}, {"plus": 1}]).value == "7"
    assert read(*symbols, signs=[{"3": 1}, {"t": 1}, {"plus": 1}]).text == "3t4"


def test_a_bar_is_a_one_or_a_slash_as_it_leans():
    symbols = [{"8": 1}, {"1": 0.7, "slash": 0.3}, {"L": 0.9}]
    assert read(*symbols).value == "811"
    assert read(*symbols, lean=[0, 0.5, 0.1]).text == "8/1"
    assert read(*symbols, lean=[0, -0.5, 0.1]).text == "811"


def test_the_lean_of_a_stroke():
    slash, backslash = np.array([[9.0, 0], [0, 10]]), np.array([[0.0, 0], [9, 10]])
    assert [part([stroke], pen=1)[0].lean for stroke in (slash, slash[::-1], backslash)] == [0.9, 0.9, -0.9]
    assert np.isfinite(part([np.array([[3.0, 3.0]])], pen=1)[0].lean)


def test_words_stay_words():
    reading = read({"C": 0.9}, {"A": 0.9, "4": 0.001}, {"t": 0.8, "plus": 0.2})
    assert (reading.text, reading.value, reading.trouble) == ("CAt", "", "")


def test_signs_without_a_digit_are_no_sum():
    assert read({"plus": 1}, {"minus": 1}).text == "+−"
    assert read({"dot": 1}).value == ""


def test_a_cross_between_numbers_multiplies_and_a_dot_depends_on_its_height():
    assert read({"3": 1}, {"X": 0.9}, {"4": 1}).value == "12"
    assert read({"3": 1}, {"dot": 1}, {"4": 1}).value == "12"
    assert read({"3": 1}, {"dot": 1}, {"5": 1}, low=[False, True, False]).value == "3.5"


@pytest.mark.parametrize(
    ("names", "trouble"), [(["9", "minus"], "missing"), (["plus", "plus", "3", "plus"], "missing")]
)
def test_what_has_no_value_says_why(names, trouble):
    reading = read(*({name: 1.0} for name in names))
    assert reading.value == ""
    assert trouble in reading.trouble


def test_a_division_by_zero_says_so():
    reading = read({"9": 1}, {"slash": 1}, {"0": 1}, lean=[0, 0.6, 0])
    assert (reading.value, reading.trouble) == ("", "nothing can be divided by zero")


def test_lookalikes_are_counted_apart():
    classes = ["0", "O", "1", "I", "4"]
    labels = np.array([0, 0, 1, 1, 2, 3, 4, 4])
    answers = np.array([0, 1, 1, 4, 3, 3, 4, 0])
    found = measure_lookalikes(labels, answers, classes)
    assert found["with"]["right"] == 4
    assert found["forgiven"]["right"] == 6, "0 → O and 1 → I"
    assert (found["without"]["right"], found["without"]["images"]) == (1, 2)
    groups = {"".join(group["classes"]): group for group in found["groups"]}
    assert set(groups) == {"0O", "1I"}
    assert groups["0O"]["confusions"] == {"0 → O": 1}
    assert (groups["0O"]["images"], groups["0O"]["right"]) == (4, 2)
    parts = measure_parts(labels, answers, 6)
    assert (parts["characters"]["right"], parts["symbols"]["right"]) == (3, 1)
    text = "\n".join(as_lines({"parts": parts, "lookalikes": found}))
    assert "75.00%" in text
    assert "0/O" in text


def test_without_any_other_class_or_symbol():
    labels = np.array([0, 1])
    found = measure_lookalikes(labels, labels, ["0", "O"])
    assert found["without"] is None
    assert "symbols" not in measure_parts(labels, labels, 2)
    assert as_lines({"parts": measure_parts(labels, labels, 2), "lookalikes": found})
