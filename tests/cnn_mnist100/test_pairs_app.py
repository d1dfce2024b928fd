"""The demo of cnn_mnist100: a free-hand number is parted into its digits; handlers as plain functions; the pages."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image
from tiny_pairs import NOTICE, make_run, some_pictures
from visiting import ask_at_once

from cnn_mnist100 import app
from cnn_mnist100.drawing import example, number_from_photo, number_from_strokes, part_strokes
from cnn_mnist100.trained import load_reader
from core.demo.examples import DIGITS
from core.demo.raster import draw, rasterise
from core.demo.strokes import as_json
from core.errors import UserError

NUMBERS = (*range(0, 100, 7), 11, 44, 55, 71, 74, 77)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def recogniser(run):
    return app.NumberRecogniser(load_reader(str(run)))


def digits_of(number: int) -> list[np.ndarray]:
    return [rasterise(DIGITS[digit]) for digit in divmod(number, 10)]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_drawing_is_parted_into_its_digits(number):
    np.testing.assert_array_equal(number_from_strokes(example(number)), np.hstack(digits_of(number)))


@pytest.mark.parametrize("number", NUMBERS)
def test_size_place_and_order_of_the_strokes_do_not_matter(number):
    small_and_late = [stroke * 0.37 + np.array([31.0, 7.0]) for stroke in reversed(example(number))]
    left, right = part_strokes(small_and_late)
    assert (len(left), len(right)) == tuple(len(DIGITS[digit]) for digit in divmod(number, 10))


@pytest.mark.parametrize("overlap", [20, 24])
def test_digits_that_overlap_a_little_are_still_two(overlap):
    """The 4 ends at 77 and the second digit begins there or before."""
    shifted = [stroke + np.array([77 - 24 - overlap + 20.0, 0]) for stroke in DIGITS[8]]
    left, right = part_strokes([*DIGITS[4], *shifted])
    assert (len(left), len(right)) == (2, 1)


@pytest.mark.parametrize("digit", range(10))
def test_one_digit_is_not_yet_a_number(digit):
    assert part_strokes(DIGITS[digit]) is None
    assert not number_from_strokes(DIGITS[digit]).any()
    assert part_strokes([]) is None


def test_digits_written_in_one_go_are_cut_between_them():
    joined = np.concatenate([DIGITS[2][0], DIGITS[3][0] + np.array([62, 0])])
    left, right = part_strokes([joined])
    assert max(piece[:, 0].max() for piece in left) <= min(piece[:, 0].min() for piece in right)
    picture = number_from_strokes([joined])
    for half, digit in zip(np.hsplit(picture, 2), digits_of(23), strict=True):
        assert np.abs(half.astype(float) - digit).mean() < 30


def photo_of(number: int) -> np.ndarray:
    """Dark ink on light paper, (H, W)."""
    ink = draw(example(number), pen=1.2, box=24)
    return (235 - 0.8 * np.pad(ink, 40)).astype(np.uint8)


@pytest.mark.parametrize("number", [23, 68, 10, 79])
def test_a_photograph_is_parted_into_its_digits(number):
    picture = number_from_photo(photo_of(number))
    assert (picture.shape, picture.dtype) == ((28, 56), np.uint8)
    for half, digit in zip(np.hsplit(picture, 2), digits_of(number), strict=True):
        likeness = np.corrcoef(half.ravel(), digit.ravel())[0, 1]
        assert likeness > 0.75


def test_an_empty_photograph_is_black_and_told(recogniser, tmp_path):
    assert not number_from_photo(np.full((60, 100), 230, np.uint8)).any()
    Image.new("L", (100, 60), 230).save(tmp_path / "photo.png")
    answer, maps = app.on_photo(recogniser, str(tmp_path / "photo.png"))
    assert "nothing to see" in answer
    assert not maps


def test_predict_is_the_networks_answer_and_contributions_are_of_its_pixels(recogniser):
    (picture,) = some_pictures(1)
    prediction = recogniser.predict(picture)
    logits = recogniser.network.forward(recogniser.prepare(picture[None]))[0]
    np.testing.assert_allclose(prediction.probabilities, np.exp(logits) / np.exp(logits).sum(), rtol=1e-4)
    assert prediction.contribution.shape == (28, 56)
    assert not prediction.contribution[picture == 0].any(), "pixels without ink say nothing"


def test_a_drawing_is_answered_with_probabilities_pictures_and_feature_maps(recogniser):
    answer, maps = app.on_drawing(recogniser, as_json(example(42)))
    assert answer.count("bn-fill") == 3
    assert answer.count("data:image/png") == 2
    assert maps.count("data:image/png") == 2, "one for each convolution"
    assert "Bright where its 4 filters find something" in maps


def test_visitors_at_the_same_time_do_not_mix(recogniser, tmp_path):
    """Some draw and some show photographs; both get answers, explanations and feature maps."""
    for number in (24, 68):
        Image.fromarray(photo_of(number)).save(tmp_path / f"{number}.png")

    def answer(number):
        photo = tmp_path / f"{number}.png"
        if photo.exists():
            return "".join(app.on_photo(recogniser, str(photo)))
        return "".join(app.on_drawing(recogniser, as_json(example(number))))

    assert ask_at_once(answer, [24, 35, 68, 91], rounds=4) == []


@pytest.mark.parametrize("value", ["", None, "[]", "[[]]", as_json(DIGITS[5])])
def test_less_than_two_digits_are_an_invitation(recogniser, value):
    answer, maps = app.on_drawing(recogniser, value)
    assert "Write two digits" in answer
    assert maps == ""


@pytest.mark.parametrize("value", ["[" * 5000, 7, "[[[1e999,0]]]", '{"a":1}', "<script>", b"x"])
def test_a_hostile_drawing_is_a_line_of_text(recogniser, value):
    answer, _ = app.on_drawing(recogniser, value)
    assert "bn-error" in answer
    assert "<script" not in answer


def test_photographs_are_answered(recogniser, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(photo_of(68)).save(path)
    assert "bn-fill" in app.on_photo(recogniser, str(path))[0]
    assert "Write two digits" in app.on_photo(recogniser, None)[0]
    path.write_text("no picture")
    assert "bn-error" in app.on_photo(recogniser, str(path))[0]


def test_the_page_shows_the_notice_or_how_to_begin(run, tmp_path):
    """In a process of its own, because Gradio leaves sockets open."""
    if find_spec("gradio") is None:
        pytest.skip("Gradio is not installed")
    code = (
        "from pathlib import Path; from cnn_mnist100 import app, trained\n"
        f"print(app.make_demo(app.Settings(run={str(run)!r})).config)\n"
        f"trained.PROJECT = Path({str(tmp_path)!r}) / 'cnn_mnist100'\n"
        "print('EMPTY PAGE', app.make_demo(app.Settings()).config)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=app.PROJECT.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    full, empty = done.stdout.split("EMPTY PAGE")
    assert NOTICE in full
    assert "convolutions 3x3 of 4-8 filters" in full
    assert "python cnn_mnist100/training.py" in empty


def test_a_run_that_was_asked_for_and_is_not_there_is_a_mistake():
    with pytest.raises(UserError, match="no run 'gone'"):
        app.make_demo(app.Settings(run="gone"))
