"""Every setting of a training of this project, and the presets that the README reports on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from core.data.augment import Affine, Compose, Elastic
from core.errors import UserError
from core.training.settings import TrainingSettings, check_at_least, check_at_most, check_batch_norm, check_below_one
from emnist.model import DEEPEST, ActivationName, Architecture

PresetName = Literal["default", "classic", "mlp-best", "cnn"]
WeightingName = Literal["none", "root", "balanced"]


@dataclass
class Settings(TrainingSettings):
    """The network, the data, the augmentation, and everything of TrainingSettings."""

    preset: PresetName = "default"
    """The values that all other flags start from; default is classic."""
    data: str = ""
    """Folder of the prepared data, if it is not archive/emnist."""
    validation: float = 0.1
    """Share of the training images held out to choose the best epoch by."""
    class_weights: WeightingName = "none"
    """How much more a sample of a rare class counts: not at all, by the root of how rare it is, or in full. With
    --accumulate, each part of a batch is weighted by itself."""
    retrain: bool = False
    """Train even if these settings have been trained on these data before."""

    filters: tuple[int, ...] = ()
    """Filters of the convolutions 3 x 3 of each stage; none for a multilayer perceptron."""
    depth: int = 1
    """Convolutions of each stage."""
    pools: int = 2
    """Stages, from the first one on, that end with 2 x 2 max-pooling."""
    hidden: tuple[int, ...] = (256, 128)
    """Sizes of the fully connected layers before the last one."""
    activation: ActivationName = "relu"
    """The function after each fully connected layer but the last."""
    dropout: float = 0.0
    """Share of each hidden layer's outputs dropped in training."""
    batch_norm: bool = False
    """Normalise each convolution's and each hidden layer's outputs over the batch."""

    rotate: float = 0.0
    """Augmentation: largest rotation, in degrees."""
    scale: float = 0.0
    """Augmentation: largest change of size, as a fraction."""
    shear: float = 0.0
    """Augmentation: largest slant, in degrees."""
    shift: float = 0.0
    """Augmentation: largest shift along each axis, in pixels."""
    elastic: float = 0.0
    """Augmentation: strength (alpha) of the elastic distortion of Simard et al. 2003; about 30 for characters."""
    elastic_sigma: float = 4.5
    """Augmentation: smoothness of the elastic distortion, in pixels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, filters=1, depth=1, pools=0, hidden=1, rotate=0)
        check_at_least(self, shear=0, shift=0, elastic=0, elastic_sigma=0.5)
        check_at_most(self, depth=DEEPEST)
        check_below_one(self, "dropout", "scale", "validation")
        if self.hidden:  # convolutions normalise the pixels of a single picture, too
            check_batch_norm(self)
        if not self.validation:
            raise UserError("--validation must be above 0: the best epoch is chosen by the images held out")
        if min(self.pools, len(self.filters)) > 4:
            raise UserError(f"--pools {self.pools} leaves nothing of a picture of 28 x 28 pixels; at most 4 do")

    @property
    def run_name(self) -> str:
        """The name of the run's folder: --name, or the preset."""
        preset = "classic" if self.preset == "default" else self.preset
        return self.name if self.name != "default" else preset

    def architecture(self, classes: int) -> Architecture:
        """The network that these settings ask for."""
        return Architecture(
            classes, self.filters, self.pools, self.hidden, self.activation, self.dropout, self.batch_norm, self.depth
        )

    def augmentation(self) -> Compose | None:
        """The distortions that these settings ask for, if any."""
        affine = Affine(rotate=self.rotate, scale=self.scale, shear=self.shear, shift=self.shift)
        parts: list[Affine | Elastic] = [affine] if affine != Affine() else []
        parts += [Elastic(alpha=self.elastic, sigma=self.elastic_sigma)] if self.elastic else []
        return Compose(parts) if parts else None


CLASSIC = Settings(
    preset="classic", epochs=60, batch_size=32, lr=5e-4, dropout=0.2, ema_decay=0.999, ema_every=4,
    validation=0.05, patience=5, min_delta=5e-4,
)  # fmt: skip
PRESETS: dict[str, Settings] = {
    "default": replace(CLASSIC, preset="default"),
    "classic": CLASSIC,
    "mlp-best": Settings(
        preset="mlp-best", epochs=40, batch_size=256, hidden=(1536, 1024), batch_norm=True, dropout=0.2,
        optimizer="adamw", lr=2e-3, schedule="one_cycle", weight_decay=0.05, ema_decay=0.999, ema_every=4,
        validation=0.05, rotate=8, scale=0.1, shear=8, shift=1, elastic=20,
    ),
    # No distortions: they blur the strokes, and how thick and how sharp these are is much of what tells 1 from I and 0
    # from O, since every character has been scaled to one size.
    "cnn": Settings(
        preset="cnn", epochs=9, batch_size=256, filters=(32, 64, 128), depth=2, pools=3, hidden=(256,), batch_norm=True,
        dropout=0.5, optimizer="adamw", lr=3e-3, schedule="one_cycle", weight_decay=0.05, ema_decay=0.999, ema_every=4,
        validation=0.05,
    ),
}  # fmt: skip
