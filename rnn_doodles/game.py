"""The guessing game without its page: what is drawn, what the network believes, and who has won."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.backend import Array
from core.data.quickdraw import Drawings, join
from core.frozen import freeze
from core.losses import softmax
from rnn_doodles.model import answer
from rnn_doodles.trained import Guesser

SURE = 0.5  # probability from which a guess counts
MOMENTS = 16  # at which the growing drawing is looked at


@dataclass(frozen=True)
class Belief:
    """What the network believed of a growing drawing: probabilities (S, K) when it had `points` (S,) of its points."""

    drawing: Drawings
    points: Array
    probabilities: Array

    @property
    def latest(self) -> Array:
        """The probability of each class now, (K,)."""
        return self.probabilities[-1]  # type: ignore[no-any-return]

    @property
    def guess(self) -> int:
        """The most probable class now."""
        return int(self.latest.argmax())


@dataclass(frozen=True)
class Game:
    """A visitor's game: the class to draw, whether it has been guessed, and how it went so far."""

    target: int
    guessed: bool = False
    score: int = 0
    rounds: int = 0

    def after(self, belief: Belief) -> Game:
        """The game when the network has said what it believes: a point for the visitor if it is the target."""
        right = belief.guess == self.target and belief.latest[self.target] >= SURE
        if self.guessed or not right:
            return self
        return replace(self, guessed=True, score=self.score + 1)

    def next(self, classes: int, rng: np.random.Generator) -> Game:
        """The next round, with another target."""
        step = int(rng.integers(1, classes))
        return replace(self, target=(self.target + step) % classes, guessed=False, rounds=self.rounds + 1)


def new_game(classes: int, rng: np.random.Generator) -> Game:
    """The first round."""
    return Game(target=int(rng.integers(classes)), rounds=1)


class Player:
    """The network as a player, from any thread."""

    def __init__(self, guesser: Guesser) -> None:
        self.network, self.classes = freeze(guesser.network), guesser.classes
        self._lock = threading.Lock()  # layers reuse their workspaces, so two answers at once would mix

    def watch(self, drawing: Drawings) -> Belief:
        """What the network believes of one drawing, and believed when less of it was there."""
        total = int(drawing.lengths[0])
        points = np.unique(np.linspace(min(2, total), total, MOMENTS).round().astype(int))  # (S,)
        begun = join([Drawings(drawing.points[:count], np.array([count], np.uint16)) for count in points])
        with self._lock:
            logits = answer(self.network, begun)  # (S, K)
        return Belief(drawing, points, softmax(logits.astype(np.float64)))


def rank(probabilities: Array, most: int) -> Sequence[int]:
    """The most probable classes, the first one first."""
    return np.argsort(-probabilities, kind="stable")[:most].tolist()  # type: ignore[no-any-return]
