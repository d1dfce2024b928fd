"""Every setting of a training of this project, and the presets that the README reports on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cnn_mnist100.model import Architecture, HeadName
from cnn_mnist100.pairs import FOLDS
from core.data.augment import Affine, ColourJitter, Compose, Elastic, RandomCrop
from core.errors import UserError
from core.training.settings import check_at_least, check_at_most, check_batch_norm, check_below_one
from core.training.tuning import TuningSettings

TRIALS = 20  # of --auto, if --search does not say how many
PresetName = Literal["default", "best"]


@dataclass
class Settings(TuningSettings):
    """The network, the data, the augmentation, and all that training and tuning always have."""

    preset: PresetName = "default"
    """The values that all other flags start from."""
    data: str = ""
    """Folder of the prepared data, if it is not archive/mnist100."""
    validation: int = 1
    """Twentieths of the training pairs held out to choose the best epoch by; they share no digit with the rest."""

    filters: tuple[int, ...] = (16, 32)
    """Filters of each convolution."""
    kernel: int = 3
    """Side of the kernels of the convolutions, in pixels."""
    padding: int = 0
    """Zeros around what each convolution sees, in pixels."""
    pools: int = 2
    """Convolutions, from the first one on, that are followed by 2 x 2 max-pooling."""
    hidden: tuple[int, ...] = (256,)
    """Sizes of the fully connected layers before the last one."""
    dropout: float = 0.4
    """Share of each hidden layer's outputs dropped in training."""
    batch_norm: bool = False
    """Normalise each convolution's and each hidden layer's outputs over the batch."""
    head: HeadName = "number"
    """Answer for the picture as a whole, or for each half with the same weights."""

    exchange: bool = True
    """Augmentation: let all digits of a batch change places, so that every epoch pairs them anew."""
    shift: int = 2
    """Augmentation: largest shift along each axis, in whole pixels."""
    brightness: float = 0.2
    """Augmentation: largest change of the brightness, as a fraction."""
    contrast: float = 0.2
    """Augmentation: largest change of the contrast, as a fraction."""
    rotate: float = 0.0
    """Augmentation: largest rotation, in degrees."""
    scale: float = 0.0
    """Augmentation: largest change of size, as a fraction."""
    shear: float = 0.0
    """Augmentation: largest slant, in degrees."""
    elastic: float = 0.0
    """Augmentation: strength (alpha) of the elastic distortion of Simard et al. 2003; about 34 for digits."""
    elastic_sigma: float = 4.0
    """Augmentation: smoothness of the elastic distortion, in pixels."""

    def __post_init__(self) -> None:
        if self.auto and not self.search:
            self.search = TRIALS
        super().__post_init__()
        check_at_least(self, filters=1, kernel=1, padding=0, pools=0, hidden=1, validation=1)
        check_at_least(self, shift=0, rotate=0, shear=0, elastic=0, elastic_sigma=0.5)
        check_at_most(self, shift=56)  # by more, nothing of the picture would be left
        check_below_one(self, "dropout", "brightness", "contrast", "scale")
        if self.hidden:  # convolutions normalise the pixels of a single picture, too
            check_batch_norm(self)
        if not self.filters:
            raise UserError("--filters needs at least one number")
        if self.validation >= FOLDS:
            raise UserError(f"--validation {self.validation} of {FOLDS} twentieths leaves nothing to train on")
        height, width = self.architecture().last_map()
        if min(height, width) < 1:
            raise UserError(
                f"{len(self.filters)} convolutions of {self.kernel}x{self.kernel} with --padding {self.padding} and "
                f"--pools {self.pools} leave nothing of a picture of 28 x 56 pixels"
            )
        if self.head == "digits" and width % 2:
            raise UserError(f"--head digits needs an even width after the convolutions, not {width}: try --padding 1")

    @property
    def run_name(self) -> str:
        """The name of the run's folder: --name, or the preset."""
        return self.name if self.name != "default" else self.preset

    def architecture(self) -> Architecture:
        """The network that these settings ask for."""
        return Architecture(
            filters=tuple(self.filters),
            kernel=self.kernel,
            padding=self.padding,
            pools=self.pools,
            hidden=tuple(self.hidden),
            dropout=self.dropout,
            batch_norm=self.batch_norm,
            head=self.head,
        )

    def augmentation(self) -> Compose | None:
        """The distortions that these settings ask for, if any."""
        transforms: list[Affine | Elastic | RandomCrop | ColourJitter] = []
        if self.rotate or self.scale or self.shear:
            transforms.append(Affine(rotate=self.rotate, scale=self.scale, shear=self.shear))
        if self.elastic:
            transforms.append(Elastic(alpha=self.elastic, sigma=self.elastic_sigma))
        if self.shift:
            transforms.append(RandomCrop(self.shift))
        if self.brightness or self.contrast:
            transforms.append(ColourJitter(brightness=self.brightness, contrast=self.contrast))
        return Compose(transforms) if transforms else None


PRESETS: dict[str, Settings] = {
    "default": Settings(
        epochs=20, batch_size=256, lr=5e-3, schedule="one_cycle", weight_decay=1e-4, ema_decay=0.998, ema_every=4,
        patience=5, min_delta=1e-3, monitor="loss", shift=1, rotate=7, scale=0.07, shear=5, elastic=20, elastic_sigma=5,
    ),
    "best": Settings(
        preset="best", epochs=24, batch_size=256, optimizer="adamw", lr=3e-3, schedule="one_cycle", weight_decay=0.02,
        ema_decay=0.999, ema_every=4,
        filters=(32, 64, 128), padding=1, batch_norm=True, head="digits", dropout=0.3,
        exchange=False, shift=1, brightness=0.1, contrast=0.1, rotate=10, scale=0.1, shear=8, elastic=30,
        elastic_sigma=5,
    ),
}  # fmt: skip
