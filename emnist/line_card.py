"""A line of writing as HTML: what it reads and is worth, and each symbol with the best guesses on hover."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from core.backend import Array
from core.data.ink import Picture
from core.demo.cards import as_data_uri, with_keys
from emnist.classes import sign
from emnist.reading import Reading

TOP = 3
LEGEND = (
    "Above, what the network sees of each character; below, the pixels that speak {for} and {against} its first guess. "
    "Point at a character for the other guesses."
)
STYLE = """<style>
.em-line { padding: 18px 22px; }
.em-read { font-size: 2.6rem; font-weight: 700; line-height: 1.2; overflow-wrap: anywhere; }
.em-value { color: #0072B2; } .dark .em-value { color: #56B4E9; }
.em-trouble { margin-top: 4px; }
.em-symbols { display: flex; flex-wrap: wrap; gap: 12px; margin-top: 16px; }
.em-symbol { position: relative; width: 64px; text-align: center; font-weight: 700; outline: none; cursor: help; }
.em-symbol img { width: 64px; height: 64px; margin: 0 0 4px; image-rendering: pixelated; border-radius: 8px; }
.em-legend { margin: 16px 0 0; min-height: 4em; line-height: 1.6; color: var(--body-text-color-subdued); }
.em-symbol:hover img, .em-symbol:focus img { box-shadow: 0 0 0 3px #56B4E9; }
.em-top { display: none; position: absolute; left: 0; top: 100%; z-index: 9; min-width: 8em; padding: 8px 12px;
  border-radius: 8px; background: var(--block-background-fill); border: 1px solid var(--border-color-primary);
  font-weight: 400; text-align: left; }
.em-symbol:hover .em-top, .em-symbol:focus .em-top { display: block; }
.em-top div { display: flex; justify-content: space-between; gap: 12px; font-variant-numeric: tabular-nums; }
</style>"""


def line_card(
    reading: Reading,
    pictures: Sequence[Picture],
    overlays: Sequence[Picture],
    probabilities: Array,
    classes: Sequence[str],
) -> str:
    """The card for pictures uint8 (28, 28) of symbols, and what the network finds probable for each (S, K).

    `overlays` uint8 (28, 28, 3) show what in a picture speaks for and against the network's first guess.
    """
    value = f' <span class="em-value">= {escape(reading.value)}</span>' if reading.value else ""
    trouble = f'<div class="em-trouble bn-error">{escape(reading.trouble)}</div>' if reading.trouble else ""
    symbols = "".join(
        _symbol(name, picture, overlay, row, classes)
        for name, picture, overlay, row in zip(reading.classes, pictures, overlays, probabilities, strict=True)
    )
    return (
        f'<div class="bn-card em-line" role="status"><div class="em-read">{escape(reading.text)}{value}</div>'
        f'{trouble}<div class="em-symbols">{symbols}</div><p class="em-legend">{with_keys(LEGEND)}</p></div>'
    )


def _symbol(name: str, picture: Picture, overlay: Picture, probabilities: Array, classes: Sequence[str]) -> str:
    best = np.argsort(-probabilities, kind="stable")[:TOP]
    guesses = [(sign(classes[k]), f"{probabilities[k]:.1%}") for k in best]
    rows = "".join(f"<div><b>{escape(guess)}</b><span>{percent}</span></div>" for guess, percent in guesses)
    spoken = escape(", ".join(f"{guess} {percent}" for guess, percent in guesses))
    return (
        f'<div class="em-symbol" tabindex="0" aria-label="read as {escape(sign(name))}; {spoken}">'
        f'<img src="{as_data_uri(picture)}" alt=""><img src="{as_data_uri(overlay)}" alt="">{escape(sign(name))}'
        f'<div class="em-top">{rows}</div></div>'
    )
