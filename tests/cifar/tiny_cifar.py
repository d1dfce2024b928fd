"""Small pictures as the publisher's archives and as prepared data, and a run folder as training leaves it."""

from __future__ import annotations

import io
import json
import tarfile
from functools import lru_cache
from pathlib import Path

import numpy as np

from cifar.model import Architecture, build
from core.data.prepared import Arrays, save_prepared
from core.data.shapes import textured_shapes
from core.data.sources import CIFAR10
from core.training.checkpoint import save_checkpoint

NOTICE = "SYNTHETIC data: made by a test"
CLASSES = CIFAR10.classes
FILES = (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch")
TINY = {
    "mlp": Architecture("mlp", hidden=(24, 16), activation="gelu", dropout=0.3),
    "cnn": Architecture("cnn", widths=(8, 8, 16), hidden=(16,)),
    "resnet": Architecture("resnet", widths=(8, 8, 16), activation="leaky_relu", dropout=0.3),
    "fast": Architecture("fast", widths=(8, 8, 16)),
}


@lru_cache(maxsize=4)
def pictures(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (n, 32, 32, 3) and uint8 (n,)."""
    images, labels = textured_shapes(n, seed)
    return images, labels.astype(np.uint8)


def records(images: np.ndarray, labels: np.ndarray) -> bytes:
    """The binary form: a label, all reds, all greens, all blues."""
    pixels = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return np.concatenate([labels[:, None], pixels], axis=1).astype(np.uint8).tobytes()


def python_2_pickle(images: np.ndarray, labels: np.ndarray) -> bytes:
    """The Python form, as its publisher's Python 2 wrote it."""
    pixels = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    shape = b"(" + b"".join(b"J" + size.to_bytes(4, "little") for size in pixels.shape) + b"t"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01" + shape + dtype
    array += b"\x89T" + pixels.size.to_bytes(4, "little") + pixels.tobytes() + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(U\x0bbatch_labelU\x05batchU\x06labels" + numbers + b"U\x04data" + array + b"u."


def tar_gz(members: dict[str, bytes]) -> bytes:
    """An archive with these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def batches(sizes: tuple[int, ...] = (24, 20, 20, 20, 20, 12)) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and labels by the name of their file."""
    return {name: pictures(size, seed) for seed, (name, size) in enumerate(zip(FILES, sizes, strict=True))}


def binary_archive(**changes: bytes) -> bytes:
    """A partial binary archive; `changes` replace files, and None leaves one out."""
    content = {name: records(*pair) for name, pair in batches().items()} | changes
    return tar_gz({f"cifar-10-batches-bin/{name}.bin": data for name, data in content.items() if data is not None})


def python_archive() -> bytes:
    """The same images in the Python form."""
    return tar_gz({f"cifar-10-batches-py/{name}": python_2_pickle(*pair) for name, pair in batches().items()})


def mirror(folder: Path, **archives: bytes) -> Path:
    """A mirror with the archives given as binary=..., python=...."""
    (folder / "cifar10").mkdir(parents=True)
    for kind, content in archives.items():
        (folder / "cifar10" / f"cifar-10-{kind}.tar.gz").write_bytes(content)
    return folder


@lru_cache(maxsize=1)
def make_arrays() -> Arrays:
    """200 training, 40 held-out and 40 test images."""
    arrays: Arrays = {}
    for seed, (part, size) in enumerate((("train", 200), ("held_out", 40), ("test", 40))):
        arrays[f"{part}_images"], arrays[f"{part}_labels"] = pictures(size, seed)
    return arrays


def make_archive(folder: Path, parts: tuple[str, ...] = ("train", "held_out", "test"), **changes: object) -> Path:
    """Write prepared data that holds the given parts only, so that whoever opens another one fails."""
    info = {
        "dataset": "cifar10",
        "origin": "synthetic",
        "complete": False,
        "notice": NOTICE,
        "classes": list(CLASSES),
        "command": "python cifar/setup_data.py --synthetic",
    }
    arrays = {name: array for name, array in make_arrays().items() if name.startswith(parts)}
    save_prepared(folder, arrays, info | changes)
    return folder


def make_run(folder: Path, architecture: Architecture = TINY["fast"], **changes: object) -> Path:
    """Write best.safetensors, with weights as they were drawn, and config.json; `changes` replace parts of them."""
    description = {
        "kind": "weights",
        "data": {"dataset": "cifar10"},
        "notice": NOTICE,
        "about": {
            "architecture": architecture.to_dict(),
            "normalize": {"mean": [0.5] * 3, "std": [0.25] * 3},
            "classes": list(CLASSES),
            "trained_on": 200,
            "selected_on": 0,
        },
    }
    network = build(architecture)
    if architecture.model == "fast":
        x = pictures(40)[0].astype(np.float32) / 128 - 1
        network.layers["features"].layers["whitening"].fit(x)
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / "best.safetensors", network.state_dict(), description | changes)
    (folder / "config.json").write_text(json.dumps({"data": {"dataset": "cifar10"}}))
    return folder
