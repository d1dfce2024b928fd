"""The pieces of the page: what they show, and that no text in them becomes markup."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from core.demo import cards
from core.demo.picks import picked
from core.errors import UserError

EVIL = "<script>alert('1')</script>\"&"
REPORT = {
    "accuracy": {"value": 0.9832, "low": 0.9805, "high": 0.98541},
    "images": 10000,
    "dataset": "MNIST",
    "date": "2026-11-21T01:02:03+00:00",
}


def test_answers_are_the_most_probable_classes_in_order():
    text = cards.answers(["a", "b", "c", "d"], np.array([0.1, 0.55, 0.05, 0.3]))
    assert re.findall(r'bn-name">(\w)<', text) == ["b", "d", "a"]
    assert re.findall(r"width: ([\d.]+)%", text) == ["55.0", "30.0", "10.0"]
    assert 'bn-top">b<' in text


@pytest.mark.parametrize(("probability", "shown"), [(0.99949, "99.9%"), (0.9996, "&gt; 99.9%"), (1.0, "100.0%")])
def test_almost_sure_is_not_shown_as_sure(probability, shown):
    assert f'bn-percent">{shown}<' in cards.answers(["a", "b"], np.array([probability, 1 - probability]), top=1)


@pytest.mark.parametrize(
    ("count", "layout"), [(1, "bn-pictures bn-one"), (2, "bn-pictures"), (3, "bn-pictures bn-three")]
)
def test_pictures_fill_their_card_whatever_their_number(count, layout):
    assert f'<div class="{layout}">' in cards.pictures(*[(np.zeros((2, 2), np.uint8), "t", "x")] * count)


@pytest.mark.parametrize(
    "html",
    [
        cards.heading(EVIL, EVIL),
        cards.banner(EVIL),
        cards.answers([EVIL, "b"], np.array([0.7, 0.3])),
        cards.message(EVIL, "error"),
        cards.pictures((np.zeros((2, 2), np.uint8), EVIL, EVIL)),
        cards.model_facts(REPORT | {"dataset": EVIL}, {EVIL: EVIL}),
        cards.no_weights(EVIL, [EVIL]),
    ],
)
def test_no_text_becomes_markup(html):
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert html.count("<div") == html.count("</div>")


def test_there_is_a_banner_only_for_a_notice():
    assert cards.banner("") == ""
    assert 'role="alert"' in cards.banner("SYNTHETIC data")


def test_a_picture_survives_its_way_into_the_page():
    picture = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    text = cards.pictures((picture, "Why", "Pixels {for} and {against}"))
    encoded = re.search(r"data:image/png;base64,([\w+/=]+)", text)
    assert encoded
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded[1])))), picture)
    assert 'bn-for">for<' in text


def test_facts_are_those_of_the_report_or_say_that_there_is_none():
    text = cards.model_facts(REPORT, {"Run": "mine"})
    for piece in ("98.32%", "98.0% – 98.5%", "10,000", "MNIST", "2026-11-21", "mine"):
        assert piece in text
    assert "Test songs" in cards.model_facts(REPORT, {}, "songs")
    assert "synthetic, not MNIST" in cards.model_facts(REPORT | {"origin": "synthetic"}, {"Run": "mine"})
    assert "test_model.py" in cards.model_facts(None, {"Run": "mine"})


def test_a_click_is_the_index_it_names():
    assert picked("3/17", 10) == 3


@pytest.mark.parametrize("value", [None, 3, "", "/", "10/1", "-1/1", "²/1", "1e1", "9" * 5000, ["1"], "x/1", "\x00"])
def test_anything_else_is_no_click(value):
    with pytest.raises(UserError, match="no such example"):
        picked(value, 10)
