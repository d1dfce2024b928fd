"""Photographs: the ink is found on shaded and grainy paper, and what is no picture is refused in a line."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from core.demo import upload
from core.demo.examples import DIGITS
from core.demo.raster import BOX, draw, rasterise
from core.errors import UserError


def photograph(digit: int, pen: float = 2.4, noise: float = 0.0, dark: bool = False) -> np.ndarray:
    """A digit in dark grey on light paper that is shaded from one corner to the other: uint8 (H, W)."""
    ink = np.pad(draw(DIGITS[digit], pen, oversampling=12), ((50, 90), (130, 60))) / 255
    y, x = np.mgrid[0 : 1 : ink.shape[0] * 1j, 0 : 1 : ink.shape[1] * 1j]
    grain = np.random.default_rng(digit).normal(0, 1, ink.shape) * noise
    picture = (170 + 60 * x - 40 * y) * (1 - 0.75 * ink) + grain
    return np.clip(255 - picture if dark else picture, 0, 255).astype(np.uint8)


def agreement(ours: np.ndarray, expected: np.ndarray) -> float:
    """The best correlation over shifts of a pixel, which rounding of the centre of mass may bring."""
    shifts = [np.roll(ours, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return max(float(np.corrcoef(shifted.ravel(), expected.ravel())[0, 1]) for shifted in shifts)


@pytest.mark.parametrize("digit", [1, 4, 8])
@pytest.mark.parametrize("case", [{}, {"noise": 8.0}, {"dark": True}])
def test_a_photographed_digit_looks_like_the_drawn_one(digit, case):
    assert agreement(upload.digit_of_photo(photograph(digit, **case)), rasterise(DIGITS[digit])) > 0.9


def test_thin_lines_are_thickened():
    thin = upload.digit_of_photo(photograph(2, pen=0.7))
    assert agreement(thin, rasterise(DIGITS[2])) > 0.8
    assert thin.sum() > 0.7 * rasterise(DIGITS[2]).sum()


def test_small_and_clean_pictures_pass_as_they_are():
    image = rasterise(DIGITS[5])
    assert agreement(upload.digit_of_photo(image), image) > 0.97


@pytest.mark.parametrize("noise", [0, 3])
def test_blank_paper_is_a_black_picture(noise):
    paper = np.random.default_rng(0).normal(200, noise, (300, 200)).clip(0, 255).astype(np.uint8)
    assert not upload.ink_of(paper).any()
    assert not upload.digit_of_photo(paper).any()
    assert not upload.fashion_style(np.full((300, 200), 200, np.uint8)).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 3)])
def test_tiny_pictures_do_no_harm(shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert upload.digit_of_photo(picture).shape == (28, 28)
    assert upload.fashion_style(picture).shape == (28, 28)


@pytest.mark.parametrize("ground", [255, 0])
def test_clothes_are_cropped_scaled_and_bright_on_black(ground):
    picture = np.full((400, 300), ground, np.uint8)
    picture[100:300, 120:180] = 90 if ground else 165
    result = upload.fashion_style(picture)
    assert np.flatnonzero(result.any(axis=1)).size == 28
    assert 7 <= np.flatnonzero(result.any(axis=0)).size <= 9
    assert result[14, 14] == pytest.approx(165, abs=8)
    assert BOX < 28


def save(tmp_path, picture: Image.Image, kind: str = "PNG", **options: object):
    path = tmp_path / "picture"
    picture.save(path, kind, **options)
    return path


def test_pictures_are_opened_upright_on_white_and_small(tmp_path):
    transparent = Image.new("RGBA", (300, 200), (0, 0, 0, 0))
    assert (upload.open_grey(save(tmp_path, transparent)) == 255).all()
    large = Image.new("RGB", (3000, 1000), (10, 200, 30))
    assert upload.open_grey(save(tmp_path, large, "JPEG")).shape == (160, 480)
    exif = Image.Exif()
    exif[0x0112] = 6  # lying on its side
    assert upload.open_grey(save(tmp_path, Image.new("L", (90, 30)), "JPEG", exif=exif)).shape == (90, 30)


def test_a_grey_picture_of_16_bits_keeps_its_shades(tmp_path):
    grey = np.random.default_rng(0).integers(10, 250, (60, 90), dtype=np.uint8)
    path = save(tmp_path, Image.fromarray(grey.astype(np.uint16) * 256 + 99))
    np.testing.assert_array_equal(upload.open_grey(path), grey)
    np.testing.assert_array_equal(upload.open_colour(path)[..., 1], grey)
    large = save(tmp_path, Image.fromarray(np.full((1000, 3000), 40_000, np.uint16)))
    assert upload.open_grey(large).shape == (160, 480)


@pytest.mark.parametrize("mode", ["1", "P"])
def test_thin_lines_survive_whatever_the_pixels_are(tmp_path, mode):
    ink = draw(DIGITS[3], pen=8, box=2000, oversampling=1)
    picture = Image.fromarray(np.pad(255 - ink, 200, constant_values=255))
    shades = upload.open_grey(save(tmp_path, picture))
    found = upload.open_grey(save(tmp_path, picture.convert(mode)))
    np.testing.assert_allclose(found, shades, atol=10)


def test_thin_lines_on_clean_paper_are_ink():
    page = np.pad(draw(DIGITS[3], pen=2, box=200, oversampling=1), 50)
    assert agreement(upload.digit_of_photo(255 - page), rasterise(DIGITS[3])) > 0.8


def bomb() -> bytes:
    content = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 50, "not a picture"),
        (b"GIF89a", "not a picture"),
        (bomb(), "more than 50 million pixels"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path, content, complaint):
    path = tmp_path / "upload"
    path.write_bytes(content)
    with pytest.raises(UserError, match=complaint):
        upload.open_grey(path)


def test_a_picture_that_ends_too_soon_is_refused(tmp_path):
    path = save(tmp_path, Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99), dtype=np.uint8)))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match="not a picture"):
        upload.open_grey(path)


def test_too_many_pixels_are_refused_before_they_are_read(tmp_path):
    with pytest.raises(UserError, match="50 million pixels"):
        upload.open_grey(save(tmp_path, Image.new("1", (8000, 7000))))
