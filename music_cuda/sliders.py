"""Songs that nobody has recorded: a real song with some of its features moved, for those who have no sound at hand."""

from __future__ import annotations

import numpy as np

from core.backend import Array
from core.data.normalize import Normalize
from music_cuda.songs import Data
from music_cuda.table import FEATURES, GENRES

# The features that tell genres apart best by themselves (one-way analysis of variance on the training songs), one of
# each group that goes together; and the tempo, which tells little, as everybody asks for it.
SLIDERS = {
    "chroma_stft_mean": "Many tones at once",
    "perceptr_var": "Strength of the percussion",
    "harmony_var": "Strength of held tones",
    "spectral_centroid_mean": "Brightness",
    "spectral_centroid_var": "Change of the brightness",
    "spectral_bandwidth_mean": "Spread from low to high",
    "rms_var": "Change of the loudness",
    "tempo": "Tempo",
}
COLUMNS = [FEATURES.index(name) for name in SLIDERS]


class Mixer:
    """Turns positions of the sliders, in percent of the training songs that have less, into the features of a song."""

    def __init__(self, data: Data) -> None:
        self.features = data.features
        self.sorted = np.sort(data.features[:, COLUMNS], axis=0)  # (N, sliders)
        normalize = Normalize.fit(data.features, per_channel=True)
        z = np.clip(normalize(data.features), -3, 3)
        self.typical = {
            genre: _middle_one(z, np.flatnonzero(data.labels == k))
            for k, genre in enumerate(GENRES)
            if (data.labels == k).any()
        }

    def positions(self, genre: str) -> list[float]:
        """Where the sliders stand for the typical song of a genre, 0 to 100."""
        song = self.features[self.typical[genre], COLUMNS]
        shares = [np.searchsorted(column, value) for column, value in zip(self.sorted.T, song, strict=True)]
        return [round(100 * float(share) / max(len(self.sorted) - 1, 1), 1) for share in shares]

    def song(self, genre: str, positions: list[float]) -> Array:
        """The features (57,) of the genre's typical song with the sliders' features as they stand."""
        song = self.features[self.typical[genre]].copy()
        for column, position, ranked in zip(COLUMNS, positions, self.sorted.T, strict=True):
            song[column] = np.quantile(ranked, min(max(position, 0.0), 100.0) / 100)
        return song


def _middle_one(z: Array, rows: Array) -> int:
    """The row among `rows` that is nearest to their mean."""
    distances = np.square(z[rows] - z[rows].mean(axis=0)).sum(axis=1)
    return int(rows[distances.argmin()])
