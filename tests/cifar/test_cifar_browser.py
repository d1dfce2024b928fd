"""The running demo of cifar: asked by programs, and used in a real browser."""

from __future__ import annotations

import pytest
from browsing import HOSTILE_DRAWINGS, ask, calling, check_hostile_files, check_telephone, endpoints, served
from PIL import Image
from tiny_cifar import make_archive, make_run, pictures

from cifar import app, test_model

pytest.importorskip("gradio")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    run = make_run(folder / "run")
    archive = make_archive(folder / "cifar10", parts=("test",))
    test_model.test(test_model.Settings(run=str(run), data=str(archive)))  # it saves the examples
    with served(app, "--run", run) as address:
        yield address


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(pictures(12)[0][5]).resize((200, 150)).save(path)
    return path


def test_programs_get_the_answer_and_its_explanation(address, photo):
    from gradio_client import handle_file

    with calling(address) as client:
        assert endpoints(client) == {"/predict", "/example"}
        for answer in (
            client.predict(handle_file(photo), api_name="/predict"),
            client.predict("3/1", api_name="/example"),
        ):
            assert answer.count('class="bn-row"') == 3
            assert answer.count("data:image/png") == 4
    assert app.INVITATION in ask(address, None)


def test_programs_cannot_disturb_it(address, tmp_path):
    for value in (*HOSTILE_DRAWINGS, "10/1", "-1/1", "1" * 10_000 + "/1"):
        assert "there is no such example" in ask(address, value, api_name="example")
    check_hostile_files(address, "predict", "png", tmp_path)
    assert "bn-top" in ask(address, "9/1", api_name="example")


def test_an_example_is_answered_and_explained(page):
    assert page.locator("#picks button").count() == 10
    page.get_by_role("button", name="Example: automobile").click()
    page.locator("#answer .bn-top").wait_for()
    assert page.locator("#answer .bn-row").count() == 3
    assert page.locator("#answer img").count() == 4
    assert page.locator("#filters img").count() == 1
    check_telephone(page)


def test_a_picture_is_uploaded(page, photo):
    page.locator("#photo input[type=file]").set_input_files(photo)
    page.locator("#answer .bn-top").wait_for()
    page.get_by_text("Your picture as 32 × 32 pixels").wait_for()


def test_a_damaged_picture_is_answered_with_a_line(page, tmp_path):
    (tmp_path / "photo.png").write_bytes(b"no picture")
    page.locator("#photo input[type=file]").set_input_files(tmp_path / "photo.png")
    page.get_by_text("this file is not a picture that can be read").wait_for()
