"""Small networks of every project with random states, as run folders, and samples for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import cifar.model
import cnn_mnist100.model
import emnist.model
import mlp_mnist.model
import music_cuda.model
import rnn_doodles.model
from core.data.normalize import Normalize
from core.layers import Layer, Sequences
from core.training.checkpoint import save_checkpoint

NOTICE = "SYNTHETIC data: made by a test"
Doodles, Songs = rnn_doodles.model.Architecture, music_cuda.model.Architecture
NETWORKS = {
    "mlp_mnist": mlp_mnist.model.Architecture(hidden=(16, 8), dropout=0.5, activation="gelu"),
    "mlp_mnist, sigmoids": mlp_mnist.model.Architecture(hidden=(9,), activation="sigmoid", sigmoid_output=True),
    "mlp_mnist, committee": mlp_mnist.model.Architecture(hidden=(9,), batch_norm=True, members=3),
    "cnn_mnist100": cnn_mnist100.model.Architecture(filters=(4, 5), hidden=(12,)),
    "cnn_mnist100, digits": cnn_mnist100.model.Architecture((4, 5, 6), 3, 1, 2, (12,), 0.3, True, "digits"),
    "emnist, perceptron": emnist.model.Architecture(classes=7, hidden=(9, 8), activation="tanh"),
    "emnist, convolutions": emnist.model.Architecture(7, (4, 5, 6), 3, (9,), "leaky_relu", 0.4, True),
    "cifar, mlp": cifar.model.Architecture("mlp", hidden=(12, 9), activation="gelu", dropout=0.3),
    "cifar, cnn": cifar.model.Architecture("cnn", widths=(4, 5, 6), hidden=(9,)),
    "cifar, cnn with norm": cifar.model.Architecture("cnn", widths=(4, 5, 6), hidden=(9,), batch_norm=True),
    "cifar, cnn with gelu": cifar.model.Architecture("cnn", widths=(4, 5, 6), hidden=(9,), activation="gelu"),
    "cifar, resnet": cifar.model.Architecture("resnet", widths=(4, 5, 6), activation="leaky_relu", dropout=0.3),
    "cifar, fast": cifar.model.Architecture("fast", widths=(4, 5, 6), activation="gelu"),
    "music_cuda": Songs(hidden=(8, 4)),
    "music_cuda, committee": Songs((8, 4), normal_scores=True, batch_norm=True, dropout=0.2, members=2),
    "rnn_doodles, gru": Doodles(hidden=6, classes=5),
    "rnn_doodles, lstm": Doodles(cell="lstm", hidden=6, layers=1, pool="mean", classes=5),
    "rnn_doodles, rnn": Doodles(cell="rnn", hidden=6, bidirectional=False, classes=5),
}
MODULES = {
    "mlp_mnist": mlp_mnist.model,
    "cnn_mnist100": cnn_mnist100.model,
    "emnist": emnist.model,
    "cifar": cifar.model,
    "music_cuda": music_cuda.model,
    "rnn_doodles": rnn_doodles.model,
}


def songs(n: int) -> np.ndarray:
    """Features of which many songs share a value, so that steps among the normal scores are met."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((n, 57), np.float32) * 50
    x[:, ::3] = np.round(x[:, ::3] / 40) * 40
    return x


def normalize_of(project: str) -> Normalize:
    if project == "music_cuda":
        return Normalize.fit(songs(300), per_channel=True)
    return {"cifar": Normalize([0.5, 0.4, 0.45], [0.25, 0.2, 0.3]), "rnn_doodles": Normalize()}.get(
        project, Normalize(0.13, 0.31)
    )


def make_run(folder: Path, name: str, **changes: object) -> Path:
    """Write best.safetensors of one of the NETWORKS, with a random state; `changes` replace parts of what it says."""
    architecture, project = NETWORKS[name], name.split(",")[0]
    network, normalize = shaken(MODULES[project].build(architecture)), normalize_of(project)
    if project == "music_cuda":
        music_cuda.model.fit_scores(network, normalize(songs(300)))
    for key, array in network.named_state():
        if key == "features.whitening.weight":
            array[...] = np.random.default_rng(5).standard_normal(array.shape)
    K = getattr(architecture, "classes", {"cnn_mnist100": 100}.get(project, 10))
    classes = list(music_cuda.model.GENRES) if project == "music_cuda" else [f"class {k}" for k in range(K)]
    about = {"architecture": architecture.to_dict(), "normalize": normalize.to_dict(), "classes": classes}
    said = {"kind": "weights", "data": {"dataset": "a data set"}, "notice": NOTICE, "about": about} | changes
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / "best.safetensors", network.state_dict(), said)
    return folder


def some_samples(project: str, n: int):
    """Samples as the project stores them, and the feeds for the graph, made here once more."""
    rng = np.random.default_rng(4)
    if project == "music_cuda":
        x = songs(300)[:n]
        return x, {"features": x}
    if project == "rnn_doodles":
        lengths = rng.integers(1, 12, n)
        x = Sequences.pack(rng.standard_normal((lengths.sum(), 3), np.float32), lengths)
        return x, {"movements": x.to_padded(fill=-7.0), "lengths": lengths}
    shape = {"cnn_mnist100": (28, 56), "cifar": (32, 32, 3)}.get(project, (28, 28))
    x = rng.integers(0, 256, (n, *shape), np.uint8)
    return x, {"images": (x / 255).astype(np.float32)}


def shaken(layer: Layer) -> Layer:
    """The layer with a state in which nothing is 0 or 1 any more that a mistake could hide behind."""
    rng = np.random.default_rng(1)
    for name, array in layer.named_state():
        if name.endswith("running_var"):
            array[...] = rng.uniform(0.5, 2, array.shape)
        elif array.ndim == 1:
            array += 0.3 * rng.standard_normal(array.shape)
    return layer
