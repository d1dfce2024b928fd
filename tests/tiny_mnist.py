"""A few pictures in the files that MNIST is published in, for the tests of what is made of them."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
from pathlib import Path

import numpy as np

from core.data.readers import idx_header
from core.data.sources import MNIST, DataSet


def some_pictures(sizes: dict[str, int], darkest: int = 0) -> dict[str, np.ndarray]:
    """Pictures uint8 (N, 28, 28) of noise, at least `darkest` everywhere, and their labels (N,), for each part."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in sizes.items():
        arrays[f"{part}_images"] = rng.integers(darkest, 256, (n, 28, 28)).astype(np.uint8)
        arrays[f"{part}_labels"] = (np.arange(n) % 10).astype(np.uint8)
    return arrays


def idx(array: np.ndarray) -> bytes:
    """The array as an IDX file."""
    return idx_header(array) + array.tobytes()


def make_mirror(folder: Path, arrays: dict[str, np.ndarray]) -> str:
    """A mirror that offers these arrays as MNIST; returns what --mirror takes."""
    (folder / "mnist").mkdir(parents=True)
    for role, file in MNIST.files.items():
        (folder / "mnist" / file.name).write_bytes(gzip.compress(idx(arrays[role])))
    return str(folder)


def as_published(arrays: dict[str, np.ndarray]) -> DataSet:
    """MNIST, as if these arrays were what its publisher publishes, at an address where nobody answers."""
    files = {}
    for role, file in MNIST.files.items():
        content = idx(arrays[role])
        checksum = hashlib.sha256(content).hexdigest()
        files[role] = dataclasses.replace(
            file, urls=("http://127.0.0.1:9/x",), content_size=len(content), content_sha256=checksum
        )
    return dataclasses.replace(MNIST, files=files)
