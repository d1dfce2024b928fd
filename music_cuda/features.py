"""From a sound file to the 57 numbers that the network knows of a song (needs the extra "audio").

    python music_cuda/features.py --audio song.wav
    python music_cuda/features.py --audio clip.wav --against features_30_sec.csv    # compare with a table's row

GTZAN's table was made in 2020 with the librosa of that time and its defaults: 22,050 Hz, mono, frames of 2,048 samples
every 512, mean and variance over the frames. Two things were otherwise then, and are done here as they were: frames at
the ends were filled by reflection, and harmonics and percussion came without the last part of a frame, as zeros.
Its clips, and the table itself, are at kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-genre-classification.
"""

from __future__ import annotations

import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from core.backend import Array
    from core.cli import main
    from core.errors import UserError
    from music_cuda.table import FEATURES, MFCCS, read_table
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

RATE = 22_050  # samples a second
SECONDS = 30  # of a song, from its middle
SHORTEST = 1.0  # second
FRAME, HOP = 2_048, 512
AS_THEN = "reflect"  # how librosa filled up the first and the last frames until version 0.9
LARGEST = 500_000_000  # bytes of a file
RATES = (4_000, 400_000)  # of files
MOST_CHANNELS = 16
SILENT, LOUDEST = 1e-4, 1e3  # of full scale; silence that was dithered to 16 bits stays below 1e-4
# What libsndfile notes of a header that promises another number of bytes than there is.
WRONG_SIZE = re.compile(r"(\d+) \(should be (\d+)\)")


@dataclass
class Settings:
    """Which files to measure."""

    audio: tuple[Path, ...]
    """Sound files: WAV, AU, FLAC, OGG, MP3."""
    against: Path | None = None
    """A table of songs: compare with its rows of the same names."""

    def __post_init__(self) -> None:
        if not self.audio:
            raise UserError("--audio needs a sound file, such as --audio song.wav")


def run(settings: Settings) -> None:
    """Print the features of each file, or how they differ from the table's."""
    songs = read_table(settings.against).songs if settings.against else None
    rows = {} if songs is None else {Path(name).stem: row for row, name in enumerate(songs.names)}
    for path in settings.audio:
        features = features_of(load_audio(path))
        print(f"{path.name}:")
        if songs is None:
            print("\n".join(f"  {name:<24}{value:>16.6g}" for name, value in zip(FEATURES, features, strict=True)))
        elif path.stem in rows:
            print(comparison(features, songs.features[rows[path.stem]]))
        else:
            raise UserError(f"{settings.against} has no song called {path.stem}")


def require_librosa() -> Any:
    """Import librosa; UserError with the command that installs it."""
    try:
        import librosa
        import soundfile  # noqa: F401 - librosa reads files with it
    except ImportError:
        raise UserError('reading sound needs librosa: pip install -e ".[audio]"') from None
    return librosa


def load_audio(path: Path) -> Array:
    """The middle 30 s of a sound file, or all of a shorter one: mono float32 (samples,) at 22,050 Hz.

    Raises UserError for a file that is missing, too large, damaged, cut off or no sound, and for one that is silent or
    shorter than a second. (An OGG file does not say how long it is, so that one that is cut off passes for a shorter
    one.) Reads no more of it than is used, whatever its header says.
    """
    librosa = require_librosa()
    import soundfile

    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise UserError(f"{path.name} is larger than {LARGEST // 10**6} MB: cut a piece out of it")
        with soundfile.SoundFile(path) as file:
            rate, channels = file.samplerate, file.channels
            frames = file.frames if file.frames < 2**62 else 0  # more says that it is not known
            if not (RATES[0] <= rate <= RATES[1] and channels <= MOST_CHANNELS):
                raise UserError(f"{path.name} has {channels} channels at {rate} Hz; that is no music")
            wanted = SECONDS * rate
            if frames - wanted > 0.1 * rate:  # GTZAN's clips have a little more than 30 s
                file.seek((frames - wanted) // 2)
                sound = file.read(wanted, dtype="float32", always_2d=True)
            else:
                sound = file.read(wanted + rate // 10, dtype="float32", always_2d=True)
            if is_cut_off(file.extra_info) or len(sound) < 0.99 * min(frames, wanted):
                raise UserError(f"{path.name} is cut off: it holds less sound than it promises")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (soundfile.SoundFileError, ValueError, MemoryError) as error:
        why = getattr(error, "error_string", error)  # without the path, which a visitor of the demo need not know
        raise UserError(
            f"{path.name} is no sound file that can be read: use WAV, AU, FLAC, OGG or MP3 ({why})"
        ) from None
    mono = checked(sound.mean(axis=1), path.name, rate)
    return np.asarray(librosa.resample(mono, orig_sr=rate, target_sr=RATE))


def is_cut_off(log: str) -> bool:
    """Whether a file ends before its header says, by libsndfile's log.

    A program that writes into a pipe promises gigabytes, and means by it that it does not know.
    """
    sizes = ((int(promised), int(there)) for promised, there in WRONG_SIZE.findall(log))
    return any(1.01 * there < promised <= LARGEST for promised, there in sizes)


def checked(sound: Array, name: str, rate: int = RATE) -> Array:
    """The sound, if it can be judged; UserError where it is too short, silent, or holds values that are no numbers."""
    if len(sound) < SHORTEST * rate:
        raise UserError(f"{name} holds less than {SHORTEST:g} s of sound, which is too little to judge")
    if not float(np.abs(sound).max()) < LOUDEST:  # also where it is no number
        raise UserError(f"{name} holds values that are no sound")
    if float(np.abs(sound - sound.mean()).max()) < SILENT:  # what never changes cannot be heard, either
        raise UserError(f"{name} is silent")
    return sound


def features_of(sound: Array) -> Array:
    """The features of mono sound (samples,) at 22,050 Hz, float64 (57,) in the order of FEATURES."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a sound has no tones, or no beat, is no news here
        return _measure(sound)


def _measure(sound: Array) -> Array:
    librosa = require_librosa()
    spectrum = librosa.stft(sound, n_fft=FRAME, hop_length=HOP, pad_mode=AS_THEN)  # (1025, frames) complex
    size = np.abs(spectrum)
    harmonic, percussive = (_back_to_sound(part, len(sound)) for part in librosa.decompose.hpss(spectrum))
    mel = librosa.feature.melspectrogram(S=size**2, sr=RATE)
    mfcc = librosa.feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=MFCCS)  # (20, frames)
    summarised = {
        "chroma_stft": librosa.feature.chroma_stft(S=size**2, sr=RATE),
        "rms": librosa.feature.rms(y=sound, frame_length=FRAME, hop_length=HOP, pad_mode=AS_THEN),
        "spectral_centroid": librosa.feature.spectral_centroid(S=size, sr=RATE),
        "spectral_bandwidth": librosa.feature.spectral_bandwidth(S=size, sr=RATE),
        "rolloff": librosa.feature.spectral_rolloff(S=size, sr=RATE),
        "zero_crossing_rate": librosa.feature.zero_crossing_rate(sound, frame_length=FRAME, hop_length=HOP),
        "harmony": harmonic,
        "perceptr": percussive,
    } | {f"mfcc{number}": row for number, row in enumerate(mfcc, start=1)}
    values = {"tempo": float(np.ravel(librosa.beat.beat_track(y=sound, sr=RATE)[0])[0])}
    for name, series in summarised.items():
        values |= {f"{name}_mean": float(np.mean(series)), f"{name}_var": float(np.var(series))}
    return np.array([values[name] for name in FEATURES])


def _back_to_sound(spectrum: Array, samples: int) -> Array:
    """The sound of a spectrum; what the last whole frame does not reach is silent, as it was in 2020."""
    librosa = require_librosa()
    return np.asarray(librosa.util.fix_length(librosa.istft(spectrum, hop_length=HOP, dtype=np.float32), size=samples))


def mel_decibels(sound: Array) -> Array:
    """The mel spectrogram of mono sound in decibels below its maximum: float32 (128, frames), low tones first."""
    librosa = require_librosa()
    mel = librosa.feature.melspectrogram(y=sound, sr=RATE, n_fft=FRAME, hop_length=HOP)
    return np.asarray(librosa.power_to_db(mel, ref=np.max), np.float32)


def comparison(found: Array, expected: Array) -> str:
    """A table of both, and the relative difference of each feature; the last line counts those within 1 %."""
    relative = np.abs(found - expected) / np.maximum(np.abs(expected), np.finfo(np.float32).tiny)
    lines = [f"  {'feature':<24}{'from the sound':>16}{'in the table':>16}{'difference':>12}"]
    for name, here, there, share in zip(FEATURES, found, expected, relative, strict=True):
        mark = "" if share <= 0.01 else "  <--"
        lines.append(f"  {name:<24}{here:>16.6g}{there:>16.6g}{share:>12.4%}{mark}")
    lines.append(f"  {int((relative <= 0.01).sum())} of {len(FEATURES)} within 1 %, the largest {relative.max():.4%}")
    return "\n".join(lines)


if __name__ == "__main__":
    main(run, Settings, description=__doc__)
