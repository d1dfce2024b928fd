"""Every setting of a training of this project, and the presets that the README reports on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.data.augment import Affine, ColourJitter, Compose, Cutout, Elastic, HorizontalFlip, Transform
from core.errors import UserError
from core.training.settings import TrainingSettings, check_at_least, check_at_most, check_batch_norm, check_below_one
from mlp_mnist.model import ActivationName, Architecture, DataSet

PresetName = Literal["default", "best", "fashion", "fashion-best", "classic-full", "classic-small"]


@dataclass
class Settings(TrainingSettings):
    """The network, the data, the augmentation, and everything of TrainingSettings."""

    preset: PresetName = "default"
    """The values that all other flags start from."""
    dataset: DataSet = "mnist"
    """Which prepared data to train on."""
    data: str = ""
    """Folder of the prepared data, if it is not archive/<dataset>."""
    validation: int = 5000
    """Training images held out to choose the best epoch by; the test images are never used for that."""
    train_samples: int = 0
    """Train on so many images only; 0 for all, -1 to be asked on a terminal (400 without one)."""

    hidden: tuple[int, ...] = (256, 128)
    """Sizes of the hidden layers."""
    activation: ActivationName = "relu"
    """The function between the layers."""
    dropout: float = 0.3
    """Share of each hidden layer's outputs dropped in training."""
    input_dropout: float = 0.1
    """Share of the pixels dropped in training."""
    batch_norm: bool = False
    """Normalise each hidden layer over the batch."""
    members: int = 1
    """Train so many networks at once, which learn apart and answer together."""
    loss: Literal["cross_entropy", "mean_squared_error", "focal"] = "cross_entropy"
    """What is minimised; mean_squared_error ends the network in sigmoids."""

    rotate: float = 0.0
    """Augmentation: largest rotation, in degrees."""
    scale: float = 0.0
    """Augmentation: largest change of size, as a fraction."""
    stretch: float = 0.0
    """Augmentation: largest stretch in height, and shrinking in width or the reverse, as a fraction."""
    shear: float = 0.0
    """Augmentation: largest slant, in degrees."""
    shift: float = 0.0
    """Augmentation: largest shift along each axis, in pixels."""
    elastic: float = 0.0
    """Augmentation: strength (alpha) of the elastic distortion of Simard et al. 2003; about 34 for digits."""
    elastic_sigma: float = 4.0
    """Augmentation: smoothness of the elastic distortion, in pixels."""
    flip: bool = False
    """Augmentation: mirror every other image, for clothes rather than for digits."""
    jitter: float = 0.0
    """Augmentation: largest change of brightness and of contrast, as a fraction."""
    cutout: int = 0
    """Augmentation: side of the square that is blanked, in pixels."""

    show_images: bool = False
    """Save a picture of the training images, as the network gets them, before training."""
    log_gradients: bool = False
    """Write the deltas and gradients of every layer at every step to gradients.log (slow, for debugging)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, hidden=1, validation=1, train_samples=-1, members=1)
        check_at_most(self, members=100)
        check_at_least(self, rotate=0, scale=0, stretch=0, shear=0, shift=0)
        check_at_least(self, elastic=0, elastic_sigma=0.5, jitter=0, cutout=0)
        check_below_one(self, "dropout", "input_dropout", "scale", "stretch", "jitter")
        check_batch_norm(self)
        if not self.hidden:
            raise UserError("--hidden needs at least one size")
        if self.label_smoothing and self.loss != "cross_entropy":
            raise UserError(f"--label-smoothing is for --loss cross_entropy; leave it out with {self.loss}")
        if self.log_gradients and (self.accumulate > 1 or self.members > 1):
            raise UserError("--log-gradients shows whole batches of one network: leave out --accumulate and --members")

    @property
    def run_name(self) -> str:
        """The name of the run's folder: --name, or the data set and the preset."""
        return self.name if self.name != "default" else f"{self.dataset}-{self.preset}"

    def architecture(self, classes: int) -> Architecture:
        """The network that these settings ask for."""
        return Architecture(
            hidden=tuple(self.hidden),
            activation=self.activation,
            dropout=self.dropout,
            input_dropout=self.input_dropout,
            batch_norm=self.batch_norm,
            sigmoid_output=self.loss == "mean_squared_error",
            classes=classes,
            members=self.members,
        )

    def augmentation(self) -> Compose | None:
        """The distortions that these settings ask for, if any."""
        transforms: list[Transform | Affine | Elastic] = []
        if self.flip:
            transforms.append(HorizontalFlip())
        affine = Affine(self.rotate, self.scale, self.stretch, self.shear, self.shift)
        if affine != Affine():
            transforms.append(affine)
        if self.elastic:
            transforms.append(Elastic(alpha=self.elastic, sigma=self.elastic_sigma))
        if self.jitter:
            transforms.append(ColourJitter(brightness=self.jitter, contrast=self.jitter))
        if self.cutout:
            transforms.append(Cutout(self.cutout))
        return Compose(transforms) if transforms else None


PRESETS: dict[str, Settings] = {
    "default": Settings(
        epochs=20, lr=2e-3, schedule="one_cycle", weight_decay=1e-5
    ),
    "best": Settings(
        preset="best", epochs=60, batch_size=256, hidden=(1536, 1024), batch_norm=True, dropout=0.2,
        input_dropout=0.0, optimizer="adamw", lr=2e-3, schedule="one_cycle", weight_decay=0.05,
        ema_decay=0.999, ema_every=4,
        rotate=10, scale=0.12, shear=8, shift=1, elastic=34, elastic_sigma=4.5,
    ),
    "fashion": Settings(
        preset="fashion", dataset="fashion_mnist", epochs=30, batch_size=256, hidden=(1024, 512), batch_norm=True,
        dropout=0.4, input_dropout=0.1, optimizer="adamw", lr=2e-3, schedule="one_cycle", weight_decay=0.05,
        ema_decay=0.998, ema_every=4,
    ),
    "fashion-best": Settings(
        preset="fashion-best", dataset="fashion_mnist", epochs=30, batch_size=256, hidden=(1024, 512),
        batch_norm=True, dropout=0.4, input_dropout=0.1, members=4, optimizer="adamw", lr=2e-3, schedule="one_cycle",
        weight_decay=0.05, ema_decay=0.998, ema_every=4,
    ),
    "classic-full": Settings(
        preset="classic-full", hidden=(107, 26), dropout=0.0, input_dropout=0.0, batch_size=60_000, epochs=200,
        optimizer="sgd", momentum=0.0, lr=0.3, clip_value=1.0,
    ),
    "classic-small": Settings(
        preset="classic-small", hidden=(107, 26), activation="sigmoid", loss="mean_squared_error",
        dropout=0.0, input_dropout=0.2, train_samples=-1, batch_size=20, epochs=300,
        optimizer="sgd", momentum=0.9, lr=0.5,
    ),
}  # fmt: skip
