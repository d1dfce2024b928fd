"""A few made-up songs as prepared data or as a table, sounds, and a run folder as training leaves it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from core.data.normalize import Normalize
from core.data.prepared import save_prepared
from core.data.synthetic import features as synthetic_features
from core.training.checkpoint import save_checkpoint
from music_cuda.model import Architecture, build, fit_scores, preprocess
from music_cuda.table import COLUMNS, FEATURES, GENRES

NOTICE = "SYNTHETIC data: made by a test"
COUNTS = {"train": 200, "test": 60}
RATE = 22_050


def make_archive(folder: Path, parts: tuple[str, ...] = ("train", "test"), **changes: object) -> Path:
    """Write prepared songs of the given parts only, so that whoever opens another one fails."""
    arrays = {}
    for seed, part in enumerate(parts):
        features, labels = synthetic_features(COUNTS[part], seed)
        arrays |= {f"{part}_features": features, f"{part}_labels": labels.astype(np.uint8)}
    info = {
        "dataset": "gtzan",
        "origin": "synthetic",
        "complete": False,
        "notice": NOTICE,
        "classes": list(GENRES),
        "songs": {part: [f"{part}.{n:05d}.wav" for n in range(COUNTS[part])] for part in parts},
        "command": "python music_cuda/setup_data.py --synthetic",
    }
    save_prepared(folder, arrays, info | changes)
    return folder


def make_run(folder: Path, architecture: Architecture | None = None, **changes: object) -> Path:
    """Write best.safetensors, with weights as they were drawn, and config.json; `changes` replace parts of them."""
    architecture = architecture or Architecture(hidden=(8, 4))
    features, _ = synthetic_features(COUNTS["train"], 0)
    normalize = Normalize(features.mean(axis=0), features.std(axis=0))
    network = build(architecture)
    fit_scores(network, preprocess(features, normalize))
    description = {
        "kind": "weights",
        "data": {"dataset": "gtzan"},
        "notice": NOTICE,
        "about": {"architecture": architecture.to_dict(), "normalize": normalize.to_dict(), "classes": list(GENRES)},
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / "best.safetensors", network.state_dict(), description | changes)
    settings = {"hidden1": 8, "hidden2": 4, "epochs": 2, "optimizer": "sgd", "momentum": 0.0, "batch_size": 1}
    (folder / "config.json").write_text(json.dumps({"data": {"dataset": "gtzan"}, "settings": settings}))
    return folder


def song_line(number: int, label: str = "rock", **changes: object) -> str:
    """A line of a table: song `number` has features number, number + 0.01, ...; `changes` replace cells."""
    cells: dict[str, object] = {"filename": f"{label}.{number:05d}.wav", "length": 661_794, "label": label}
    cells |= {name: number + place / 100 for place, name in enumerate(FEATURES)}
    return ",".join(str((cells | changes)[name]) for name in COLUMNS)


def make_table(path: Path, songs: int = 30, extra: tuple[str, ...] = (), end: str = "\n") -> Path:
    """Write a table of so many songs, all genres alike, and then the extra lines."""
    lines = [song_line(number, GENRES[number % len(GENRES)]) for number in range(songs)]
    path.write_bytes(end.join([",".join(COLUMNS), *lines, *extra, ""]).encode())
    return path


def tone(seconds: float = 3.0, hertz: float = 440.0, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """A tone with clicks and some noise, float32 (samples,)."""
    time = np.arange(int(seconds * rate)) / rate
    sound = 0.3 * np.sin(2 * np.pi * hertz * time) + 0.01 * np.random.default_rng(seed).standard_normal(len(time))
    sound[:: rate // 2] += 0.5
    return sound.astype(np.float32)
