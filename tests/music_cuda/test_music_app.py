"""The demo: its handlers as plain functions, the sliders' songs, and the page, also over HTTP."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from tiny_music import NOTICE, RATE, make_archive, make_run, tone
from visiting import ask_at_once

from core.errors import UserError
from music_cuda import app
from music_cuda.model import Architecture
from music_cuda.sliders import COLUMNS, SLIDERS, Mixer
from music_cuda.songs import load_songs
from music_cuda.table import FEATURES, GENRES
from music_cuda.trained import Judge, listen, load_listener
from music_cuda.why import in_words, reasons


@pytest.fixture(scope="module")
def listener(tmp_path_factory):
    return load_listener(str(make_run(tmp_path_factory.mktemp("run"))))


@pytest.fixture
def judge(listener):
    return Judge(listener)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The training songs alone: whoever opens the test songs fails."""
    return make_archive(tmp_path_factory.mktemp("archive") / "gtzan", parts=("train",))


@pytest.fixture(scope="module")
def known(archive):
    return load_songs(str(archive))


@pytest.fixture(scope="module")
def mixer(known):
    return Mixer(known)


# -- sliders ----------------------------------------------------------------------------------------------------------


def test_sliders_are_features_of_the_table():
    assert len(SLIDERS) == 8
    assert set(SLIDERS) <= set(FEATURES)


def test_a_genres_typical_song_is_one_of_its_own_and_stands_where_its_features_are(mixer, known):
    for k, genre in enumerate(GENRES):
        row = mixer.typical[genre]
        assert known.labels[row] == k
        song = mixer.song(genre, mixer.positions(genre))
        spread = known.features.std(axis=0)
        np.testing.assert_allclose(song / spread, known.features[row] / spread, atol=0.05)


def test_a_slider_moves_its_feature_through_all_songs_and_nothing_else(mixer, known):
    positions = mixer.positions("jazz")
    for place, column in enumerate(COLUMNS):
        low, middle, high = (
            mixer.song("jazz", [*positions[:place], position, *positions[place + 1 :]]) for position in (-5, 50, 1000)
        )
        assert low[column] == known.features[:, column].min()
        assert high[column] == known.features[:, column].max()
        assert middle[column] == pytest.approx(np.median(known.features[:, column]))
        others = np.delete(np.arange(len(FEATURES)), column)
        np.testing.assert_array_equal(low[others], high[others])


# -- answers ----------------------------------------------------------------------------------------------------------


def test_sliders_are_answered(judge, known, mixer):
    *positions, html = app.on_genre(judge, known, mixer, "metal")
    assert positions == mixer.positions("metal")
    assert html == app.on_sliders(judge, known, mixer, "metal", *positions)
    assert html.count("bn-row") == app.SHOWN
    assert "Why " in html
    assert html.count("<tr>") == 6
    assert "Most alike among the training songs" in html
    assert "train.0" in html


def test_a_reason_is_what_the_answer_would_lose_with_an_average_value(judge, known):
    song = known.features[3]
    listener = judge.listener
    answer = listen(listener, song[None])[0]
    found = reasons(judge, song)
    gains = [abs(reason.gain) for reason in found]
    assert gains == sorted(gains, reverse=True)
    for feature, gain in found:
        other = song.copy()
        other[feature] = listener.normalize.mean[feature]
        assert gain == pytest.approx(answer.max() - listen(listener, other[None])[0][answer.argmax()], abs=1e-6)
    everything = reasons(judge, song, len(FEATURES))
    assert sorted(reason.feature for reason in everything) == list(range(len(FEATURES)))


def test_an_average_song_has_no_reasons(judge):
    average = np.array(judge.listener.normalize.mean)
    assert all(reason.gain == 0 for reason in reasons(judge, average))


def test_every_feature_has_a_name_of_its_own_for_people():
    names = [in_words(feature) for feature in FEATURES]
    assert len(set(names)) == len(FEATURES)
    assert not any("_" in name or "mfcc" in name for name in names)


@pytest.mark.parametrize("genre", ["polka", None, 3, ["metal"], {"a": 1}])
def test_a_genre_that_is_none_is_one_line(judge, known, mixer, genre):
    assert "choose a genre" in app.on_sliders(judge, known, mixer, genre, *[50.0] * 8)
    assert "choose a genre" in app.on_genre(judge, known, mixer, genre)[-1]


@pytest.mark.parametrize("position", [None, "50", float("nan"), float("inf"), True, [1]])
def test_a_position_that_is_no_number_is_one_line(judge, known, mixer, position):
    assert "leave the sliders" in app.on_sliders(judge, known, mixer, "rock", *[50.0] * 7, position)


EVERYTHING = Architecture((8, 4), normal_scores=True, batch_norm=True, dropout=0.3, members=3)


@pytest.mark.parametrize("architecture", [Architecture((32, 16)), EVERYTHING], ids=str)
def test_visitors_at_the_same_time_do_not_mix(tmp_path, known, mixer, architecture):
    judge = Judge(load_listener(str(make_run(tmp_path / "run", architecture))))
    wrong = ask_at_once(lambda genre: app.on_genre(judge, known, mixer, genre)[-1], GENRES[:4])
    assert wrong == []


@pytest.mark.parametrize("architecture", [Architecture((32, 16)), EVERYTHING], ids=str)
def test_a_judge_answers_as_the_network(tmp_path, known, architecture):
    listener = load_listener(str(make_run(tmp_path / "run", architecture)))
    judge, songs = Judge(listener), known.features[:20]
    for _ in range(6):  # from some time on, what a frozen network does is only repeated
        np.testing.assert_allclose(judge.listen(songs), listen(listener, songs), rtol=1e-4, atol=1e-6)


def test_names_of_songs_are_escaped(listener, known):
    odd = known._replace(names=["<script>x</script>"] * len(known.names))
    html = app.songs_alike(listener, odd, known.features[0])
    assert "<script>" not in html
    assert app.songs_alike(listener, None, known.features[0]) == ""


def test_sound_is_answered_with_its_spectrogram(judge, known, tmp_path):
    soundfile = pytest.importorskip("soundfile", reason='needs librosa: pip install -e ".[audio]"')
    pytest.importorskip("librosa")
    soundfile.write(tmp_path / "song.wav", tone(2.0), RATE)
    html = app.on_audio(judge, known, str(tmp_path / "song.wav"))
    assert html.count("bn-row") == app.SHOWN
    assert 'alt="Spectrogram"' in html
    assert "data:image/png;base64," in html
    (tmp_path / "evil<b>.wav").write_bytes(b"RIFF")
    wrong = app.on_audio(judge, known, str(tmp_path / "evil<b>.wav"))
    assert "no sound file that can be read" in wrong
    assert "<b>" not in wrong


def test_no_sound_is_an_invitation(judge):
    assert app.INVITATION in app.on_audio(judge, None, None)


# -- the page ---------------------------------------------------------------------------------------------------------


PAGES = """
from pathlib import Path
from core.errors import UserError
from music_cuda import app, trained
def none():
    raise UserError("reading sound needs librosa")
run, archive, empty = {places}
print(app.make_demo(app.Settings(run=run, dataset=archive)).config)
app.require_librosa = none
print("BARE", app.make_demo(app.Settings(run=run, dataset=empty)).config)
trained.PROJECT = Path(empty)
print("EMPTY", app.make_demo(app.Settings()).config)
"""


def test_the_page_shows_what_there_is_and_says_what_is_missing(listener, archive, tmp_path):
    """In a process of its own, because Gradio leaves sockets open."""
    if find_spec("gradio") is None:
        pytest.skip('needs Gradio: pip install -e ".[demo]"')
    places = (str(listener.weights.parent), str(archive), str(tmp_path / "nothing"))
    code = PAGES.format(places=places)
    done = subprocess.run([sys.executable, "-c", code], cwd=app.PROJECT.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    whole, rest = done.stdout.split("BARE")
    bare, empty = rest.split("EMPTY")
    assert NOTICE in whole
    assert "perceptron 57-8-4-10" in whole
    assert all(label in whole for label in SLIDERS.values())
    assert "Reading sound needs librosa. The sliders work without it." in bare
    assert "The sliders need the training songs" in bare
    assert "No trained model yet" in empty
    assert "python music_cuda/training.py" in empty


def test_a_run_that_was_asked_for_and_is_not_there_is_a_mistake():
    with pytest.raises(UserError, match="no run 'gone'"):
        app.make_demo(app.Settings(run="gone"))


def test_songs_that_are_not_there_are_no_error(tmp_path):
    assert app.load_known(str(tmp_path / "nothing")) is None


def test_mistakes_end_in_one_line_and_exit_code_2(tmp_path):
    done = subprocess.run(
        [sys.executable, app.__file__, "--port", "99999"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
