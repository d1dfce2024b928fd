"""A run folder as training leaves it, and prepared data, both small; the weights are as they were drawn."""

from __future__ import annotations

import json
from pathlib import Path

from learning import learn

from core.data.normalize import Normalize
from core.data.prepared import save_prepared
from core.data.sources import DATA_SETS
from core.data.synthetic import digits
from core.layers import Layer
from core.training.checkpoint import save_checkpoint
from mlp_mnist.model import Architecture, build, preprocess

NOTICE = "SYNTHETIC data: rendered digits, not MNIST; no figure here is a real result"


def make_run(
    folder: Path,
    dataset: str = "mnist",
    architecture: Architecture | None = None,
    weights: Layer | None = None,
    **changes: object,
) -> Path:
    """Write best.safetensors and config.json; `changes` replace parts of the weights' description."""
    architecture = architecture or Architecture(hidden=(16, 8), dropout=0.5)
    description = {
        "kind": "weights",
        "data": {"dataset": dataset},
        "notice": NOTICE,
        "about": {
            "architecture": architecture.to_dict(),
            "normalize": {"mean": 0.13, "std": 0.31},
            "classes": list(DATA_SETS[dataset].classes),
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / "best.safetensors", (weights or build(architecture)).state_dict(), description | changes)
    (folder / "config.json").write_text(json.dumps({"data": {"dataset": dataset}}))
    return folder


def make_trained_run(folder: Path) -> Path:
    """A run that has learned to read digits."""
    architecture, normalize = Architecture(hidden=(64,)), Normalize(0.13, 0.31)
    images, labels = digits(6000, seed=0)
    network = learn(build(architecture), lambda rows: preprocess(images[rows], normalize), labels, steps=400)
    return make_run(folder, architecture=architecture, weights=network)


def make_archive(folder: Path, dataset: str = "mnist", notice: str = NOTICE) -> Path:
    """Write 60 rendered digits as the test split of prepared data; whoever opens the training split fails."""
    images, labels = digits(60, seed=0)
    info = {
        "dataset": dataset,
        "origin": "synthetic",
        "complete": not notice,
        "notice": notice,
        "classes": list(DATA_SETS[dataset].classes),
        "command": "python mlp_mnist/setup_data.py --synthetic",
        "licence": "CC BY-SA 3.0",
        "citation": "LeCun et al. 1998",
    }
    save_prepared(folder, {"test_images": images, "test_labels": labels}, info)
    return folder
