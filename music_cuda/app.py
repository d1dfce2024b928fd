"""A demo in the browser: play a song to the network, or move sliders, and see which genre it hears and why.

    python music_cuda/app.py                          # the newest run
    python music_cuda/app.py --run best --port 8000

It needs the extra `demo`. Where nothing has been trained yet, it offers to do that.
"""

from __future__ import annotations

import math
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import base64

    import numpy as np

    from core.backend import Array
    from core.cli import main
    from core.data.sources import GTZAN
    from core.demo import cards
    from core.demo.begin import Beginning, Plan
    from core.demo.begin_page import begin_page
    from core.demo.launch import LaunchSettings, require_gradio
    from core.demo.page import LIVE, facts, html, page, setting_of
    from core.demo.serve import serve_demo
    from core.errors import UserError
    from music_cuda.features import RATE, features_of, load_audio, mel_decibels, require_librosa
    from music_cuda.sliders import SLIDERS, Mixer
    from music_cuda.songs import Data, load_songs
    from music_cuda.table import GENRES
    from music_cuda.trained import Judge, Listener, load_listener, nearest
    from music_cuda.why import reasons, reasons_card
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

TITLE = "Genres of music"
WHAT = "A perceptron, written by hand in NumPy."
INVITATION = "Upload or record music, or move the sliders. Of more than 30 seconds, those in the middle are judged."
SHOWN = 5  # genres, and songs that are alike


@dataclass
class Settings(LaunchSettings):
    """Which network to show, and where."""

    run: str = ""
    """Name or folder of the run; the newest one if not given."""
    dataset: str = ""
    """Prepared songs to compare with: the name of a folder in archive/, or a path; by default those of the run."""


def serve(settings: Settings) -> None:
    """Show the network that `settings` name, or how to get one."""
    serve_demo(make_demo, settings, plan(settings))


def plan(settings: Settings) -> Plan:
    """How a visitor without weights gets a small network."""
    return Plan(
        PROJECT,
        GTZAN.name,
        title="the GTZAN features",
        megabytes=1.1,
        stand_in="numbers about songs that nobody ever played",
        small=("--preset", "best", "--members", "2"),
        data_flag="--dataset",
    )


def make_demo(settings: Settings, beginning: Beginning | None = None) -> Any:
    """The page as a `gr.Blocks`; without trained weights it says how to get them, or gets them by `beginning`."""
    try:
        listener = load_listener(settings.run)
    except UserError as error:
        if settings.run:  # the visitor asked for these weights: that there are none is a mistake
            raise
        return begin_page(TITLE, WHAT, str(error), beginning or Beginning(plan(settings)))
    known = load_known(settings.dataset or setting_of(listener.weights, "dataset") or GTZAN.name)
    return music_page(Judge(listener), known)


def load_known(dataset: str) -> Data | None:
    """The training songs; None where they have not been prepared."""
    try:
        return load_songs(dataset)
    except UserError:
        return None


# -- answers: plain functions of what the browser sends -------------------------------------------------------------


def on_audio(judge: Judge, known: Data | None, path: str | None) -> str:
    """The answer, as HTML, to a sound file; `path` is None when it was taken away."""
    if not path:
        return cards.message(INVITATION)
    try:
        sound = load_audio(Path(path))
    except UserError as error:
        return cards.message(str(error), "error")
    return _answer(judge, known, features_of(sound)) + picture_of(sound, judge.listener.notice)


def on_sliders(judge: Judge, known: Data, mixer: Mixer, genre: Any, *positions: Any) -> str:
    """The answer, as HTML, to sliders moved away from the typical song of a genre."""
    known_genre = isinstance(genre, str) and genre in mixer.typical
    if not (known_genre and all(_is_number(position) for position in positions)):
        return cards.message("choose a genre to start from, and leave the sliders between 0 and 100", "error")
    return _answer(judge, known, mixer.song(genre, [float(position) for position in positions]))


def on_genre(judge: Judge, known: Data, mixer: Mixer, genre: Any) -> list[Any]:
    """The positions of the sliders for the typical song of a genre, and the answer to it."""
    positions = mixer.positions(genre) if isinstance(genre, str) and genre in mixer.typical else [50.0] * len(SLIDERS)
    return [*positions, on_sliders(judge, known, mixer, genre, *positions)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _answer(judge: Judge, known: Data | None, features: Array) -> str:
    probabilities = judge.listen(np.asarray(features, np.float32)[None])[0]
    why = reasons_card(reasons(judge, features), features, judge.listener, int(probabilities.argmax()))
    return cards.answers(GENRES, probabilities, SHOWN) + why + songs_alike(judge.listener, known, features)


def songs_alike(listener: Listener, known: Data | None, features: Array) -> str:
    """The training songs with the most similar features, as HTML; nothing where they are not there."""
    if known is None:
        return ""
    items = "".join(
        f"<div><dt>{escape(song.genre)}, {song.distance:.2f} away</dt><dd>{escape(Path(song.name).stem)}</dd></div>"
        for song in nearest(listener, known, features, SHOWN)
    )
    title = '<p style="margin: 0 0 8px"><b>Most alike among the training songs</b></p>'
    return f'<div class="bn-facts" style="margin-top: 14px">{title}<dl>{items}</dl></div>'


def picture_of(sound: Array, notice: str) -> str:
    """The sound's spectrogram, as HTML with the picture inside."""
    from core.report import spectrogram, style  # late, because matplotlib takes a while

    figure = spectrogram.spectrogram(mel_decibels(sound), len(sound) / RATE, RATE, "Spectrogram", notice)
    with tempfile.TemporaryDirectory() as folder:
        png = style.save(figure, Path(folder) / "spectrogram.png").read_bytes()
    source = "data:image/png;base64," + base64.b64encode(png).decode()
    return f'<img src="{source}" alt="Spectrogram" style="width: 100%; margin-top: 14px; border-radius: 8px">'


# -- the page ---------------------------------------------------------------------------------------------------------


def music_page(judge: Judge, known: Data | None) -> Any:
    """Listen to a file or a recording, or move sliders."""
    gradio, listener = require_gradio(), judge.listener
    subtitle = f"A {listener.architecture} hears a song as 57 numbers: forward, backward and all, by hand in NumPy."
    with page(TITLE, subtitle, listener.notice) as demo:
        with gradio.Row(equal_height=False):
            with gradio.Column(min_width=320), gradio.Tabs():
                with gradio.Tab("Listen"):
                    audio = audio_input()
                with gradio.Tab("Sliders") as slider_tab:
                    mixing = sliders_input(known)
            with gradio.Column(min_width=320):
                answer = html(cards.message(INVITATION), "answer")
                facts(listener.weights, "songs")
        if audio is not None:
            audio.change(partial(on_audio, judge, known), audio, answer, api_name="predict")
        if mixing is not None and known is not None:
            mixer, genre, sliders = mixing
            moved = [slider.input for slider in sliders]
            ask, begin = (partial(answer_to, judge, known, mixer) for answer_to in (on_sliders, on_genre))
            gradio.on(moved, ask, [genre, *sliders], answer, api_name="predict_sliders", **LIVE)
            slider_tab.select(ask, [genre, *sliders], answer, api_visibility="private", **LIVE)
            genre.input(begin, genre, [*sliders, answer], api_name="typical", **LIVE)
    return demo


def audio_input() -> Any:
    """A place for a sound, whose value is the path of a file; None, with the reason, where sound cannot be read."""
    try:
        require_librosa()
    except UserError as error:
        html(cards.message(f"{str(error)[:1].upper()}{str(error)[1:]}. The sliders work without it."), "no-audio")
        return None
    return require_gradio().Audio(
        label="Music",
        type="filepath",
        sources=["upload", "microphone"],
        buttons=[],
        elem_id="audio",
    )


def sliders_input(known: Data | None) -> tuple[Mixer, Any, list[Any]] | None:
    """The sliders, standing at the typical song of the first genre; None where the training songs are missing."""
    gradio = require_gradio()
    if known is None:
        html(cards.message(f"The sliders need the training songs: run python {PROJECT.name}/setup_data.py"), "no-songs")
        return None
    mixer = Mixer(known)
    genres = list(mixer.typical)
    genre = gradio.Dropdown(
        genres,
        value=genres[0],
        label="Start from the typical song of",
        info="Each slider says how many of the training songs have less, in percent.",
        elem_id="genre",
    )
    positions = mixer.positions(genres[0])
    sliders = [
        gradio.Slider(0, 100, value=position, step=0.1, label=label, elem_id=name)
        for (name, label), position in zip(SLIDERS.items(), positions, strict=True)
    ]
    return mixer, genre, sliders


if __name__ == "__main__":
    main(serve, Settings, description=__doc__)
