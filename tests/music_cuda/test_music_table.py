"""Tables of songs: what is read, what is skipped and told, what is refused, and that adding to one is safe."""

from __future__ import annotations

import csv
import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_music import make_table, song_line

from core.errors import UserError
from music_cuda.table import COLUMNS, FEATURES, GENRES, append_song, duplicates, read_table, safe_name

HEADER = ",".join(COLUMNS)


def write(path, *lines):
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_there_are_57_features_in_the_order_of_the_published_table():
    assert len(FEATURES) == len(set(FEATURES)) == 57
    assert FEATURES[:3] == ("chroma_stft_mean", "chroma_stft_var", "rms_mean")
    assert FEATURES[16] == "tempo"
    assert FEATURES[-1] == "mfcc20_var"
    assert len(COLUMNS) == 60


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_is_read(tmp_path, end):
    songs, malformed = read_table(make_table(tmp_path / "songs.csv", 20, end=end))
    assert malformed == []
    assert songs.names[13] == "disco.00013.wav"
    np.testing.assert_allclose(songs.features[13], 13 + np.arange(57) / 100)
    assert songs.features.dtype == np.float64
    assert [GENRES[label] for label in songs.labels[:2]] == ["blues", "classical"]
    assert songs[np.array([3, 1])].names == (songs.names[3], songs.names[1])


def test_columns_may_stand_in_any_order_and_others_are_left_out(tmp_path):
    rows = list(csv.reader([HEADER, song_line(5, "jazz")]))
    table = [list(reversed([*row, "beyond"])) for row in rows]
    path = write(tmp_path / "t.csv", *(",".join(row) for row in table))
    (song,) = read_table(path).songs.features
    np.testing.assert_allclose(song, 5 + np.arange(57) / 100)


def test_bom_gzip_and_au_names_are_understood(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(f"\ufeff{HEADER}\n{song_line(1, filename='x.au')}\n".encode()))
    assert read_table(path).songs.names == ("x.au",)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (song_line(1, rms_mean="loud"), "rms_mean is 'loud', not a number"),
        (song_line(1, tempo="nan"), "tempo is 'nan'"),
        (song_line(1, tempo="-inf"), "tempo is '-inf'"),
        (song_line(1, tempo="1e39"), "tempo is '1e39'"),
        (song_line(1, tempo="1_000"), "tempo is '1_000'"),
        (song_line(1, tempo=""), "tempo is ''"),
        (song_line(1, "polka"), "genre 'polka' is none of blues"),
        (song_line(1) + ",7", "61 columns instead of 60"),
        ("a,b,c", "3 columns instead of 60"),
        ('"open', "not CSV"),
        ("x" * 20_000, "not CSV"),
        ("\0" * 5, "columns instead of 60"),
    ],
)
def test_a_malformed_line_is_skipped_and_told_with_its_number(tmp_path, line, reason):
    table = read_table(make_table(tmp_path / "songs.csv", 150, extra=(line, song_line(999, "pop"))))
    assert len(table.songs.labels) == 151
    (told,) = table.malformed
    assert told.startswith("line 152: ")
    assert reason in told


def test_more_than_one_percent_malformed_is_an_error(tmp_path):
    bad = song_line(1, tempo="?")
    assert len(read_table(make_table(tmp_path / "a.csv", 99, extra=(bad,))).malformed) == 1
    with pytest.raises(UserError, match=r"2 of 100 songs are malformed, more than 1 %: line 100: tempo.*line 101"):
        read_table(make_table(tmp_path / "b.csv", 98, extra=(bad, bad)))
    with pytest.raises(UserError, match="and 7 more"):
        read_table(make_table(tmp_path / "c.csv", 1, extra=(bad,) * 10))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column 'filename'"),
        (b"<html>", "no column 'filename'"),
        (HEADER.replace("tempo,", "").encode(), "no column 'tempo'"),
        (HEADER.encode(), "holds no songs"),
        (b"\x1f\x8b\x08nonsense", "damaged or truncated gzip"),
        (gzip.compress(HEADER.encode())[:-9], "damaged or truncated gzip"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, message):
    path = tmp_path / "songs.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_table(path)


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("music_cuda.table.LARGEST", 1000)
    path = tmp_path / "songs.csv"
    path.write_bytes(gzip.compress(b"a" * 100_000))
    with pytest.raises(UserError, match="larger than any table"):
        read_table(path)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.csv: No such file"):
        read_table(tmp_path / "none.csv")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_songs_or_one_line(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "songs.csv"
    path.write_bytes(f"{HEADER}\n{song_line(1)}\n".encode() + data)
    try:
        songs = len(read_table(path).songs.labels)
    except UserError as error:
        songs = len(str(error).splitlines())
    assert songs >= 1


def test_duplicates_are_exact_and_point_to_the_first(tmp_path):
    extra = (song_line(3, "jazz"), song_line(3, "pop", tempo=3.160001), song_line(3, "pop"))
    songs = read_table(make_table(tmp_path / "songs.csv", 10, extra=extra)).songs
    assert duplicates(songs) == [(10, 3), (12, 3)]


# -- adding songs -----------------------------------------------------------------------------------------------------


def test_a_song_is_added_to_a_new_and_to_an_old_table(tmp_path):
    path = tmp_path / "folder" / "mine.csv"
    append_song(path, "first.wav", np.arange(57) / 7, "jazz", 1234)
    append_song(path, "second.wav", np.arange(57) / 9, "pop")
    songs, malformed = read_table(path)
    assert malformed == []
    assert songs.names == ("first.wav", "second.wav")
    np.testing.assert_array_equal(songs.features, [np.arange(57) / 7, np.arange(57) / 9])
    assert [GENRES[label] for label in songs.labels] == ["jazz", "pop"]


def test_the_same_song_again_replaces_its_line(tmp_path):
    path = make_table(tmp_path / "mine.csv", 5)
    append_song(path, "again.wav", np.arange(57) / 7, "jazz")
    append_song(path, "again.wav", np.arange(57) / 7, "metal")
    songs = read_table(path).songs
    assert songs.names[-1] == "again.wav"
    assert len(songs.names) == 6
    assert GENRES[songs.labels[-1]] == "metal"


def test_what_others_wrote_stays(tmp_path):
    path = write(tmp_path / "mine.csv", HEADER + ",mood", song_line(1) + ",sad", "not a song")
    append_song(path, "x.wav", np.zeros(57), "rock")
    lines = path.read_text().splitlines()
    assert lines[:3] == [HEADER + ",mood", song_line(1) + ",sad", "not a song"]
    assert lines[3].endswith(",rock,")


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "", "\n"])
def test_another_table_is_left_alone(tmp_path, content):
    path = write(tmp_path / "other.csv", content)
    before = path.read_bytes()
    with pytest.raises(UserError, match="not a table of songs"):
        append_song(path, "x.wav", np.zeros(57), "rock")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["other.csv"]


@pytest.mark.parametrize("features", [np.zeros(56), np.full(57, np.nan), np.full(57, 1e39)])
def test_impossible_features_are_refused(tmp_path, features):
    with pytest.raises(ValueError, match="append_song expected"):
        append_song(tmp_path / "t.csv", "x", features, "rock")


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("/music/song.wav", "song.wav"),
        (r"C:\music\song.wav", "song.wav"),
        ("=HYPERLINK(evil)", "HYPERLINK(evil)"),
        ("+-@=x", "x"),
        ('a"b,c\nd', "a_b_c_d"),
        ("", "song"),
        ("Für Elise (live).mp3", "Für Elise (live).mp3"),
    ],
)
def test_a_name_is_no_formula_and_no_place(name, safe):
    assert safe_name(name) == safe
