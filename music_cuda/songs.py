"""The prepared songs: what training, test and demo read."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from core.backend import Array
from core.data.prepared import load_prepared
from core.data.sources import GTZAN
from core.data.verify import sha256_of_content
from core.errors import UserError
from music_cuda.table import FEATURES, GENRES, read_table

PROJECT = Path(__file__).resolve().parent


class Data(NamedTuple):
    """Prepared songs, and what the prepared data says of itself."""

    features: Array
    """float32 (N, 57)."""
    labels: Array
    """int64 (N,)."""
    names: list[str]
    info: dict[str, Any]


def load_songs(dataset: str = GTZAN.name, parts: Sequence[str] = ("train",)) -> Data:
    """The songs of these parts, "train" or "test", of a folder in archive/ or elsewhere.

    Raises UserError where there is none, or it holds something else.
    """
    prepared = load_prepared(
        folder_of(dataset), [f"{part}_{what}" for part in parts for what in ("features", "labels")]
    )
    arrays, info = prepared.arrays, prepared.info
    features = np.concatenate([arrays[f"{part}_features"] for part in parts])
    labels = np.concatenate([arrays[f"{part}_labels"] for part in parts]).astype(np.int64)
    fits = features.shape == (len(labels), len(FEATURES)) and labels.size and labels.max() < len(GENRES)
    if not fits or tuple(info["classes"]) != GENRES:
        folder = folder_of(dataset)
        command = f"python {PROJECT.name}/setup_data.py --force --archive {shlex.quote(str(folder))}"
        raise UserError(f"{folder} holds no songs of this project; `{command}` puts them in place of what is there")
    names = [name for part in parts for name in info["songs"][part]]
    return Data(features, labels, names, info)


def folder_of(dataset: str) -> Path:
    """The folder that --dataset means."""
    path = Path(dataset)
    if path.suffix == ".csv":
        raise UserError(
            f"--dataset {dataset}: prepare it first, with `python {PROJECT.name}/setup_data.py --csv {dataset}`"
        )
    return path if len(path.parts) > 1 or path.is_dir() else PROJECT / "archive" / dataset


def with_more(data: Data, table: Path | None) -> Data:
    """The data and the songs of another table, which the info's notice then tells of."""
    if table is None:
        return data
    songs, _ = read_table(table)
    notice = f"trained with {len(songs.labels)} further songs of {table.name}"
    info = data.info | {"complete": False, "notice": "; ".join(filter(None, [data.info["notice"], notice]))}
    info["files"] = {**info.get("files", {}), table.name: sha256_of_content(table)}
    features = np.concatenate([data.features, songs.features.astype(np.float32)])
    return Data(features, np.concatenate([data.labels, songs.labels]), [*data.names, *songs.names], info)
