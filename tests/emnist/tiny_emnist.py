"""The publishers' archives in small, prepared data, and a run folder, for the tests of emnist."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path

import numpy as np
from learning import learn
from PIL import Image

from core.data.augment import Affine, Compose
from core.data.normalize import Normalize
from core.data.prepared import save_prepared
from core.data.readers import idx_header
from core.demo.strokes import as_json
from core.layers import Layer
from core.training.checkpoint import save_checkpoint
from emnist import drawing
from emnist.app import PEN
from emnist.model import Architecture, build, preprocess
from emnist.setup_data import stand_in

SYMBOLS = ("dot", "plus", "minus", "slash")
NOTICE = "SYNTHETIC data: rendered characters, not EMNIST; no figure here is a real result"
MAPPINGS = {
    "balanced": [f"{k} {ord(name)}" for k, name in enumerate("0123456789ABab")],
    "letters": [f"{k + 1} {ord(name)} {ord(name.lower())}" for k, name in enumerate("ABC")],
}


def idx(array: np.ndarray) -> bytes:
    return gzip.compress(idx_header(array) + array.tobytes(), 1)


def make_emnist(path: Path, split: str = "balanced", sizes: tuple[int, int] = (84, 28), **changes: bytes) -> Path:
    """Write gzip.zip with one split; each picture has its label in the corner and a bar along its (true) top row.

    `changes` replace members, named by the end of their names without "-ubyte.gz", such as train_labels_idx1.
    """
    lines = MAPPINGS[split]
    first = int(lines[0].split()[0])
    members = {"mapping.txt": "\n".join(lines).encode()}
    for part, size in zip(("train", "test"), sizes, strict=True):
        labels = (np.arange(size) % len(lines) + first).astype(np.uint8)
        images = np.zeros((size, 28, 28), np.uint8)
        images[:, 0, :] = 200
        images[:, 5, 3] = labels
        members[f"{part}-images-idx3"] = idx(np.ascontiguousarray(images.swapaxes(1, 2)))
        members[f"{part}-labels-idx1"] = idx(labels)
    members |= {name.replace("_", "-") if name != "mapping" else "mapping.txt": data for name, data in changes.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            end = "" if name == "mapping.txt" else "-ubyte.gz"
            archive.writestr(f"gzip/emnist-{split}-{name}{end}", data)
    return path


def png(array: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(array).save(data, "png")
    return data.getvalue()


def symbol_files(each: int = 20, symbols: tuple[str, ...] = (*SYMBOLS, "x", "3")) -> dict[str, bytes]:
    """PNG files as BHMSDS has them, black on white: a bar at the left whose height tells the symbol, all different."""
    files = {"bhmsds-master/README.md": b"# no picture"}
    for height, symbol in enumerate(symbols, start=4):
        for number in range(each):
            picture = np.full((28, 28), 255, np.uint8)
            picture[:height, : 2 + number // 10] = number % 10
            files[f"bhmsds-master/symbols/{symbol}-{number:04d}.png"] = png(picture)
    return files


def make_bhmsds(path: Path, files: dict[str, bytes] | None = None) -> Path:
    """Write the archive of the symbols as a zip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (symbol_files() if files is None else files).items():
            archive.writestr(name, data)
    return path


def make_mirror(folder: Path, split: str = "balanced") -> Path:
    """A mirror with both archives."""
    make_emnist(folder / "emnist" / "gzip.zip", split)
    make_bhmsds(folder / "bhmsds" / "bhmsds-master.zip")
    return folder


def make_archive(folder: Path, train: int = 408, test: int = 102) -> Path:
    """Rendered characters as prepared data: 51 classes, as setup_data.py --synthetic makes them, but fewer."""
    arrays, facts = stand_in(SYMBOLS)
    kept = {}
    for part, size in (("train", train), ("test", test)):
        labels = arrays[f"{part}_labels"]
        rows = np.sort(np.concatenate([np.flatnonzero(labels == k)[: size // 51] for k in range(51)]))
        kept |= {f"{part}_images": arrays[f"{part}_images"][rows], f"{part}_labels": labels[rows]}
    info = facts | {
        "dataset": "emnist",
        "complete": False,
        "characters": {"train": train // 51 * 47, "test": test // 51 * 47},
        "command": "python emnist/setup_data.py --synthetic",
        "recipe": {"split": "", "symbols": list(SYMBOLS)},
    }
    save_prepared(folder, kept, info)
    return folder


def make_run(
    folder: Path, architecture: Architecture | None = None, weights: Layer | None = None, **changes: object
) -> Path:
    """A run folder as training leaves it; the weights are as they were drawn, unless others are given."""
    architecture = architecture or Architecture(51, hidden=(16,))
    _, facts = stand_in(SYMBOLS)
    description = {
        "kind": "weights",
        "data": {"dataset": "emnist"},
        "notice": NOTICE,
        "about": {
            "architecture": architecture.to_dict(),
            "normalize": {"mean": 0.17, "std": 0.33},
            "classes": facts["classes"],
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / "best.safetensors", (weights or build(architecture)).state_dict(), description | changes)
    (folder / "config.json").write_text(json.dumps({"data": {"dataset": "emnist"}}))
    return folder


def make_trained_run(folder: Path) -> Path:
    """A run that has learned, from the example strokes alone, to read digits and signs."""
    classes = stand_in(SYMBOLS)[1]["classes"]
    names = {"+": "plus", "-": "minus", "/": "slash", "*": "dot"}
    symbols = {c: drawing.part(drawing.example(c), PEN)[0] for c in "0123456789" + "".join(drawing.OPERATORS)}
    images = np.stack([picture for s in symbols.values() for picture in (s.as_character, s.as_sign)])  # (28, 28, 28)
    labels = np.repeat([classes.index(names.get(c, c)) for c in symbols], 2)
    architecture, normalize = Architecture(51, hidden=(64,)), Normalize(0.17, 0.33)
    augment, rng = Compose([Affine(rotate=10, shear=10, shift=1)]), np.random.default_rng(0)

    def inputs(rows: np.ndarray) -> np.ndarray:
        return preprocess(augment(images[rows].astype(np.float32) / 255, rng), normalize)

    network = learn(build(architecture), inputs, labels, steps=150)
    about = {"architecture": architecture.to_dict(), "normalize": normalize.to_dict(), "classes": classes}
    return make_run(folder, architecture, weights=network, about=about)


def written(text: str) -> str:
    """What the pad sends for an expression written across it."""
    strokes = drawing.example(text)
    width = max(stroke[:, 0].max() for stroke in strokes)
    return as_json([stroke * min(2.0, 700 / width) + np.array([50, 30]) for stroke in strokes])
