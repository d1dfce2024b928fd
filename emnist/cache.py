"""Weights are kept by the hash of the settings and the data they come from, so that nothing is trained twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.training.files import write_checked
from core.training.find import BEST, CONFIG
from core.training.history import Row
from core.training.lock import FolderLock
from core.training.record import FREE_SETTINGS
from core.training.settings import TrainingSettings

FINISHED = "finished.json"
# What decides nothing about the weights, beside the core's own: where the data lie, and which preset was the start.
NOT_COUNTED = FREE_SETTINGS | {"data", "preset", "retrain"}


def fingerprint(settings: TrainingSettings, info: dict[str, Any]) -> str:
    """The SHA-256 of every setting that decides the weights, and of the checksums of the prepared training data."""
    chosen = {name: value for name, value in asdict(settings).items() if name not in NOT_COUNTED}
    arrays = {name: info["arrays"][name]["sha256"] for name in ("train_images", "train_labels")}
    text = json.dumps([chosen, arrays, info["classes"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def note_finished(folder: Path, key: str, best: Row) -> None:
    """Write down that the run in `folder` has come to its end, and which weights it left."""
    digest = hashlib.sha256((folder / BEST).read_bytes()).hexdigest()
    write_checked(folder / FINISHED, json.dumps({"key": key, "best": best, "weights_sha256": digest}) + "\n")


def take_from_cache(runs: Path, folder: Path, key: str) -> Row | None:
    """Bring the weights of a finished run with this key into `folder`, and say so; returns its best epoch's figures.

    None, and nothing is done, where there is no such run or its weights have been changed since. UserError when another
    run uses `folder`, or it cannot be written.
    """
    for note in sorted(runs.rglob(FINISHED), key=lambda path: path.parent != folder):  # its own folder first
        try:
            files = {name: (note.parent / name).read_bytes() for name in (CONFIG, BEST, FINISHED)}
            known = json.loads(files[FINISHED])
            same = known["key"] == key and known["weights_sha256"] == hashlib.sha256(files[BEST]).hexdigest()
            best, accuracy = dict(known["best"]), float(known["best"]["validation_accuracy"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if not same or (note.parent != folder and (folder / BEST).exists()):
            continue
        if note.parent != folder:
            with FolderLock(folder):
                for name, content in files.items():
                    write_checked(folder / name, content)
        print(
            f"loaded {folder / BEST}: these settings have been trained on these data before, in {note.parent.name} "
            f"(validation accuracy {accuracy:.2%}; --retrain trains again)"
        )
        return best
    return None
