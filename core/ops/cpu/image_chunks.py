"""A batch of images taken a few at a time, so that what is made of them stays in the cache."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

from core.workspaces import Workspace, Workspaces

STRETCH = 1.4  # how much larger than asked for chunks may be
REPLAYED = 0.6  # the size of chunks by the usual one, where calls are replayed
FEW = 4  # images, for which laying out the work takes a good part of the time that the work takes

Part = TypeVar("Part")


def laid_out(
    N: int, key: Hashable, lay_out: Callable[[Callable[[], Workspace]], Iterator[Part]], workspace: Workspace
) -> Iterable[Part]:
    """The parts into which `lay_out` divides the work on N images, each in the memory that its argument provides.

    For many images the parts are laid out one by one, all in the workspace. For a few, or where the workspace keeps all
    plans, they have memory of their own, so that the next call with that key finds them as they are.
    """
    if not isinstance(workspace, Workspaces) or (N > FEW and not workspace.keeps_all_plans):
        return lay_out(lambda: workspace)
    parts: list[Part] = workspace.plan(key, lambda: list(lay_out(workspace.another)))
    return parts


def at_once(images: int, workspace: Workspace) -> int:
    """How many images make a chunk, of which so many are best where each call is made by Python.

    Replayed calls have nothing between them for which threads would wait for each other: so they may be shorter, and
    more of their memory stays in the cache.
    """
    is_replayed = isinstance(workspace, Workspaces) and workspace.keeps_all_plans
    return max(1, int(REPLAYED * images)) if is_replayed else images


def chunks(N: int, size: int) -> Iterator[tuple[int, list[slice]]]:
    """N images in chunks of about `size`: first (size, [all full chunks]), then (rest, [the last one]) if it exists."""
    size = max(1, min(size, N))
    if size < N:
        size = _equal_size(N, size) or size
    whole = N - N % size
    yield size, [slice(start, start + size) for start in range(0, whole, size)]
    if whole < N:
        yield N - whole, [slice(whole, N)]


def _equal_size(N: int, size: int) -> int | None:
    """The size of equal chunks, up to STRETCH times as large; None where N has no such part.

    A rest would have to be laid out by itself, and its calls be too short: two threads meet at the interpreter's lock
    after every call, and sleep there for longer than a short one takes.
    """
    fewest = -(-N // int(STRETCH * size))
    count = next((count for count in range(fewest, 2 * fewest + 1) if N % count == 0), None)
    return None if count is None else N // count
