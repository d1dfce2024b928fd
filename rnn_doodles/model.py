"""The network of this project, and the one way in which it is asked.

Training, test and demo all build the network and get its answers here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from core.backend import Array, to_cpu
from core.data.quickdraw import Drawings
from core.layers import GRU, LSTM, RNN, Dropout, LastState, Layer, Linear, MeanState, Sequential
from core.random import Stream
from rnn_doodles.ink import FEATURES, Ink, encode

CellName = Literal["rnn", "gru", "lstm"]
PoolName = Literal["last", "mean"]
CELLS = {"rnn": RNN, "gru": GRU, "lstm": LSTM}
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
POOLS: dict[str, type[Layer]] = {"last": LastState, "mean": MeanState}
assert set(CELLS) == set(GATES) == set(get_args(CellName))
assert set(POOLS) == set(get_args(PoolName))

AT_ONCE = 512  # drawings


@dataclass(frozen=True)
class Architecture:
    """What must be known to build the network; it is saved with the weights."""

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
    classes: int = 10
    """Number of words."""

    def __str__(self) -> str:
        ways = "bidirectional " if self.bidirectional else ""
        return f"{self.layers}-layer {ways}{self.cell.upper()}, {self.hidden} units"

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)

    def recurrent_shapes(self) -> list[tuple[int, int, int]]:
        """The shapes of the recurrent layers' weights, sorted."""
        ways, gates = 2 if self.bidirectional else 1, GATES[self.cell]
        inputs = [FEATURES, *[ways * self.hidden] * (self.layers - 1)]
        return sorted(ways * [(gates, size, self.hidden) for size in (*inputs, *[self.hidden] * self.layers)])

    def head_shape(self) -> tuple[int, int]:
        """The shape of the last layer's weights."""
        return (2 if self.bidirectional else 1) * self.hidden, self.classes


def build(architecture: Architecture, *, seed: int = 0, stream: Stream | None = None) -> Sequential:
    """The network, with initial weights drawn from `seed` and dropout drawn from `stream`.

    Takes `Sequences` (N, T, 3) as `encode` makes them; returns logits (N, classes).
    """
    rng, stream = np.random.default_rng(seed), stream or Stream(seed)
    recurrent = CELLS[architecture.cell](
        FEATURES,
        architecture.hidden,
        num_layers=architecture.layers,
        bidirectional=architecture.bidirectional,
        dropout=architecture.dropout,
        stream=stream,
        rng=rng,
    )
    return Sequential(
        recurrent=recurrent,
        pool=POOLS[architecture.pool](),
        dropout=Dropout(architecture.dropout, stream=stream),
        head=Linear(recurrent.output_size, architecture.classes, rng=rng),
    )


def answer(network: Layer, drawings: Drawings) -> Array:
    """The network's logits for each drawing, float32 (N, classes).

    Drawings of like length are asked about together, which is faster: there are fewer steps in all.
    """
    by_length = np.argsort(drawings.lengths, kind="stable")
    parts = []
    for start in range(0, len(drawings), AT_ONCE):
        x = encode(Ink.of(drawings[by_length[start : start + AT_ONCE]])).to(network.device)
        parts.append(to_cpu(network.forward(x)).copy())
    logits = np.concatenate(parts)
    logits[by_length] = logits.copy()
    return logits
