"""The terminal tool: what it answers, corrections and what comes of them, recordings, and mistakes."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from mistakes import complaint_of
from tiny_music import RATE, make_archive, make_run, make_table, tone

from core.data.prepared import load_prepared
from core.errors import UserError
from core.training.outputs import Outputs
from music_cuda import classify, record, songs, trained, training
from music_cuda.classify import Session, Settings, as_bars, in_characters, training_settings
from music_cuda.settings import PRESETS
from music_cuda.table import FEATURES, GENRES, read_table

SONG = np.linspace(-1, 1, len(FEATURES))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder with songs and a run, in which a sound has the features SONG without librosa being asked."""
    for module in (songs, trained, training):
        monkeypatch.setattr(module, "PROJECT", tmp_path)
    monkeypatch.setattr(Outputs, "draw", lambda *_: None)
    monkeypatch.setattr(classify, "features_of", lambda sound: SONG * sound[0])
    monkeypatch.setattr(classify, "mel_decibels", lambda sound: -np.abs(np.outer(np.arange(20), np.arange(90))) / 30)
    monkeypatch.setattr(classify, "load_audio", read)
    monkeypatch.setattr(classify, "require_librosa", lambda: None)
    make_archive(tmp_path / "archive" / "gtzan", parts=("train",))
    make_run(tmp_path / "runs" / "tiny")
    return tmp_path


def read(path):
    """A sound file as far as these tests go."""
    if path.suffix != ".wav":
        raise UserError(f"{path.name} is no sound file")
    return np.full(2 * RATE, len(path.stem), np.float32)


def talk(project, monkeypatch, capsys, *lines):
    """What the tool says to these lines; the input then ends."""
    rest = iter(lines)

    def answer(_prompt):
        try:
            return next(rest)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", answer)
    classify.start(Settings(songs=project / "mine.csv"))
    assert next(rest, None) is None, "it stopped early"
    return capsys.readouterr().out


def test_a_file_is_judged_shown_and_compared(project, monkeypatch, capsys):
    told = talk(project, monkeypatch, capsys, "folder/abc.wav")
    assert "abc.wav, 2 s" in told
    assert all(f"  {genre:<10}" in told for genre in GENRES)
    assert "most alike: train.0" in told
    assert "NOTICE: SYNTHETIC data: made by a test" in told
    assert (project / "runs" / "tiny" / "heard" / "abc.png").stat().st_size > 1000


def test_it_compares_with_the_songs_that_the_network_was_trained_on(project, monkeypatch, capsys):
    others = {"train": [f"other.{number:05d}.wav" for number in range(200)]}
    make_archive(project / "archive" / "others", parts=("train",), songs=others)
    config = project / "runs" / "tiny" / "config.json"
    stored = json.loads(config.read_text())
    config.write_text(json.dumps(stored | {"settings": stored["settings"] | {"dataset": "others"}}))
    assert "most alike: other.0" in talk(project, monkeypatch, capsys, "abc.wav")


def test_a_correction_goes_into_the_table_and_training_learns_from_it(project, monkeypatch, capsys):
    told = talk(project, monkeypatch, capsys, "abc.wav", "is Jazz", "is metal", "abcd.wav", "is pop", "train")
    songs_of_mine = read_table(project / "mine.csv").songs
    assert songs_of_mine.names == ("abc.wav", "abcd.wav")
    assert [GENRES[label] for label in songs_of_mine.labels] == ["metal", "pop"], "the last word counts"
    np.testing.assert_array_equal(songs_of_mine.features, [3 * SONG, 4 * SONG])
    assert "trained with 2 further songs of mine.csv" in (project / "runs" / "tiny-mine" / "config.json").read_text()
    assert told.count("abcd.wav, 2 s") == 2, "the new network judges the last song again"
    assert "epoch 2/2" in told
    assert "57-8-4-10" in told


def test_training_again_keeps_the_name_and_the_prepared_songs_stay(project, monkeypatch, capsys):
    before = load_prepared(project / "archive" / "gtzan", verify=True).info["arrays"]
    talk(project, monkeypatch, capsys, "a.wav", "is rock", "train", "train")
    names = {path.name for path in (project / "runs").iterdir()}
    assert {"tiny", "tiny-mine"} <= names
    assert "tiny-mine-mine" not in names
    assert load_prepared(project / "archive" / "gtzan", verify=True).info["arrays"] == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("is jazz", "judge a song first"),
        ("train", "correct a song with `is GENRE` first"),
        ("nothing.txt", "nothing.txt is no sound file"),
        ("~nosuchuser/x.txt", "x.txt is no sound file"),  # which pathlib cannot expand
        ("record many", "a number of seconds, such as 30, and not 'many'"),
        ("record 900", "a recording takes 1 to 30 seconds, not 900"),
        ("record nan", "a recording takes 1 to 30 seconds, not nan"),
    ],
)
def test_a_mistake_costs_a_line_and_not_the_conversation(project, monkeypatch, capsys, line, message):
    told = talk(project, monkeypatch, capsys, line, "abc.wav")
    assert f"error: {message}" in told or ("error: " in told and message in told)
    assert "abc.wav, 2 s" in told


def test_a_picture_that_cannot_be_saved_costs_a_line_too(project, monkeypatch, capsys):
    (project / "runs" / "tiny" / "heard").write_text("in the way of the folder")
    told = talk(project, monkeypatch, capsys, "abc.wav", "quit")
    assert "error: cannot write" in told


def test_a_genre_that_is_none_is_refused(project, monkeypatch, capsys):
    assert "'polka' is none of blues" in talk(project, monkeypatch, capsys, "abc.wav", "is polka")
    assert not (project / "mine.csv").exists()


def test_a_broken_table_is_told_before_training(project, monkeypatch, capsys):
    make_table(project / "mine.csv", 3, extra=("broken",))
    assert "malformed" in talk(project, monkeypatch, capsys, "train")
    assert not (project / "runs" / "tiny-mine").exists()


def test_help_and_the_ways_to_leave(project, monkeypatch, capsys):
    told = talk(project, monkeypatch, capsys, "?", "", "quit")
    assert told.count("is GENRE") == 2


def test_without_the_prepared_songs_it_answers_all_the_same(project, monkeypatch, capsys):
    (project / "archive" / "gtzan" / "info.json").unlink()
    told = talk(project, monkeypatch, capsys, "abc.wav")
    assert "most alike" not in told
    assert "  rock" in told


def test_files_given_as_flags_are_judged_without_a_question(project, monkeypatch, capsys, tmp_path):
    from pathlib import Path

    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("asked"))
    classify.start(Settings(audio=(Path("a.wav"), Path("bc.wav"))))
    told = capsys.readouterr().out
    assert "a.wav, 2 s" in told
    assert "bc.wav, 2 s" in told


def test_a_file_that_cannot_be_judged_keeps_none_of_the_others_from_it(project, monkeypatch, capsys):
    from pathlib import Path

    assert classify.start(Settings(audio=(Path("a.txt"), Path("bc.wav")))) == 2
    out, complaint = capsys.readouterr()
    assert "bc.wav, 2 s" in out
    assert complaint == "error: a.txt is no sound file\n"


# -- recordings -------------------------------------------------------------------------------------------------------


class PortAudioError(Exception):
    pass


def microphone(monkeypatch, sound=None):
    def rec(frames, samplerate, channels, dtype, blocking):
        assert (samplerate, channels, dtype, blocking) == (RATE, 1, "float32", True)
        if sound is None:
            raise PortAudioError("no input device")
        return sound[:frames, None]

    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(rec=rec, PortAudioError=PortAudioError))


def test_a_recording_is_judged(project, monkeypatch, capsys):
    microphone(monkeypatch, tone(5.0))
    told = talk(project, monkeypatch, capsys, "record 2", "is country")
    assert "recording 2 s" in told
    assert read_table(project / "mine.csv").songs.names == ("recording",)


@pytest.mark.parametrize(
    ("sound", "message"), [(None, "cannot record: no input device"), (np.zeros(RATE * 2), "silent")]
)
def test_no_microphone_and_silence(monkeypatch, sound, message):
    microphone(monkeypatch, sound)
    with pytest.raises(UserError, match=message):
        record.record(2)


def test_without_sounddevice_the_command_that_installs_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(UserError, match=r'pip install -e "\.\[record\]"'):
        record.record(2)


# -- details ----------------------------------------------------------------------------------------------------------


def test_the_picture_in_characters_has_high_tones_above():
    decibels = np.full((128, 500), -60.0)
    decibels[:10] = 0  # low tones
    lines = in_characters(decibels).splitlines()
    assert len(lines) == classify.ROWS
    assert set(lines[-1].strip()) == {"@"}
    assert not lines[0].strip()
    assert len(in_characters(np.zeros((128, 1))).splitlines()) == classify.ROWS, "also of a single frame"


def test_bars_begin_with_the_most_probable():
    p = np.zeros(10)
    p[[4, 7]] = 0.25, 0.75
    first, second, *_ = as_bars(p).splitlines()
    assert first.split() == ["pop", "75.0%", "#" * 22]
    assert second.split()[0] == "hiphop"


def test_settings_of_a_run_that_cannot_be_read_are_the_default_ones(tmp_path):
    assert training_settings(tmp_path) == PRESETS["default"]
    for text in ("[]", "{", '{"settings": {"hidden1": 0}}', '{"settings": 3}'):
        (tmp_path / "config.json").write_text(text)
        assert training_settings(tmp_path) == PRESETS["default"]
    (tmp_path / "config.json").write_text('{"settings": {"hidden1": 7, "of_another_version": 1}}')
    assert training_settings(tmp_path).hidden1 == 7


def test_a_session_needs_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "PROJECT", tmp_path)
    with pytest.raises(UserError, match="no model for gtzan has been trained yet"):
        Session(Settings())


def test_mistakes_end_in_one_line_and_exit_code_2(tmp_path):
    pytest.importorskip("librosa", reason='needs librosa: pip install -e ".[audio]"')
    assert "nowhere" in complaint_of(classify.__file__, "--run", "nowhere", folder=tmp_path)
