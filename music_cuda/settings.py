"""Every setting of a training of this project, and the presets that the README reports on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.errors import UserError
from core.training.settings import (
    TrainingSettings,
    check_at_least,
    check_at_most,
    check_batch_norm,
    check_below_one,
    check_validated,
)
from music_cuda.model import Architecture

PresetName = Literal["default", "best"]
Way = Literal["layers", "vectors", "fused", "naive"]


@dataclass
class Settings(TrainingSettings):
    """The network, the songs, the way to compute, and everything of TrainingSettings."""

    preset: PresetName = "default"
    """The values that all other flags start from."""
    dataset: str = "gtzan"
    """Prepared songs: the name of a folder in archive/, or the path of one."""
    more: Path | None = None
    """A table of further songs to train on, such as classify.py writes."""
    validation: float = 0.1
    """Share of the training songs held out to choose the best epoch by; 0 for none: then the last epoch counts."""

    hidden1: int = 32
    """Units of the first hidden layer."""
    hidden2: int = 16
    """Units of the second hidden layer; 0 for none."""
    normal_scores: bool = False
    """Give each feature a normal distribution before anything else."""
    batch_norm: bool = False
    """Normalise each hidden layer over the batch."""
    dropout: float = 0.0
    """Share of each hidden layer's outputs dropped in training."""
    input_dropout: float = 0.0
    """Share of the features dropped in training."""
    mixup: float = 0.0
    """Train on mixtures of songs: the parameter of the beta distribution of their shares; 0 for none."""
    members: int = 1
    """Train so many networks at once, which learn apart and answer together."""

    fused: bool = False
    """A whole epoch in one kernel, with all weights on the chip of a GPU (plain gradient descent only)."""
    naive: bool = False
    """A kernel for each layer and song, to see what fusing them gains (plain gradient descent only)."""
    layers: bool = False
    """Compute with the layers of core even where --fused or vectors, song by song on the CPU, would be faster."""

    folds: int = 0
    """Cross-validate instead: train so often, each time without another part of the songs, which is then tested."""
    inner: bool = False
    """Cross-validate within the training songs, to choose settings by."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, hidden1=1, hidden2=0, members=1, mixup=0, folds=0)
        check_at_most(self, members=100)
        check_below_one(self, "dropout", "input_dropout", "validation")
        check_batch_norm(self)
        if self.folds == 1:
            raise UserError("--folds needs at least 2 parts, such as --folds 10")
        if self.inner and not self.folds:
            raise UserError("--inner belongs to --folds")
        if self.folds and (self.schedule == "plateau" or self.patience):
            raise UserError("with --folds nothing is held out that --schedule plateau and --patience could wait for")
        check_validated(self, self.validation)
        chosen = [f"--{way}" for way in ("fused", "naive", "layers") if getattr(self, way)]
        if len(chosen) > 1:
            raise UserError(f"{' and '.join(chosen)} are different ways to compute: choose one")
        if (self.fused or self.naive) and self.beyond_plain:
            raise UserError(f"{chosen[0]} is plain gradient descent: leave out --{self.beyond_plain}")
        if self.naive and self.batch_size > 1:
            raise UserError("--naive takes one song at a time: leave out --batch-size")

    @property
    def beyond_plain(self) -> str:
        """The first flag that asks for more than plain gradient descent on three layers; "" if there is none."""
        plain = {"optimizer": "sgd", "hidden2": self.hidden2 or None}
        nothing = (
            "momentum", "nesterov", "weight_decay", "clip_value", "clip_norm", "label_smoothing", "ema_decay",
            "normal_scores", "batch_norm", "dropout", "input_dropout", "mixup",
        )  # fmt: skip
        wanted = plain | dict.fromkeys(nothing, 0) | {"accumulate": 1, "members": 1}
        return next((name.replace("_", "-") for name, value in wanted.items() if getattr(self, name) != value), "")

    def way(self, device: str) -> Way:
        """How an epoch is computed on this device."""
        if self.fused or self.naive:
            return "fused" if self.fused else "naive"
        if self.beyond_plain or self.layers:
            return "layers"
        if device == "gpu":
            return "fused"
        return "vectors" if self.batch_size == 1 else "layers"

    @property
    def run_name(self) -> str:
        """The name of the run's folder: --name, or the preset."""
        return self.name if self.name != "default" else self.preset

    @property
    def architecture(self) -> Architecture:
        """The network that these settings ask for."""
        return Architecture(
            hidden=(self.hidden1, self.hidden2) if self.hidden2 else (self.hidden1,),
            normal_scores=self.normal_scores,
            batch_norm=self.batch_norm,
            dropout=self.dropout,
            input_dropout=self.input_dropout,
            members=self.members,
        )


PRESETS: dict[str, Settings] = {
    "default": Settings(
        epochs=60, batch_size=1, lr=0.02, optimizer="sgd", momentum=0.0, schedule="one_cycle",
    ),
    "best": Settings(
        preset="best", validation=0.0, epochs=120, batch_size=64, hidden1=384, hidden2=192, normal_scores=True,
        batch_norm=True, dropout=0.2, input_dropout=0.1, mixup=0.2, members=8, optimizer="adamw", lr=2e-3,
        weight_decay=0.05, schedule="one_cycle", label_smoothing=0.1,
    ),
}  # fmt: skip
