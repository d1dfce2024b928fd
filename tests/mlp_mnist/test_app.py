"""The demo's handlers as plain functions, and, where Gradio is installed, the pages and the running server."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import requests
from browsing import ask, served
from PIL import Image
from tiny_run import NOTICE, make_archive, make_run
from visiting import ask_at_once

from core.demo.examples import DIGITS
from core.demo.page import read_report
from core.demo.raster import rasterise
from core.demo.strokes import as_json
from core.errors import UserError
from mlp_mnist import app, test_model, trained
from mlp_mnist.model import Architecture
from mlp_mnist.trained import load_classifier


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with its report, as training.py and test_model.py leave them."""
    folder = make_run(tmp_path_factory.mktemp("run"))
    archive = make_archive(tmp_path_factory.mktemp("archive") / "mnist")
    test_model.test(test_model.Settings(run=str(folder), data=str(archive)))
    return folder


@pytest.fixture
def recogniser(run):
    return app.make_recogniser(load_classifier(str(run), "mnist"))


def test_predict_is_the_networks_answer_at_test_time(recogniser):
    image = rasterise(DIGITS[7])
    prediction = recogniser.predict(image)
    logits = recogniser.network.forward(recogniser.prepare(image[None]))[0]
    np.testing.assert_allclose(prediction.probabilities, np.exp(logits) / np.exp(logits).sum(), rtol=1e-5)
    np.testing.assert_array_equal(prediction.image, image)
    assert prediction.contribution.shape == (28, 28)
    assert not prediction.contribution[image == 0].any(), "pixels without ink say nothing"
    again = recogniser.predict(image)
    np.testing.assert_array_equal(again.contribution, prediction.contribution)


def test_a_drawing_is_answered_with_the_top_three_and_two_pictures(recogniser):
    html = app.on_drawing(recogniser, as_json(DIGITS[3]))
    assert html.count("bn-fill") == 3
    assert html.count("data:image/png") == 2


@pytest.mark.parametrize("members", [1, 3])
def test_visitors_at_the_same_time_do_not_mix(tmp_path, members):
    run = make_run(tmp_path / "run", architecture=Architecture((64, 32), batch_norm=True, members=members))
    recogniser = app.make_recogniser(load_classifier(str(run), "mnist"))
    assert ask_at_once(lambda digit: app.on_drawing(recogniser, as_json(DIGITS[digit])), range(4)) == []


@pytest.mark.parametrize("value", ["", None, "[]", "[[]]"])
def test_an_empty_pad_is_an_invitation(recogniser, value):
    assert "Draw a digit" in app.on_drawing(recogniser, value)


@pytest.mark.parametrize("value", ["[" * 5000, 7, "[[[1e999,0]]]", '{"a":1}', "<script>", b"x"])
def test_a_hostile_drawing_is_a_line_of_text(recogniser, value):
    html = app.on_drawing(recogniser, value)
    assert "bn-error" in html
    assert "<script" not in html


@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist"])
def test_photographs_are_answered(recogniser, tmp_path, dataset):
    photo = tmp_path / "photo.png"
    Image.fromarray(255 - np.pad(np.kron(rasterise(DIGITS[2]), np.ones((5, 5), np.uint8)), 30)).save(photo)
    assert "bn-fill" in app.on_photo(recogniser, dataset, str(photo))
    assert "bn-error" not in app.on_photo(recogniser, dataset, None)
    photo.write_text("no picture")
    assert "bn-error" in app.on_photo(recogniser, dataset, str(photo))


@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist"])
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_photograph_of_nothing_is_told_and_not_answered(recogniser, tmp_path, dataset, grey):
    Image.new("L", (200, 300), grey).save(tmp_path / "photo.png")
    assert "nothing to see" in app.on_photo(recogniser, dataset, str(tmp_path / "photo.png"))


def test_examples_come_from_the_report_and_are_answered(recogniser, run):
    examples = app.read_examples(load_classifier(str(run), "mnist"))
    assert list(examples) == list("0123456789")
    images = np.stack(list(examples.values()))
    assert images.shape == (10, 28, 28)
    assert "bn-fill" in app.on_example(recogniser, images, "9/1")
    assert "bn-error" in app.on_example(recogniser, images, "10/1")


def test_a_report_on_other_weights_is_not_shown(tmp_path):
    run = make_run(tmp_path / "run")
    assert read_report(run / "best.safetensors") is None
    test_model.test(test_model.Settings(run=str(run), data=str(make_archive(tmp_path / "data"))))
    assert read_report(run / "best.safetensors")["images"] == 60
    make_run(run, notice="trained again")
    assert read_report(run / "best.safetensors") is None


def test_without_weights_the_page_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "PROJECT", tmp_path / "mlp_mnist")
    with pytest.raises(UserError) as none:
        load_classifier("", "fashion_mnist")
    assert "no model for fashion_mnist has been trained yet" in str(none.value)
    commands = app.plan(app.Settings(dataset="fashion_mnist")).commands()
    for command, script in zip(commands, ("setup_data.py", "training.py", "test_model.py"), strict=True):
        assert command == f"python mlp_mnist/{script} --dataset fashion_mnist"
    with pytest.raises(UserError, match="no run 'gone'"):
        app.make_demo(app.Settings(run="gone"))


EMPTY_PAGE = """
import sys
from pathlib import Path
from mlp_mnist import app, trained

trained.PROJECT = Path(sys.argv[1])
for component in app.make_demo(app.Settings(dataset="fashion_mnist")).config["components"]:
    print(component["props"].get("value"))
"""


def test_the_page_without_weights_shows_the_reason_and_the_commands(tmp_path):
    pytest.importorskip("gradio")
    command = [sys.executable, "-c", EMPTY_PAGE, str(tmp_path / "mlp_mnist")]
    environment = os.environ | {"PYTHONPATH": str(app.PROJECT.parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert "Clothes" in done.stdout, done.stderr
    assert "No model for fashion_mnist has been trained yet" in done.stdout
    assert all(command in done.stdout for command in app.plan(app.Settings(dataset="fashion_mnist")).commands())


def test_without_gradio_there_is_one_line_and_exit_code_2(tmp_path):
    (tmp_path / "gradio.py").write_text("raise ImportError('blocked by the test')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, app.__file__], capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr == 'error: the demos need Gradio: pip install -e ".[demo]"\n'


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_that_is_none_is_refused(port):
    with pytest.raises(UserError, match="--port"):
        app.Settings(port=port)


@pytest.fixture(scope="module")
def address(run):
    """The running demo, as a user starts it."""
    pytest.importorskip("gradio")
    with served(app, "--run", run) as address:
        yield address


def test_the_page_shows_the_notice_and_the_measured_accuracy(address, run):
    components = requests.get(f"{address}config", timeout=10).json()["components"]
    text = "\n".join(str(component["props"].get("value")) for component in components)
    assert NOTICE in text
    assert f"{read_report(run / 'best.safetensors')['accuracy']['value']:.2%}" in text
    assert "784-16-8-10" in text


def test_the_server_answers_and_serves_nothing_else(address):
    assert "bn-fill" in ask(address, as_json(DIGITS[5]))
    assert "bn-error" in ask(address, "[" * 5000)
    for path in ("/etc/passwd", str(app.PROJECT / "app.py"), "http://127.0.0.1:1/"):
        assert requests.get(f"{address}gradio_api/file={path}", timeout=10).status_code in (403, 404), path
    assert requests.get(f"{address}monitoring", timeout=10).status_code in (403, 404)


def test_a_taken_port_is_one_line_and_exit_code_2(address, run):
    port = address.rstrip("/").split(":")[-1]
    command = [sys.executable, app.__file__, "--run", str(run), "--port", port]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: cannot listen at 127.0.0.1:{port}")
    assert len(done.stderr.splitlines()) == 1
