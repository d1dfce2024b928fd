"""The running demo of two-digit numbers: asked by programs, and used in a real browser."""

from __future__ import annotations

import numpy as np
import pytest
from browsing import ask, calling, check_hostile_drawings, check_hostile_files, check_telephone, endpoints, served
from PIL import Image
from tiny_pairs import make_trained_run

from cnn_mnist100 import app
from cnn_mnist100.drawing import example
from core.demo.raster import draw
from core.demo.strokes import as_json
from scripts.visit.demos import settled, write

pytest.importorskip("gradio")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with served(app, "--run", make_trained_run(tmp_path_factory.mktemp("run"))) as address:
        yield address


def on_pad(number: int) -> list[np.ndarray]:
    """A number drawn by hand, across the pad."""
    return [stroke * 2.2 + np.array([120.0, 30.0]) for stroke in example(number)]


def test_programs_get_the_answer(address, tmp_path):
    from gradio_client import handle_file

    Image.fromarray(235 - np.pad(draw(example(23)), 40) // 2).save(tmp_path / "photo.png")
    with calling(address) as client:
        assert endpoints(client) == {"/predict", "/predict_photo"}
        for number in (19, 42, 70):
            answer, maps = client.predict(as_json(on_pad(number)), api_name="/predict")
            assert f'<div class="bn-top">{number}</div>' in answer
            assert maps.count("data:image/png") == 2, "one for each convolution"
        answer, _ = client.predict(handle_file(tmp_path / "photo.png"), api_name="/predict_photo")
        assert answer.count("bn-row") == 3


def test_programs_cannot_disturb_it(address, tmp_path):
    check_hostile_drawings(address, place=0)
    check_hostile_files(address, "predict_photo", "png", tmp_path)
    assert '<div class="bn-top">42</div>' in ask(address, as_json(on_pad(42)))[0]


def test_a_written_number_is_read(page, tmp_path):
    write(page, on_pad(42), app.PAD_WIDTH, app.PAD_HEIGHT)
    page.locator("#answer .bn-top", has_text="42").wait_for()
    settled(page)
    assert page.locator("#answer .bn-top").inner_text() == "42"
    assert page.locator("#maps img").count() == 2
    assert len(page.screenshot(path=tmp_path / "page.png")) > 10_000
    page.get_by_role("button", name="Example: 70").click()
    page.locator("#answer .bn-top", has_text="70").wait_for()
    check_telephone(page)
