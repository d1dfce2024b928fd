"""The running demo of music_cuda: asked by programs, and used in a real browser."""

from __future__ import annotations

import pytest
from browsing import ask, calling, check_hostile_files, check_telephone, endpoints, served
from tiny_music import RATE, make_archive, make_run, tone

from music_cuda import app
from music_cuda.table import GENRES

pytest.importorskip("gradio")
soundfile = pytest.importorskip("soundfile", reason='needs librosa: pip install -e ".[audio]"')
pytest.importorskip("librosa")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("run"))
    archive = make_archive(tmp_path_factory.mktemp("archive") / "gtzan", parts=("train",))
    with served(app, "--run", run, "--dataset", archive) as address:
        yield address


@pytest.fixture
def song(tmp_path):
    soundfile.write(tmp_path / "song.wav", tone(2.0), RATE)
    return tmp_path / "song.wav"


def test_programs_get_the_answer(address, song):
    from gradio_client import handle_file

    with calling(address) as client:
        assert endpoints(client) == {"/predict", "/predict_sliders", "/typical"}
        heard = client.predict(handle_file(song), api_name="/predict")
        assert heard.count("bn-row") == app.SHOWN
        assert 'alt="Spectrogram"' in heard
        *positions, typical = client.predict("metal", api_name="/typical")
        assert typical.count("bn-row") == app.SHOWN
        assert client.predict("metal", *positions, api_name="/predict_sliders") == typical
    assert app.INVITATION in ask(address, None)


def test_programs_cannot_disturb_it(address, tmp_path):
    check_hostile_files(address, "predict", "wav", tmp_path)
    for genre in ("polka", None, 7, ["metal"], {"a": 1}):
        answer = ask(address, genre, *[50.0] * 8, api_name="predict_sliders")
        assert answer is None or "choose a genre" in answer, genre
        answer = ask(address, genre, api_name="typical")
        assert answer is None or "choose a genre" in answer[-1], genre
    for position in (None, "50", True, [1], -1e9, 1e300):
        answer = ask(address, "metal", *[50.0] * 7, position, api_name="predict_sliders")
        assert answer is None or "leave the sliders" in answer, position
    assert ask(address, "metal", *[50.0] * 8, api_name="predict_sliders").count("bn-row") == app.SHOWN


def test_a_visit(page, song):
    page.locator("#audio input[type=file]").first.set_input_files(song)
    page.locator("#answer img[alt=Spectrogram]").wait_for()
    assert page.locator("#answer .bn-top").inner_text() in GENRES
    assert page.locator("#answer .bn-row").count() == app.SHOWN

    page.get_by_role("tab", name="Sliders").click()
    page.locator("#genre input").click()
    page.get_by_role("option", name="metal").click()
    page.locator("#answer img[alt=Spectrogram]").wait_for(state="detached")
    before = page.locator("#answer").inner_html()
    page.locator("#tempo input[type=range]").focus()
    page.keyboard.press("Home")
    page.wait_for_function("before => document.querySelector('#answer').innerHTML != before", arg=before)
    check_telephone(page)
