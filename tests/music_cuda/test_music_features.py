"""From sounds to features: against librosa's own functions one by one, and what a file may do to us."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mistakes import complaint_of
from tiny_music import RATE, make_table, tone

from core.errors import UserError
from music_cuda import features
from music_cuda.features import checked, comparison, features_of, load_audio, mel_decibels
from music_cuda.table import FEATURES, read_table

librosa = pytest.importorskip("librosa", reason='needs librosa: pip install -e ".[audio]"')
soundfile = pytest.importorskip("soundfile")
CLIPS = ("blues.00000", "classical.00000")


@pytest.fixture(scope="module")
def sound():
    return tone(4.0)


@pytest.fixture(scope="module")
def of_sound(sound):
    return dict(zip(FEATURES, features_of(sound), strict=True))


def save(path: Path, sound, rate=RATE, **how):
    soundfile.write(path, sound, rate, **how)
    return path


def test_all_features_are_numbers(of_sound):
    assert np.isfinite(list(of_sound.values())).all()


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("chroma_stft", lambda y: librosa.feature.chroma_stft(y=y, sr=RATE, pad_mode="reflect")),
        ("rms", lambda y: librosa.feature.rms(y=y, pad_mode="reflect")),
        ("spectral_centroid", lambda y: librosa.feature.spectral_centroid(y=y, sr=RATE, pad_mode="reflect")),
        ("spectral_bandwidth", lambda y: librosa.feature.spectral_bandwidth(y=y, sr=RATE, pad_mode="reflect")),
        ("rolloff", lambda y: librosa.feature.spectral_rolloff(y=y, sr=RATE, pad_mode="reflect")),
        ("zero_crossing_rate", lambda y: librosa.feature.zero_crossing_rate(y)),
        ("mfcc1", lambda y: librosa.feature.mfcc(y=y, sr=RATE, pad_mode="reflect")[0]),
        ("mfcc20", lambda y: librosa.feature.mfcc(y=y, sr=RATE, pad_mode="reflect")[19]),
    ],
)
def test_each_is_what_librosa_measures_with_its_defaults_of_2020(name, measure, sound, of_sound):
    series = measure(sound)
    assert of_sound[f"{name}_mean"] == pytest.approx(np.mean(series), rel=1e-4)
    assert of_sound[f"{name}_var"] == pytest.approx(np.var(series), rel=1e-4)


def test_harmonics_and_percussion_end_with_the_last_whole_frame(sound, of_sound):
    parts = librosa.decompose.hpss(librosa.stft(sound, pad_mode="reflect"))
    whole = len(sound) // 512 * 512
    assert whole < len(sound)
    for name, part in zip(("harmony", "perceptr"), parts, strict=True):
        series = librosa.istft(part, length=whole)  # as the published table has it, then come zeros
        assert of_sound[f"{name}_mean"] == pytest.approx(series.sum() / len(sound), rel=1e-3, abs=1e-9)
        variance = np.square(series).sum() / len(sound) - of_sound[f"{name}_mean"] ** 2
        assert of_sound[f"{name}_var"] == pytest.approx(variance, rel=0.01)
    back = features._back_to_sound(librosa.stft(sound), len(sound))
    assert len(back) == len(sound)
    assert not back[whole:].any()
    np.testing.assert_allclose(back[1024 : whole - 1024], sound[1024 : whole - 1024], atol=1e-4)


def test_the_two_clips_that_belong_to_the_published_table():
    """Where a mirror of the real data is there, as in BARENETS_MIRROR; the data may not be passed on."""
    folder = Path(os.environ.get("BARENETS_MIRROR", "")) / "gtzan"
    if not (folder / "genres_original").is_dir():
        pytest.skip("needs GTZAN's table and clips: BARENETS_MIRROR=FOLDER with gtzan/genres_original/")
    songs = read_table(folder / "features_30_sec.csv").songs
    rows = {Path(name).stem: row for row, name in enumerate(songs.names)}
    for clip in CLIPS:
        found = features_of(load_audio(folder / "genres_original" / f"{clip}.wav"))
        expected = songs.features[rows[clip]]
        assert (np.abs(found - expected) <= 1e-4 * np.abs(expected)).all(), comparison(found, expected)


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ending", "kind"), [("wav", {}), ("au", {"format": "AU"}), ("flac", {}), ("ogg", {})])
def test_common_formats_are_read(tmp_path, sound, ending, kind):
    read = load_audio(save(tmp_path / f"a.{ending}", sound, **kind))
    assert read.dtype == np.float32
    assert len(read) == len(sound)
    if ending != "ogg":  # which keeps no sample exactly
        np.testing.assert_allclose(read, sound, atol=1e-4)


def test_channels_are_averaged_and_rates_converted(tmp_path):
    left, right = tone(2.0, rate=44_100), tone(2.0, rate=44_100, seed=1)
    read = load_audio(save(tmp_path / "stereo.wav", np.stack([left, right], axis=1), 44_100, subtype="FLOAT"))
    expected = librosa.resample((left + right) / 2, orig_sr=44_100, target_sr=RATE)
    np.testing.assert_allclose(read, expected, atol=1e-6)


def test_of_a_long_file_the_middle_is_taken(tmp_path):
    marks = np.repeat(np.arange(1, 91) / 100, 8_000).astype(np.float32)  # 90 s at 8 kHz, each second of its own height
    read = load_audio(save(tmp_path / "long.wav", marks, 8_000))
    assert len(read) == 30 * RATE
    assert read[RATE // 2] == pytest.approx(0.31, abs=0.01)
    assert read[-RATE // 2] == pytest.approx(0.60, abs=0.01)


def test_a_clip_of_a_little_more_than_30_s_is_taken_as_it_is(tmp_path):
    whole = tone(30.013)
    assert len(load_audio(save(tmp_path / "clip.wav", whole))) == len(whole)


def wav(sound, **how):
    data = io.BytesIO()
    soundfile.write(data, sound, RATE, format="WAV", **how)
    return data.getvalue()


def lying_header(sound):
    """A WAV that claims 4 GB of samples."""
    data = bytearray(wav(sound))
    place = data.index(b"data") + 4
    data[place : place + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no sound file that can be read"),
        (b"RIFF\x00\x00\x00\x00WAVE", "no sound file that can be read"),
        (b"<html>not here</html>", "no sound file that can be read"),
        (b"\x89PNG" * 100, "no sound file that can be read"),
        (wav(tone(0.5)), "holds less than 1 s of sound"),
        (wav(np.zeros(0, np.float32)), "holds less than 1 s of sound"),
        (wav(np.zeros(2 * RATE, np.float32)), "is silent"),
        (wav(np.full(2 * RATE, 0.5, np.float32)), "is silent"),
        (wav(np.random.default_rng(0).integers(-1, 2, 2 * RATE, np.int16)), "is silent"),
        (wav(tone(9.0))[: RATE * 10], r"x\.wav is cut off"),
        (wav(np.full(2 * RATE, np.nan, np.float32), subtype="FLOAT"), "values that are no sound"),
        (wav(np.full(2 * RATE, 1e30, np.float32), subtype="FLOAT"), "values that are no sound"),
        (wav(np.zeros((RATE, 20), np.float32)), "20 channels"),
    ],
)
def test_what_is_no_music_is_one_line(tmp_path, content, message):
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_audio(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ["au", "mp3"])
def test_other_formats_that_are_cut_off_are_refused(tmp_path, ending):
    path = save(tmp_path / f"a.{ending}", tone(9.0))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="is cut off"):
        load_audio(path)


def test_a_header_that_lies_costs_no_memory(tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(lying_header(tone(2.0)))
    assert len(load_audio(path)) == 2 * RATE


def test_a_missing_and_a_huge_file(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"cannot read .*No such file"):
        load_audio(tmp_path / "none.wav")
    with pytest.raises(UserError, match=r"cannot read|no sound file"):
        load_audio(tmp_path)
    monkeypatch.setattr(features, "LARGEST", 1000)
    with pytest.raises(UserError, match="is larger than"):
        load_audio(save(tmp_path / "a.wav", tone(1.0)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=60), st.integers(0, 200))
def test_a_damaged_file_gives_sound_or_one_line(tmp_path, damage, place):
    data = bytearray(wav(tone(1.2)))
    data[place : place + len(damage)] = damage
    path = tmp_path / "damaged.wav"
    path.write_bytes(data)
    try:
        found = len(load_audio(path))
    except UserError as error:
        found = len(str(error).splitlines())
    assert found >= 1


def test_any_sound_that_passes_has_finite_features():
    for sound in (np.repeat([0.5, -0.5], RATE), np.sign(tone(1.1)), np.random.default_rng(0).normal(size=RATE)):
        assert np.isfinite(features_of(checked(sound.astype(np.float32), "it"))).all()


def test_the_spectrogram_shows_a_tone_where_it_is(sound):
    decibels = mel_decibels(tone(2.0, hertz=1000))
    assert decibels.shape[0] == 128
    assert decibels.max() == pytest.approx(0)
    loudest = np.median(decibels.argmax(axis=0))
    assert loudest == pytest.approx(128 * 15 / librosa.hz_to_mel(RATE / 2), abs=2)


def test_the_picture_of_it(tmp_path):
    from core.report import style
    from core.report.spectrogram import _mel, spectrogram

    assert _mel(440) == pytest.approx(librosa.hz_to_mel(440))
    assert _mel(5000) == pytest.approx(librosa.hz_to_mel(5000))
    figure = spectrogram(mel_decibels(tone(2.0)), 2.0, RATE, "a tone", "SYNTHETIC data: made by a test")
    assert style.save(figure, tmp_path / "tone.png").stat().st_size > 5000


# -- the script -------------------------------------------------------------------------------------------------------


def test_the_script_compares_with_a_table(tmp_path, sound, capsys):
    clip = save(tmp_path / "rock.00000.wav", sound)
    table = tmp_path / "t.csv"
    table.write_text(make_table(table, 1).read_text().replace("blues.00000", "rock.00000"))
    features.run(features.Settings(audio=(clip,), against=table))
    told = capsys.readouterr().out
    assert "of 57 within 1 %" in told
    assert "<--" in told
    with pytest.raises(UserError, match=r"t.csv has no song called other"):
        features.run(features.Settings(audio=(save(tmp_path / "other.wav", sound),), against=table))


def test_mistakes_end_in_one_line_and_exit_code_2(tmp_path):
    line = complaint_of(features.__file__, "--audio", "a.wav", "--against", "none.csv", folder=tmp_path)
    assert line.startswith("cannot read none.csv")
    assert complaint_of(features.__file__, "--audio", folder=tmp_path).startswith("--audio needs a sound file")


def test_the_comparison_counts():
    expected = np.arange(1, 58.0)
    found = expected.copy()
    found[3] *= 1.02
    assert comparison(found, expected).splitlines()[-1] == "  56 of 57 within 1 %, the largest 2.0000%"
