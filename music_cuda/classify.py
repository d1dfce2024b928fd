"""Ask a trained network about songs, in a terminal: files or recordings; correct it, and let it learn from that.

    python music_cuda/classify.py                        # then type the name of a file, or ? for help
    python music_cuda/classify.py --audio song.mp3
    python music_cuda/classify.py --songs mine.csv       # where corrected songs go

Needs the extra "audio", and "record" for the microphone.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from core.backend import Array
    from core.cli import main
    from core.errors import UserError
    from core.training.files import save_picture
    from core.training.find import CONFIG
    from music_cuda import training
    from music_cuda.features import RATE, features_of, load_audio, mel_decibels, require_librosa
    from music_cuda.record import record
    from music_cuda.settings import PRESETS
    from music_cuda.settings import Settings as TrainingSettings
    from music_cuda.songs import Data, load_songs
    from music_cuda.table import GENRES, append_song, read_table, safe_name
    from music_cuda.trained import listen, load_listener, nearest
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

HELP = f"""\
  FILE              judge a sound file
  record [SECONDS]  judge what the microphone hears (30 s)
  is GENRE          say what the last song really is; it goes into your table
  train             train again, with the songs of your table
  quit
genres: {", ".join(GENRES)}"""
SHADES = " .:-=+*#%@"
ROWS, COLUMNS = 12, 72  # of the picture in the terminal
BAR = 30  # characters


@dataclass
class Settings:
    """Which network to ask, what about, and where corrections go."""

    run: str = ""
    """Name or folder of the run; the newest one if not given."""
    audio: tuple[Path, ...] = ()
    """Sound files to judge at once; without any, you are asked."""
    songs: Path = PROJECT / "archive" / "my_songs.csv"
    """The table that your corrections go into."""


class Heard(NamedTuple):
    """The song that was judged last."""

    name: str
    sound: Array
    features: Array


def start(settings: Settings) -> int:
    """Judge the files that were given; without any, do what is typed until the end of the input.

    Returns the exit code: 2 if there was a file that could not be judged.
    """
    require_librosa()
    session = Session(settings)
    code = 0
    for path in settings.audio:
        try:
            session.judge(path.name, load_audio(path))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            code = 2
    if not settings.audio:
        session.converse()
    return code


class Session:
    """A conversation about songs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.listener = load_listener(settings.run)
        self.heard: Heard | None = None
        try:
            self.known: Data | None = load_songs(training_settings(self.listener.weights.parent).dataset)
        except UserError:  # the network answers without them, only nobody can say which songs are alike
            self.known = None
        print(f"{self.listener.architecture}, run {self.listener.weights.parent.name}")
        if self.listener.notice:
            print(f"NOTICE: {self.listener.notice}")

    def converse(self) -> None:
        """Read a line, do it, and so on; a mistake costs a line of complaint, not the conversation."""
        print("type the name of a sound file, or ? for help")
        while True:
            try:
                line = input("> ").strip()
            except EOFError:
                print()
                return
            if line in ("quit", "q", "exit"):
                return
            try:
                self.do(line)
            except UserError as error:
                print(f"error: {error}")

    def do(self, line: str) -> None:
        """One line of the conversation."""
        word, _, rest = line.partition(" ")
        if line in ("", "?", "help"):
            print(HELP)
        elif word == "record":
            seconds = _number(rest or "30")
            print(f"recording {seconds:g} s ...", flush=True)
            self.judge("recording", record(seconds))
        elif word == "is":
            self.correct(rest.strip().lower())
        elif line == "train":
            self.train()
        else:
            path = Path(os.path.expanduser(line.strip("'\"")))  # of Path, ~nobody would be an error
            self.judge(path.name, load_audio(path))

    def judge(self, name: str, sound: Array) -> None:
        """Print the spectrogram, the probabilities and the songs most alike; the spectrogram is saved, too."""
        features = features_of(sound)
        self.heard = Heard(name, sound, features)
        decibels = mel_decibels(sound)
        picture = self.listener.weights.parent / "heard" / f"{Path(safe_name(name)).stem}.png"
        _save_spectrogram(picture, decibels, len(sound) / RATE, name, self.listener.notice)
        print(f"\n{name}, {len(sound) / RATE:.0f} s\n{in_characters(decibels)}\n(larger: {picture})\n")
        print(as_bars(listen(self.listener, features[None])[0]))
        if self.known is not None:
            alike = nearest(self.listener, self.known, features, count=3)
            print("most alike: " + ", ".join(f"{song.name} ({song.genre})" for song in alike))

    def correct(self, genre: str) -> None:
        """Write the last song into the table, with the genre that the user says."""
        if self.heard is None:
            raise UserError("judge a song first")
        if genre not in GENRES:
            raise UserError(f"{genre!r} is none of {', '.join(GENRES)}")
        append_song(self.settings.songs, self.heard.name, self.heard.features, genre, len(self.heard.sound))
        print(f"{self.heard.name} is {genre}: written to {self.settings.songs}; `train` learns from it")

    def train(self) -> None:
        """Train with the same settings and the songs of the table, and go on with the new network."""
        if not self.settings.songs.exists():
            raise UserError(f"there is no {self.settings.songs} yet: correct a song with `is GENRE` first")
        read_table(self.settings.songs)  # complains before anything is trained
        settings = training_settings(self.listener.weights.parent)
        name = f"{self.listener.weights.parent.name.removesuffix('-mine')}-mine"
        training.train(dataclasses.replace(settings, name=name, more=self.settings.songs, resume=False, folds=0))
        self.listener = load_listener(name)
        if self.heard is not None:
            self.judge(self.heard.name, self.heard.sound)


def training_settings(run: Path) -> TrainingSettings:
    """The settings that a run was trained with; those of the default preset where they cannot be read."""
    try:
        stored = json.loads((run / CONFIG).read_text("utf-8"))["settings"]
        fields = {field.name for field in dataclasses.fields(TrainingSettings)}
        return TrainingSettings(**{name: value for name, value in stored.items() if name in fields})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError):
        return PRESETS["default"]


def in_characters(decibels: Array) -> str:
    """A spectrogram (bands, frames) as lines of characters, high tones above: the louder, the darker."""
    frames = decibels.shape[1]
    wide = decibels[:, np.arange(max(frames, COLUMNS)) * frames // max(frames, COLUMNS)]  # at least a frame a column
    bands = np.array_split(wide, ROWS, axis=0)
    cells = np.array([[part.mean() for part in np.array_split(band.mean(axis=0), COLUMNS)] for band in bands])
    low, high = cells.min(), cells.max()
    shades = ((cells - low) / max(high - low, 1e-6) * (len(SHADES) - 1)).round().astype(int)
    return "\n".join("  " + "".join(SHADES[shade] for shade in row) for row in shades[::-1])


def as_bars(probabilities: Array) -> str:
    """The genres with a bar each, the most probable first."""
    order = np.argsort(-probabilities, kind="stable")
    return "\n".join(
        f"  {GENRES[k]:<10}{probabilities[k]:>7.1%} {'#' * round(BAR * float(probabilities[k]))}" for k in order
    )


def _save_spectrogram(path: Path, decibels: Array, seconds: float, title: str, notice: str) -> None:
    from core.report.spectrogram import spectrogram  # late, like all that loads matplotlib

    save_picture(spectrogram(decibels, seconds, RATE, title, notice), path)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"a number of seconds, such as 30, and not {text!r}") from None


if __name__ == "__main__":
    main(start, Settings, description=__doc__)
