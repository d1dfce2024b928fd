"""Every setting of a training of this project, and the presets that the README reports on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.training.settings import check_at_least, check_at_most, check_below_one
from core.training.tuning import TuningSettings
from rnn_doodles.augment import Augment
from rnn_doodles.model import Architecture, CellName, PoolName

PresetName = Literal["default", "best"]


@dataclass
class Settings(TuningSettings):
    """The network, the data, the augmentation, and all that training and tuning always have."""

    preset: PresetName = "default"
    """The values that all other flags start from."""
    data: str = ""
    """Folder of the prepared data, if it is not archive/quickdraw."""
    validation: float = 0.1
    """Share of the training drawings held out to choose the best epoch by; never the test drawings."""
    buckets: int = 0
    """Batches whose drawings are sorted by length before they are parted; 0 leaves all in random order."""

    cell: CellName = "gru"
    """Kind of recurrent cell."""
    hidden: int = 192
    """Units of each direction."""
    layers: int = 2
    """Recurrent layers."""
    bidirectional: bool = True
    """Read each drawing from its beginning and from its end."""
    pool: PoolName = "last"
    """What of the states the answer is made of: the last ones, or their mean."""
    dropout: float = 0.3
    """Share dropped in training between the layers and before the last one."""

    rotate: float = 0.0
    """Augmentation: largest rotation, in degrees."""
    stretch: float = 0.0
    """Augmentation: largest change of one side against the other, as a fraction."""
    jitter: float = 0.0
    """Augmentation: deviation of the noise on each point, as a fraction of the drawing's longer side."""
    drop_strokes: float = 0.0
    """Augmentation: share of the strokes left out."""
    drop_points: float = 0.0
    """Augmentation: share of the points left out, so that lines are sampled otherwise."""
    flip: bool = False
    """Augmentation: mirror every other drawing left to right."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, hidden=1, layers=1, buckets=0, rotate=0, stretch=0, jitter=0)
        check_at_most(self, layers=100)
        check_below_one(self, "dropout", "drop_strokes", "drop_points", "validation")

    @property
    def run_name(self) -> str:
        """The name of the run's folder: --name, or the preset."""
        return self.name if self.name != "default" else self.preset

    def architecture(self, classes: int) -> Architecture:
        """The network that these settings ask for."""
        return Architecture(
            cell=self.cell,
            hidden=self.hidden,
            layers=self.layers,
            bidirectional=self.bidirectional,
            pool=self.pool,
            dropout=self.dropout,
            classes=classes,
        )

    def augmentation(self) -> Augment:
        """The distortions that these settings ask for."""
        return Augment(
            rotate=self.rotate,
            stretch=self.stretch,
            jitter=self.jitter,
            drop_strokes=self.drop_strokes,
            drop_points=self.drop_points,
            flip=self.flip,
        )


PRESETS: dict[str, Settings] = {
    "default": Settings(
        optimizer="adamw", lr=2e-3, schedule="one_cycle", weight_decay=0.01, clip_norm=1.0, label_smoothing=0.05,
        epochs=12,
    ),
    "best": Settings(
        optimizer="adamw", lr=2e-3, schedule="one_cycle", weight_decay=0.01, clip_norm=1.0, label_smoothing=0.05,
        preset="best", epochs=40,
        rotate=15, stretch=0.25, jitter=0.01, drop_strokes=0.1, drop_points=0.1, flip=True,
    ),
}  # fmt: skip
