"""A small run that a demo could show, for the tests of exported folders."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from scripts.projects import DEMOS

NOTICE = "SYNTHETIC data: made by a test"
RUNS = {
    "mlp_mnist": "tiny_run",
    "cnn_mnist100": "tiny_pairs",
    "rnn_doodles": "tiny_doodles",
    "music_cuda": "tiny_music",
    "emnist": "tiny_emnist",
    "cifar": "tiny_cifar",
}
sys.path += [str(Path(__file__).with_name(project)) for project in RUNS]  # where the modules are that make small runs


def tiny_run(folder: Path, demo=DEMOS[0], notice: str = NOTICE) -> Path:
    """A run that the demo could show, with the report of test_model.py on it."""
    run = importlib.import_module(RUNS[demo.project]).make_run(folder, data={"dataset": demo.dataset}, notice=notice)
    (run / "config.json").write_text(json.dumps({"data": {"dataset": demo.dataset}}))
    for name in ("last.safetensors", "history.csv", ".config.json.lock"):
        (run / name).write_bytes(b"not for a Space")
    report = {
        "accuracy": {"value": 0.987, "low": 0.98, "high": 0.99},
        "images": 1234,
        "samples": "images",
        "date": "2026-11-21T00:00:00+00:00",
        "dataset": "Data set",
        "licence": "CC BY 4.0",
        "citation": "Somebody, 1998",
        "examples": ["examples/00-zero.png"],
        "weights_sha256": hashlib.sha256((run / "best.safetensors").read_bytes()).hexdigest(),
    }
    (run / "report" / "examples").mkdir(parents=True)
    (run / "report" / "report.json").write_text(json.dumps(report))
    (run / "report" / "model_card.md").write_text("# A model\n")
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(run / "report" / "examples" / "00-zero.png")
    return run


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
