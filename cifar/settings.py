"""Every setting of a training of this project, and the presets that the README reports on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cifar.model import Architecture, ModelName
from cifar.networks import POOLS_OF_CNN, ActivationName
from core.cli import flag_of
from core.data.augment import Affine, ColourJitter, Compose, Cutout, HorizontalFlip, RandomCrop, Transform
from core.errors import UserError
from core.training.settings import (
    TrainingSettings,
    check_above_zero,
    check_at_least,
    check_at_most,
    check_below_one,
    check_validated,
)

PresetName = Literal["mlp", "cnn", "resnet", "resnet-wide", "fast", "fast-long", "fast-gpu", "mnist"]
SHAPES = {"cifar10": (32, 32, 3), "mnist": (28, 28, 1)}


@dataclass
class Settings(TrainingSettings):
    """The network, the data, the augmentation, and all that training always has."""

    preset: PresetName = "fast"
    """The values that all other flags start from; --model and --dataset choose one too."""
    model: ModelName = "fast"
    """The network: a multilayer perceptron, a plain convolutional, a residual, or the fastest one."""
    dataset: Literal["cifar10", "mnist"] = "cifar10"
    """The images to learn from."""
    data: str = ""
    """Folder of the prepared data, if it is not archive/<data set>."""
    validation: int = 0
    """Training images held out to choose the best epoch by; with 0 all are trained on, and the last epoch is taken."""
    optimizer: Literal["adam", "adamw", "amsgrad", "sgd", "muon"] = "sgd"
    """How gradients become updates."""
    decay_at: tuple[int, ...] = ()
    """Epochs after which the learning rate is reduced, in place of --decay-every (step only)."""
    bias_rate: float = 0.0
    """Learning rate of the biases for each unit of --lr and each image of a batch (muon only)."""
    head_rate: float = 0.0
    """Learning rate of the last layer for each unit of --lr and each image of a batch (muon only)."""

    widths: tuple[int, ...] = ()
    """Channels of the convolutions (not for mlp)."""
    hidden: tuple[int, ...] = ()
    """Sizes of the fully connected layers before the last one (mlp and cnn)."""
    activation: ActivationName = "relu"
    """The bend after each layer; gelu is the formula with tanh."""
    dropout: float = 0.0
    """Share dropped in training: of each hidden layer's outputs, or of what enters the last layer (not for fast)."""
    batch_norm: bool = False
    """Normalise over the batch after each convolution (cnn; resnet and fast always do)."""

    crop: int = 0
    """Augmentation: largest shift along each axis, in whole pixels; the border is mirrored."""
    flip: Literal["none", "random", "alternate"] = "none"
    """Augmentation: exchange left and right at random, or every image in every other epoch."""
    rotate: float = 0.0
    """Augmentation: largest rotation, in degrees."""
    jitter: float = 0.0
    """Augmentation: largest change of brightness, contrast and saturation, as a fraction."""
    cutout: int = 0
    """Augmentation: side of a square that is blanked, in pixels."""
    amp: bool = False
    """Mixed precision: products in float16, on tensor cores, and weights in float32 (GPU only)."""
    test_flip: bool = False
    """Validate with the mean of the answers to each image and to its mirror image."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(
            self, decay_at=1, validation=0, widths=1, hidden=1, crop=0, rotate=0, cutout=0, bias_rate=0, head_rate=0
        )
        check_at_most(self, crop=SHAPES[self.dataset][0] - 1)  # the mirrored border has no more pixels
        check_below_one(self, "dropout", "jitter")
        if self.model == "mlp" and self.widths:
            raise UserError("--widths are channels of convolutions, which the mlp has none of: use --hidden")
        if self.model in ("resnet", "fast") and self.hidden:
            raise UserError(f"--hidden is for mlp and cnn; the {self.model} has one fully connected layer only")
        if self.model != "mlp" and len(self.widths) < (1 if self.model == "cnn" else 2):
            raise UserError(f"--widths of {self.model} needs more numbers, got {list(self.widths)}")
        if self.model == "fast" and self.dropout:
            raise UserError("--dropout is for mlp, cnn and resnet")
        check_validated(self, self.validation)
        self._check_size()
        if self.optimizer == "muon":
            if self.model != "fast":
                raise UserError("--optimizer muon is for --model fast")
            check_above_zero(self, "bias_rate", "head_rate")

    def _check_size(self) -> None:
        """UserError where the images are too small for so many poolings, or for so many whitening filters."""
        height, _, channels = SHAPES[self.dataset]
        pools = POOLS_OF_CNN if self.model == "cnn" else max(0, len(self.widths) - 1)
        if self.model != "mlp" and height // 2**pools < 1:
            raise UserError(f"--widths of {len(self.widths)} layers leave nothing of {height} x {height} pixels")
        if self.model == "fast" and (self.widths[0] % 2 or self.widths[0] > 18 * channels):
            raise UserError(
                f"--widths of fast begin with an even number of whitening filters up to {18 * channels}, "
                f"got {self.widths[0]}"
            )

    @property
    def run_name(self) -> str:
        """The name of the run's folder: --name, or the data set and the preset."""
        if self.name != "default":
            return self.name
        kind = self.model if self.preset == "mnist" else self.preset
        return f"{self.dataset}-{kind}" + ("-bn" if self.batch_norm and self.preset == "cnn" else "")

    def architecture(self, classes: int = 10) -> Architecture:
        """The network that these settings ask for."""
        return Architecture(
            model=self.model,
            shape=SHAPES[self.dataset],
            widths=tuple(self.widths),
            hidden=tuple(self.hidden),
            activation=self.activation,
            dropout=self.dropout,
            batch_norm=self.batch_norm,
            classes=classes,
        )

    def augmentation(self) -> Compose | None:
        """The distortions that these settings ask for, if any; alternate flips are the training loop's."""
        transforms: list[Transform | Affine] = []
        if self.crop:
            transforms.append(RandomCrop(self.crop, border="reflect"))
        if self.flip == "random":
            transforms.append(HorizontalFlip())
        if self.rotate:
            transforms.append(Affine(rotate=self.rotate, border="reflect"))
        if self.jitter:
            transforms.append(ColourJitter(self.jitter, self.jitter, self.jitter))
        if self.cutout:
            transforms.append(Cutout(self.cutout, fill=0.5))
        return Compose(transforms) if transforms else None


def choose_preset(arguments: Sequence[str]) -> str:
    """The preset that --preset names, or that --model and --dataset stand for.

    Raises UserError for a --preset whose values are for another network than --model.
    """
    model, dataset = flag_of(arguments, "model", ""), flag_of(arguments, "dataset", "cifar10")
    preset = flag_of(arguments, "preset", "mnist" if dataset == "mnist" and model in ("", "cnn") else model or "fast")
    if model and preset in PRESETS and model != PRESETS[preset].model:
        raise UserError(f"--preset {preset} is for --model {PRESETS[preset].model}, not {model}: leave one of them out")
    return preset


_FAST = Settings(
    preset="fast", model="fast", epochs=7, batch_size=500, optimizer="muon", lr=0.24, schedule="linear",
    bias_rate=0.44, head_rate=4e-5, weight_decay=0.0167, label_smoothing=0.2,
    widths=(32, 32, 128, 256), crop=2, flip="alternate", test_flip=True,
)  # fmt: skip

_RESNET = Settings(
    preset="resnet", model="resnet", epochs=42, batch_size=256, optimizer="sgd", lr=0.2, momentum=0.9,
    nesterov=True, weight_decay=5e-4, schedule="one_cycle", label_smoothing=0.1, ema_decay=0.998, ema_every=4,
    widths=(32, 64, 128, 256), activation="leaky_relu", dropout=0.5, crop=4, flip="random", cutout=8,
)  # fmt: skip

PRESETS: dict[str, Settings] = {
    "mlp": Settings(
        preset="mlp", model="mlp", epochs=120, batch_size=256, optimizer="adamw", lr=1e-3, schedule="cosine",
        warm_up=5, min_lr=1e-5, weight_decay=0.3, label_smoothing=0.1, ema_decay=0.999, ema_every=4,
        hidden=(1024, 512), activation="gelu", dropout=0.2, crop=2, flip="random", validation=2000,
    ),
    "cnn": Settings(
        preset="cnn", model="cnn", epochs=100, batch_size=256, optimizer="sgd", lr=0.05, momentum=0.9,
        weight_decay=5e-4, schedule="cosine", warm_up=2, label_smoothing=0.1, ema_decay=0.999, ema_every=4,
        patience=10, monitor="loss", widths=(32, 64, 128), hidden=(512,), crop=4, flip="random", rotate=15, jitter=0.2,
        cutout=16, validation=2000,
    ),
    "resnet": _RESNET,
    "resnet-wide": replace(_RESNET, preset="resnet-wide", epochs=60, widths=(64, 128, 256, 512), cutout=12),
    "fast": _FAST,
    "fast-long": replace(_FAST, preset="fast-long", epochs=14, widths=(32, 64, 256, 256)),
    "fast-gpu": replace(_FAST, preset="fast-gpu", epochs=16, widths=(32, 128, 384, 384)),
    "mnist": Settings(
        preset="mnist", model="cnn", dataset="mnist", epochs=5, batch_size=64, optimizer="adam", lr=1e-4,
        ema_decay=0.998, ema_every=4, widths=(32, 64, 128), hidden=(512,), activation="leaky_relu", batch_norm=True,
        dropout=0.5, crop=1, validation=2000,
    ),
}  # fmt: skip
