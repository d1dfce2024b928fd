"""Drawings become what MNIST would have made of them, whatever their size, place and number of points."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from core.data.prepared import load_prepared
from core.demo.examples import DIGITS
from core.demo.raster import BOX, CENTRE, PEN, SIDE, draw, mnist_style, rasterise
from core.errors import UserError
from scripts.visit.tracing import trace

MNIST = Path(__file__).parents[2] / "mlp_mnist" / "archive" / "mnist"


def centre_of_mass(image: np.ndarray) -> np.ndarray:
    ink = image.astype(float)
    return np.array([ink.sum(axis=1) @ np.arange(SIDE), ink.sum(axis=0) @ np.arange(SIDE)]) / ink.sum()


def stroke_width(images: np.ndarray) -> np.ndarray:
    """Twice the area over the perimeter, where the perimeter is the total variation of the picture (N,)."""
    ink = np.pad(images.astype(float), ((0, 0), (1, 1), (1, 1)))
    down, right = np.diff(ink, axis=1)[:, :, :-1], np.diff(ink, axis=2)[:, :-1, :]
    return 2 * ink.sum(axis=(1, 2)) / np.hypot(down, right).sum(axis=(1, 2))


def extent(image: np.ndarray) -> int:
    return max(np.ptp(np.flatnonzero(image.any(axis=axis))) + 1 for axis in (0, 1))


@pytest.mark.parametrize("digit", range(10))
def test_a_digit_fills_the_box_and_is_centred_by_mass(digit):
    image = rasterise(DIGITS[digit])
    assert image.dtype == np.uint8
    assert image.shape == (SIDE, SIDE)
    assert extent(image) == BOX
    assert np.abs(centre_of_mass(image) - CENTRE).max() <= 0.5 + 1e-9
    assert image.max() == 255
    assert stroke_width(image[None])[0] == pytest.approx(PEN, rel=0.2)


@pytest.mark.parametrize("digit", [2, 5, 8])
def test_size_and_place_do_not_matter(digit):
    expected = rasterise(DIGITS[digit]).astype(int)
    for scale, x, y in ((0.05, 0, 0), (0.3, 200, 10), (3.0, -50, 7)):
        moved = [stroke * scale + [x, y] for stroke in DIGITS[digit]]
        assert np.abs(rasterise(moved) - expected).mean() < 1


def test_the_number_of_points_does_not_matter():
    few = [np.array([[0.0, 0.0], [100.0, 50.0], [0.0, 100.0]])]
    steps = np.linspace(0, 2, 401)
    many = [np.stack([np.interp(steps, range(3), few[0][:, axis]) for axis in (0, 1)], axis=1)]
    assert (draw(few) != draw(many)).mean() < 0.02


def test_proportions_are_kept():
    line = rasterise([np.array([[0.0, 0.0], [0.0, 50.0]])])
    rows, columns = np.flatnonzero(line.any(axis=1)), np.flatnonzero(line.any(axis=0))
    assert len(rows) == BOX
    assert len(columns) <= 4


def test_a_single_dot_is_a_small_dot_and_nothing_is_black():
    dot = draw([np.array([[5.0, 5.0]])])
    assert max(dot.shape) < 25
    assert rasterise([np.array([[5.0, 5.0]])]).any()
    assert not rasterise([]).any()
    assert not mnist_style(np.zeros((50, 30), np.uint8)).any()


def test_a_picture_of_mnist_itself_comes_back_unchanged():
    image = rasterise(DIGITS[3])
    np.testing.assert_array_equal(mnist_style(image), image)
    large = np.kron(image, np.ones((10, 10), np.uint8))
    assert np.abs(mnist_style(np.pad(large, ((31, 7), (2, 90)))).astype(int) - image).mean() < 3


@pytest.mark.parametrize("picture", [np.zeros((3, 3, 3), np.uint8), np.zeros((3, 3))])
def test_other_pictures_are_refused(picture):
    with pytest.raises(ValueError, match="uint8"):
        mnist_style(picture)


def images_of_mnist() -> np.ndarray:
    """The training images; the test is skipped where what has been prepared is not the whole of MNIST."""
    with suppress(UserError):
        prepared = load_prepared(MNIST, ["train_images"])
        if prepared.info["complete"]:
            return prepared.arrays["train_images"]
    pytest.skip("needs MNIST: python mlp_mnist/setup_data.py")


def test_traced_mnist_has_the_ink_of_mnist():
    """Mean ink, stroke width and the share of grey pixels of the first training images, traced and drawn again."""
    originals = images_of_mnist()[:300]
    drawn = np.stack([rasterise(trace(image)) for image in originals])
    assert drawn.mean() == pytest.approx(originals.mean(), rel=0.05)
    assert stroke_width(drawn).mean() == pytest.approx(stroke_width(originals).mean(), rel=0.05)
    grey = [((images > 0) & (images < 250)).mean() for images in (drawn, originals)]
    assert grey[0] == pytest.approx(grey[1], rel=0.1)
