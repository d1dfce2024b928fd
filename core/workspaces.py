"""Memory to work in, that is used again and again: a fresh array of 30 MB costs thousands of page faults.

Small arrays belong to whoever asked for them, by name. Large ones are lent by the thread: as soon as nobody looks at a
block of memory any more, through whatever view, the next one who asks may have it. So a gradient that has been passed
on, or an activation that no backward will need, makes room for the next one, in whatever layer.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Hashable
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

from core.backend import Array, on_cpu
from core.memory import bytes_on_a_line, constant, empty, is_constant

LARGE = 1 << 18  # bytes
MOST_WASTE = 1.5  # the size of a block by what is wanted
MOST_SPARE = 1.25  # all blocks of a thread by those that were in use at once
PLANS = 4  # that one owner keeps


class Workspace(Protocol):
    """Where scratch memory comes from: a layer's own `workspace`."""

    def __call__(self, name: str, shape: tuple[int, ...], like: Array, dtype: DTypeLike | None = None) -> Array: ...


class Workspaces:
    """The scratch memory of one owner, such as a layer; not for use in two threads at once."""

    keeps_all_plans = False  # True: also those that take much memory

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}
        self._memory: dict[str, Array] = {}  # of each array, which may be larger
        self._plans: dict[Hashable, Any] = {}
        self._derived: dict[str, tuple[tuple[Array, ...], Any]] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Array, dtype: DTypeLike | None = None) -> Array:
        """An uninitialised C-contiguous array on the device of `like`.

        A small one keeps its memory until the next call with that name, a large one until nobody holds a view of it.
        """
        latest = self._arrays.get(name)
        if latest is not None and latest.shape == shape and latest.dtype == (dtype or like.dtype):
            return latest
        size, wanted = math.prod(shape), np.dtype(dtype or like.dtype)
        if size * wanted.itemsize >= LARGE and on_cpu(like):
            return _blocks.take(size * wanted.itemsize).view(wanted).reshape(shape)
        memory = self._memory.get(name)
        if memory is None or memory.size < size or memory.dtype != wanted:
            memory = self._memory[name] = empty(size, wanted, like)
        view: Array = memory[:size].reshape(shape)
        self._arrays[name] = view
        return view

    __call__ = take  # which takes Python a tenth of a microsecond longer to find

    def scratch(self, name: str, shape: tuple[int, ...], like: Array) -> Array:
        """The same for what nobody looks at after the call of a layer that has asked for it."""
        return self.take(name, shape, like)

    def __reduce__(self) -> tuple[type[Workspaces], tuple[()]]:
        """A copy starts empty: its arrays would no longer be the memory that its plans look at."""
        return Workspaces, ()

    def another(self) -> Workspaces:
        """Others of the same kind, for what is to keep memory of its own."""
        return Workspaces()

    def plan(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` has prepared for this key: views, and the arrays that they show."""
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) == PLANS:
                self._plans.clear()
            plan = self._plans[key] = make()
        return plan

    def derived(self, name: str, make: Callable[..., Any], *sources: Array) -> Any:
        """make(*sources), an array that is kept under that name where all sources are constant."""
        known = self._derived.get(name)
        if known is not None and all(before is now for before, now in zip(known[0], sources, strict=True)):
            return known[1]
        result = make(*sources)
        if all(map(is_constant, sources)):
            result = constant(result)
            self._derived[name] = sources, result
        return result


def scratch(workspace: Workspace, name: str, shape: tuple[int, ...], like: Array) -> Array:
    """Memory whose contents are of no use after the present call of a layer, see `Workspaces.scratch`."""
    return workspace.scratch(name, shape, like) if isinstance(workspace, Workspaces) else workspace(name, shape, like)


def derived(workspace: Workspace, name: str, weight: Array, make: Callable[[Array], Any]) -> Any:
    """make(weight), which the workspace keeps where the weight is constant, see `Workspaces.derived`."""
    return workspace.derived(name, make, weight) if isinstance(workspace, Workspaces) else make(weight)


class Block:
    """One large piece of memory."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._bytes = bytes_on_a_line(size)

    def view(self, size: int) -> Array:
        """Its first bytes."""
        return self._bytes[:size]

    def references(self) -> int:
        """How many know the memory, this object and the question itself among them: every view of it is one more."""
        return sys.getrefcount(self._bytes.base)


REFERENCES_WHEN_FREE = Block(0).references()


class Blocks(threading.local):
    """The large blocks of memory of one thread, free ones and others."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []  # the one that was lent last comes last
        self._most_in_use = 0  # bytes

    def take(self, size: int) -> Array:
        """So many bytes of the smallest free block that has them, or of a new one: uint8 (size,)."""
        fitting = [block for block in self._blocks if size <= block.size <= MOST_WASTE * size and _is_free(block)]
        if fitting:
            block = min(fitting, key=lambda block: block.size)
            self._blocks.remove(block)
        else:
            self._make_room(size)
            block = Block(size)
        self._blocks.append(block)
        return block.view(size)

    def _make_room(self, size: int) -> None:
        """Give up free blocks, first those that have not been used for longest, where there are too many."""
        free = [block for block in self._blocks if _is_free(block)]
        total = size + sum(block.size for block in self._blocks)
        self._most_in_use = max(self._most_in_use, total - sum(block.size for block in free))
        for block in free:
            if total > MOST_SPARE * self._most_in_use:
                self._blocks.remove(block)
                total -= block.size


def _is_free(block: Block) -> bool:
    return block.references() <= REFERENCES_WHEN_FREE


_blocks = Blocks()
