"""Random numbers that depend on where they are used, not on what was drawn before.

A counter-based generator (Philox; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) maps a key
and a counter to random bits. With (seed, salt) as the key and (epoch, batch, row) in the counter, the mask of a sample
is the same after a resume, and however the batch is split among workers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.backend import Array

BITS_PER_BLOCK = 256  # Philox4x64 makes four 64-bit words from one counter value
UINT16_PER_BLOCK = BITS_PER_BLOCK // 16
WORD = 2**64


class Stream:
    """A source of random draws, each decided by (seed, salt, epoch, batch, row) alone.

    `salt` keeps the users of one stream apart (`new_salt` hands them out); `first_row` is the place of the first row
    of this worker's shard in the whole batch, and `rows`, where that is known, how many the shard has. Whoever draws
    for another number of rows, such as the steps of sequences, gets what no other shard gets. The stream stays at one
    batch, and repeats its draws, until `seek` is called: `Run.batches` does that, and a loop without it has to:

        for epoch in range(epochs):
            for batch, (x, labels) in enumerate(batches):
                stream.seek(epoch, batch)
                logits = model.forward(x, train=True)
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.epoch = 0
        self.batch = 0
        self.first_row = 0
        self.rows: int | None = None
        self._salts = 0

    def new_salt(self) -> int:
        """A number that no other user of this stream has; the same in every run that builds the same network."""
        self._salts += 1
        return self._salts

    def seek(self, epoch: int, batch: int) -> None:
        """Say which batch of which epoch the next draws belong to."""
        self.epoch, self.batch = epoch, batch

    def follow(self, other: Stream, first_row: int, rows: int | None = None) -> None:
        """Take the place of `other` in training; the `rows` drawn from now on start at `first_row` of the batch."""
        self.epoch, self.batch, self.first_row, self.rows = other.epoch, other.batch, first_row, rows

    def generator(self, salt: int) -> np.random.Generator:
        """A NumPy generator for draws that belong to the batch as a whole."""
        return np.random.Generator(self._philox(salt, block=0, purpose=1))

    def uint16(self, salt: int, rows: int, width: int) -> Array:
        """Uniform 16-bit integers for the rows `first_row ...` of the batch, uint16 (rows, width)."""
        return self.draws(salt, rows, width).uint16()

    def draws(self, salt: int, rows: int, width: int) -> Draws:
        """What `uint16` would draw, not drawn yet, so that a GPU can do it itself."""
        first_block = self.first_row * -(-width // UINT16_PER_BLOCK)
        if self.rows not in (None, rows):
            first_block <<= 32  # beyond all blocks of the shards before
        return Draws(self.seed % WORD, salt, first_block, self.batch, self.epoch, rows, width)

    def _philox(self, salt: int, block: int, purpose: int) -> np.random.Philox:
        return _philox((self.seed % WORD, salt), (block, purpose, self.batch, self.epoch))


@dataclass(frozen=True)
class Draws:
    """Uniform 16-bit integers (rows, width): the bits of Philox with key (seed, salt) and counter (block, 0, batch,
    epoch), where each row begins with a block of its own, `first_block` and following.
    """

    seed: int
    salt: int
    first_block: int
    batch: int
    epoch: int
    rows: int
    width: int

    def uint16(self) -> Array:
        """The numbers, uint16 (rows, width)."""
        blocks_per_row = -(-self.width // UINT16_PER_BLOCK)
        philox = _philox((self.seed, self.salt), (self.first_block, 0, self.batch, self.epoch))
        words = philox.random_raw(self.rows * blocks_per_row * (BITS_PER_BLOCK // 64))
        return words.view(np.uint16).reshape(self.rows, blocks_per_row * UINT16_PER_BLOCK)[:, : self.width]


def _philox(key: tuple[int, int], counter: tuple[int, int, int, int]) -> np.random.Philox:
    return np.random.Philox(key=np.array(key, dtype=np.uint64), counter=np.array(counter, dtype=np.uint64))
