"""Why the network hears a genre: what each number about the sound adds to the answer, in words."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from core.backend import Array
from core.demo.cards import with_keys
from music_cuda.sliders import SLIDERS
from music_cuda.table import FEATURES, GENRES
from music_cuda.trained import Judge, Listener

WORDS = {
    "chroma_stft": "tones at once",
    "rms": "loudness",
    "spectral_centroid": "brightness",
    "spectral_bandwidth": "spread from low to high",
    "rolloff": "height of the highest strong tones",
    "zero_crossing_rate": "noisiness",
    "harmony": "held tones",
    "perceptr": "percussion",
}


class Reason(NamedTuple):
    """What a feature adds to the probability of the answer, against an average one."""

    feature: int
    gain: float


def reasons(judge: Judge, features: Array, count: int = 6) -> list[Reason]:
    """The features of one song (57,) without which its genre would be least, or most, probable; strongest first.

    Each in turn takes the mean of the training songs, and what that costs the answer is its gain: the "occlusion" of
    Zeiler and Fergus 2014, section 4.2, for numbers. It asks the network only for answers, so it holds for any.
    """
    rows = np.repeat(np.asarray(features, np.float32)[None], len(FEATURES) + 1, axis=0)  # (58, 57)
    places = np.arange(len(FEATURES))
    rows[places, places] = np.broadcast_to(judge.listener.normalize.mean, len(FEATURES))
    probabilities = judge.listen(rows)  # (58, 10), the song itself last
    answer = int(probabilities[-1].argmax())
    gains = probabilities[-1, answer].astype(np.float64) - probabilities[:-1, answer]  # (57,)
    strongest = np.argsort(-np.abs(gains), kind="stable")[:count]
    return [Reason(int(feature), float(gains[feature])) for feature in strongest]


def in_words(feature: str) -> str:
    """A feature's name for people."""
    if feature in SLIDERS:
        return SLIDERS[feature]
    group, _, kind = feature.rpartition("_")
    words = WORDS.get(group) or f"timbre, number {group.removeprefix('mfcc')}"
    return f"Change of the {words}" if kind == "var" else words.capitalize()


def reasons_card(found: Sequence[Reason], features: Array, listener: Listener, answer: int) -> str:
    """The reasons as HTML: the feature, whether this song has more or less of it than others, and what that adds."""
    mean = np.broadcast_to(listener.normalize.mean, len(FEATURES))
    rows = "".join(_row(reason, float(features[reason.feature]) > mean[reason.feature]) for reason in found)
    text = "What speaks {for} and {against} it: points of its percentage that an average value would take away or add"
    return (
        f'<div class="bn-card bn-reasons"><p><b>Why {escape(GENRES[answer])}</b><br>{with_keys(text)}</p>'
        f"<table><tbody>{rows}</tbody></table></div>"
    )


def _row(reason: Reason, above: bool) -> str:
    points, kind = 100 * reason.gain, "for" if reason.gain > 0 else "against"
    level = "above average" if above else "below average"
    return (
        f"<tr><th>{escape(in_words(FEATURES[reason.feature]))}</th><td>{level}</td>"
        f'<td><span class="bn-key bn-{kind}">{points:+.1f}</span></td></tr>'
    )
