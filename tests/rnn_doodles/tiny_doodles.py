"""A few simple drawings as prepared data, and a run folder as training leaves it."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
from learning import learn

from core.data.prepared import Arrays, save_prepared
from core.data.quickdraw import DrawingReader, Drawings
from core.data.synthetic import STROKE_CLASSES, strokes
from core.layers import Layer
from core.training.checkpoint import save_checkpoint
from rnn_doodles.ink import Ink, encode
from rnn_doodles.model import Architecture, build
from rnn_doodles.simplify import simplify

NOTICE = "SYNTHETIC data: made by a test"
CLASSES = list(STROKE_CLASSES)
TINY = Architecture(hidden=6, classes=len(CLASSES))


@lru_cache(maxsize=4)
def some_drawings(n: int, seed: int = 0) -> tuple[Drawings, np.ndarray]:
    """Simple shapes and their labels, int64 (n,)."""
    reader = DrawingReader(n)
    drawings, labels = strokes(n, seed)
    for drawing in drawings:
        reader.add(json.dumps({"drawing": drawing}).encode())
    assert len(reader) == n
    return reader.drawings(), labels


def make_arrays(parts: tuple[str, ...] = ("train", "test")) -> Arrays:
    """200 drawings of each part."""
    arrays: Arrays = {}
    for seed, part in enumerate(parts):
        drawings, labels = some_drawings(200, seed)
        arrays |= {f"{part}_points": drawings.points, f"{part}_lengths": drawings.lengths}
        arrays[f"{part}_labels"] = labels.astype(np.uint16)
    return arrays


def make_archive(folder: Path, parts: tuple[str, ...] = ("train", "test"), **changes: object) -> Path:
    """Write prepared data that holds the given parts only, so that whoever opens another one fails."""
    info = {
        "dataset": "quickdraw",
        "origin": "synthetic",
        "complete": False,
        "notice": NOTICE,
        "classes": CLASSES,
        "command": "python rnn_doodles/setup_data.py --synthetic",
    }
    save_prepared(folder, make_arrays(parts), info | changes)
    return folder


def make_run(folder: Path, architecture: Architecture = TINY, weights: Layer | None = None, **changes: object) -> Path:
    """Write best.safetensors, with weights as they were drawn, and config.json; `changes` replace parts of them."""
    description = {
        "kind": "weights",
        "data": {"dataset": "quickdraw"},
        "notice": NOTICE,
        "about": {
            "architecture": architecture.to_dict(),
            "normalize": {"mean": 0.0, "std": 1.0},
            "classes": CLASSES,
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / "best.safetensors", (weights or build(architecture)).state_dict(), description | changes)
    (folder / "config.json").write_text(json.dumps({"data": {"dataset": "quickdraw"}}))
    return folder


def make_trained_run(folder: Path) -> Path:
    """A run that has learned to tell the simple shapes apart, as they come from the pad."""
    architecture = Architecture(hidden=24, layers=1, dropout=0.0, classes=len(CLASSES))
    drawings, labels = some_drawings(600)
    simple = [simplify([stroke.astype(float) for stroke in drawings.strokes(number)]) for number in range(600)]
    points, lengths = (np.concatenate([getattr(each, name) for each in simple]) for name in ("points", "lengths"))
    drawings = Drawings(points, lengths)
    network = learn(build(architecture), lambda rows: encode(Ink.of(drawings[rows])), labels, steps=200, lr=1e-2)
    return make_run(folder, architecture, network)
