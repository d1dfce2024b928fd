"""Random numbers that depend on where they are used, not on what was drawn before.

A counter-based generator (Philox; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) maps a key
and a counter to random bits. With (seed, salt) as the key and (epoch, batch, row) in the counter, the mask of a sample
is the same after a resume, and however the batch is split among workers.
"""

from __future__ import annotations

import numpy as np

from core.backend import Array

BITS_PER_BLOCK = 256  # Philox4x64 makes four 64-bit words from one counter value
UINT16_PER_BLOCK = BITS_PER_BLOCK // 16
WORD = 2**64


class Stream:
    """A source of random draws, each decided by (seed, salt, epoch, batch, row) alone.

    `salt` keeps the users of one stream apart (`new_salt` hands them out); `first_row` is the place of the first row
    of this worker's shard in the whole batch.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.epoch = 0
        self.batch = 0
        self.first_row = 0
        self._salts = 0

    def new_salt(self) -> int:
        """A number that no other user of this stream has; the same in every run that builds the same network."""
        self._salts += 1
        return self._salts

    def seek(self, epoch: int, batch: int) -> None:
        """Say which batch of which epoch the next draws belong to."""
        self.epoch, self.batch = epoch, batch

    def follow(self, other: Stream, first_row: int) -> None:
        """Take the place of `other` in training; the rows drawn from now on start at `first_row` of the batch."""
        self.epoch, self.batch, self.first_row = other.epoch, other.batch, first_row

    def generator(self, salt: int) -> np.random.Generator:
        """A NumPy generator for draws that belong to the batch as a whole."""
        return np.random.Generator(self._philox(salt, block=0, purpose=1))

    def uint16(self, salt: int, rows: int, width: int) -> Array:
        """Uniform 16-bit integers for the rows `first_row ...` of the batch, uint16 (rows, width)."""
        blocks_per_row = -(-width // UINT16_PER_BLOCK)
        philox = self._philox(salt, block=self.first_row * blocks_per_row, purpose=0)
        words = philox.random_raw(rows * blocks_per_row * (BITS_PER_BLOCK // 64))
        return words.view(np.uint16).reshape(rows, blocks_per_row * UINT16_PER_BLOCK)[:, :width]

    def _philox(self, salt: int, block: int, purpose: int) -> np.random.Philox:
        key = np.array([self.seed % WORD, salt], dtype=np.uint64)
        counter = np.array([block, purpose, self.batch, self.epoch], dtype=np.uint64)
        return np.random.Philox(key=key, counter=counter)
