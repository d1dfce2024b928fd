"""A sound to look at: which tones it has, from low to high, at which moment."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from core.report.style import new_figure, styled

TICKS = (0, 512, 1024, 2048, 4096, 8192)  # Hz
QUIETEST = -80.0  # decibels


@styled
def spectrogram(decibels: NDArray[np.float32], seconds: float, rate: int, title: str = "", notice: str = "") -> Figure:
    """A mel spectrogram: decibels (bands, frames) below the loudest, bands evenly spread in mels up to rate / 2 Hz."""
    figure = new_figure(9.0, 3.6, notice)
    axes = figure.subplots()
    bands = len(decibels)
    picture = axes.imshow(
        decibels, origin="lower", aspect="auto", cmap="magma", vmin=QUIETEST, vmax=0, extent=(0, seconds, 0, bands)
    )
    ticks = [tick for tick in TICKS if tick < rate / 2]
    axes.set_yticks([bands * _mel(tick) / _mel(rate / 2) for tick in ticks], [f"{tick:,}" for tick in ticks])
    axes.set(xlabel="seconds", ylabel="Hz")
    if title:
        axes.set_title(title)
    figure.colorbar(picture, ax=axes, label="dB", pad=0.01)
    return figure


def _mel(hertz: float) -> float:
    """Slaney's scale: even up to 1,000 Hz, logarithmic above, as librosa has it (Auditory Toolbox, 1998)."""
    return hertz * 3 / 200 if hertz < 1000 else float(15 + 27 * np.log(hertz / 1000) / np.log(6.4))
