"""The files behind a data set of small grey images: the publisher's four IDX files, and a pair of CSV files."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.data.fetch import downloads_folder
from core.data.image_csv import read_image_csv, write_image_csv
from core.data.prepared import INFO, Arrays, Prepared
from core.data.readers import idx_header, read_idx_pair
from core.data.setup import SetupSettings, fetch_file, megabytes, shown
from core.data.sources import DataSet
from core.data.verify import sha256_of_content
from core.errors import UserError

PARTS = {"train": "training", "test": "test"}


def fetch_images(data_set: DataSet, settings: SetupSettings, project: Path) -> Arrays:
    """train_images, train_labels, test_images and test_labels from the publisher's IDX files; UserError if it fails."""
    downloads = downloads_folder(project, settings.data_dir)
    paths = {role: fetch_file(file, downloads, settings).path for role, file in data_set.files.items()}
    arrays: Arrays = {}
    for part in PARTS:
        pair = read_idx_pair(paths[f"{part}_images"], paths[f"{part}_labels"], len(data_set.classes))
        arrays[f"{part}_images"], arrays[f"{part}_labels"] = pair
    return arrays


def altered_files(data_set: DataSet, arrays: Arrays) -> list[str]:
    """Which of the arrays are not, byte for byte, what the publisher's IDX files hold."""
    return [role for role, file in data_set.files.items() if idx_sha256(arrays[role]) != file.content_sha256]


def idx_sha256(array: NDArray[np.uint8]) -> str:
    """The checksum that the uncompressed IDX file of this array has."""
    digest = hashlib.sha256(idx_header(array))
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def csv_checksums(paths: Sequence[Path]) -> dict[str, str]:
    """Name to checksum of the content of the files given by --from-csv; UserError for one that cannot be read."""
    return {path.name: _checksum(path) for path in paths}


def _checksum(path: Path) -> str:
    try:
        return sha256_of_content(path)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--from-csv {path}: cannot be read ({reason})") from error


def read_csv_files(paths: Sequence[Path], classes: int, shape: tuple[int, int] = (28, 28)) -> Arrays:
    """The four arrays from two CSV files, training then test; see `read_image_csv`."""
    arrays: Arrays = {}
    for part, path in zip(PARTS, paths, strict=True):
        arrays[f"{part}_images"], arrays[f"{part}_labels"] = read_image_csv(path, classes, shape)
    return arrays


def write_csv_files(folder: Path, prepared: Prepared) -> None:
    """Write the prepared data of `folder` as two CSV files beside it, unless they are there and younger than it."""
    for part in PARTS:
        path = folder.with_name(f"{folder.name}_{part}.csv")
        if path.exists() and path.stat().st_mtime >= (folder / INFO).stat().st_mtime:
            print(f"{shown(path)} is there already")
            continue
        write_image_csv(path, prepared.arrays[f"{part}_images"], prepared.arrays[f"{part}_labels"])
        print(f"wrote {shown(path)} ({megabytes(path.stat().st_size)})")
