"""The demo of cifar: its handlers as plain functions, and its pages."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image
from tiny_cifar import CLASSES, NOTICE, TINY, make_archive, make_run, pictures
from visiting import ask_at_once

from cifar import app, test_model, trained
from cifar.model import Architecture
from cifar.trained import load_classifier
from core.errors import UserError

PICTURE = pictures(12)[0][3]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(params=TINY)
def explainer(request, tmp_path):
    return app.Explainer(load_classifier(str(make_run(tmp_path / "run", TINY[request.param]))))


def test_a_picture_is_answered_and_explained(explainer, tmp_path):
    Image.fromarray(PICTURE).resize((320, 240)).save(tmp_path / "photo.jpg")
    answer = app.on_picture(explainer, str(tmp_path / "photo.jpg"))
    assert answer.count('class="bn-row"') == 3
    assert answer.count("<img") == 4
    for title in ("What the network sees", "Where it sees", "What it leans on", "What would change its mind"):
        assert title in answer


def test_explanations_do_not_change_the_answer(explainer):
    """The copies that explain share the weights, and may leave nothing behind."""
    assert explainer.answer(PICTURE) == explainer.answer(PICTURE)


def test_visitors_at_the_same_time_do_not_mix(explainer):
    images = pictures(12)[0]
    assert ask_at_once(lambda n: app.on_example(explainer, images, f"{n}/1"), range(3), rounds=2) == []


def test_the_first_layer_is_shown(explainer):
    shown = explainer.filters()
    assert "32 × 32" in shown if explainer.classifier.architecture.model == "mlp" else "3 × 3" in shown
    assert shown.count("<img") == 1


def test_an_example_and_nonsense(run):
    explainer = app.Explainer(load_classifier(str(run)))
    images = pictures(12)[0]
    assert "bn-top" in app.on_example(explainer, images, "3/1")
    for nonsense in (None, "12/1", "-1/1", "x" * 100, {"a": 1}, "1e3"):
        assert "there is no such example" in app.on_example(explainer, images, nonsense)


def test_no_picture_yet_and_a_file_that_is_none(run, tmp_path):
    explainer = app.Explainer(load_classifier(str(run)))
    assert app.INVITATION in app.on_picture(explainer, None)
    (tmp_path / "x.png").write_text("<script>")
    assert "not a picture" in app.on_picture(explainer, str(tmp_path / "x.png"))


@pytest.mark.parametrize("colour", ["black", "white", "#6040FF"])
def test_a_picture_of_nothing_is_told_and_not_answered(run, tmp_path, colour):
    explainer = app.Explainer(load_classifier(str(run)))
    Image.new("RGB", (60, 40), colour).save(tmp_path / "x.png")
    assert "nothing to see" in app.on_picture(explainer, str(tmp_path / "x.png"))


def test_the_examples_are_those_of_the_report_on_these_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(app, "PROJECT", tmp_path)
    archive = make_archive(tmp_path / "cifar10", parts=("test",))
    folder = make_run(tmp_path / "run")
    assert app.read_examples(load_classifier(str(folder))) == {}
    training = make_archive(tmp_path / "archive" / "cifar10", parts=("train",))
    unmeasured = app.read_examples(load_classifier(str(folder)))
    assert list(unmeasured) == list(CLASSES)
    labels, images = (np.load(training / f"train_{kind}.npy") for kind in ("labels", "images"))
    np.testing.assert_array_equal(unmeasured["ship"], images[labels == CLASSES.index("ship")][0])
    test_model.test(test_model.Settings(run=str(folder), data=str(archive)))
    examples = app.read_examples(load_classifier(str(folder)))
    assert len(examples) == 10
    assert next(iter(examples)) == "airplane"
    assert {image.shape for image in examples.values()} == {(32, 32, 3)}


def test_weights_for_grey_images_are_refused(tmp_path):
    grey = Architecture("cnn", shape=(28, 28, 1), widths=(4, 4, 4), hidden=(8,))
    about = {"architecture": grey.to_dict(), "normalize": {"mean": [0.1], "std": [0.3]}, "classes": list(CLASSES)}
    folder = make_run(tmp_path / "run", grey, about=about)
    with pytest.raises(UserError, match="this demo shows colour pictures"):
        app.make_demo(app.Settings(run=str(folder)))


@pytest.mark.skipif(find_spec("gradio") is None, reason="needs Gradio")
def test_the_page_shows_the_notice_or_how_to_begin(run, tmp_path):
    """In a process of its own, because Gradio leaves sockets open."""
    code = (
        "from pathlib import Path; from cifar import app, trained\n"
        f"print(app.make_demo(app.Settings(run={str(run)!r})).config)\n"
        f"trained.PROJECT = Path({str(tmp_path)!r}) / 'cifar'\n"
        "print('EMPTY PAGE', app.make_demo(app.Settings()).config)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=app.PROJECT.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    full, empty = done.stdout.split("EMPTY PAGE")
    assert NOTICE in full
    assert "Fast network of 8-8-16 filters" in full
    assert "What the first layer looks for" in full
    assert "python cifar/training.py" in empty


def test_a_wrong_run_ends_with_code_2(tmp_path):
    command = [sys.executable, app.__file__, "--run", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_prepared_pictures_are_those_of_training(run):
    """The demo and the training share one preparation."""
    classifier = load_classifier(str(run))
    prepared = trained.prepare(classifier, PICTURE[None])
    np.testing.assert_allclose(prepared, (PICTURE[None] / 255 - 0.5) / 0.25, rtol=1e-5, atol=1e-5)
