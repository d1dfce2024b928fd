"""Dropout on a GPU, which draws the very numbers that a CPU would."""

from __future__ import annotations

from core.backend import Array
from core.kernels import THREADS, blocks_for, launch
from core.ops.cpu.dropout import first_kept_and_scale
from core.random import UINT16_PER_BLOCK, Draws

__all__ = ["dropout_backward", "dropout_forward"]

MOST_DRAWN = 2**29  # blocks, of which each has four words: their number stays in 32 bits


def dropout_forward(x: Array, draws: Draws, rate: float, mask: Array, y: Array) -> None:
    """See `core.ops.cpu.dropout`. Raises ValueError for more rows than the kernel can count the draws of."""
    first_kept, scale = first_kept_and_scale(rate)
    blocks = draws.rows * -(-draws.width // UINT16_PER_BLOCK)
    if blocks > MOST_DRAWN:
        raise ValueError(f"dropout on a GPU expected at most {MOST_DRAWN:,} blocks of draws, got {blocks:,}")
    launch(
        "dropout_forward",
        blocks_for(blocks),
        THREADS,
        x=x,
        mask=mask,
        y=y,
        seed=draws.seed,
        salt=draws.salt,
        first_block=draws.first_block,
        batch=draws.batch,
        epoch=draws.epoch,
        first_kept=first_kept,
        scale=scale,
    )


def dropout_backward(dy: Array, mask: Array, dx: Array) -> None:
    """dx = dy * mask."""
    launch("dropout_backward", blocks_for(dy.size), THREADS, dy=dy, mask=mask, dx=dx)
