"""A frozen network's calls of NumPy, made again without the Python between them.

For every input of one shape a frozen network makes the same calls on the same memory. So they are written down once, by
arrays that see what is done to them, and from then on only made again, as CUDA graphs do it for the kernels of a GPU.
For a single image Python would take about as long as NumPy; and threads that run less of it wait less for each other.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from core.backend import Array
from core.frozen.calls import MULTIPLICATIONS_WORTH_SHARING, Calls, is_close
from core.frozen.shared_rows import SharedRows, stretches_of
from core.frozen.written import Notes, Written, WrittenWorkspaces
from core.layers.base import Layer, Wrapper
from core.ops.cpu.image_chunks import FEW
from core.workers import alone, free_workers

WORTH_WRITING_DOWN = 4  # inputs of a shape; writing down takes as long as answering 6 (many rows) to 25 (one image)
SHAPES = 4  # whose calls are kept
MOST_ROWS = 256  # with more, the calls take so long that Python's part hardly counts
MOST_MEMORY = 32 << 20  # bytes
ROWS_TO_PROVE = 3  # that the calls have to answer rightly at least, besides those for which they were written down


class Replay(Wrapper):
    """A frozen network, and the calls that answer inputs of the shapes that have come most lately.

    Everything else goes the usual way through the network: many rows or much memory, training forwards, sequences,
    arrays on a GPU, and layers whose calls depend on the values that they see or on what they draw.
    """

    def __init__(self, network: Layer) -> None:
        super().__init__(network)
        self._draws = any(hasattr(layer, "stream") for _, layer in network.walk())
        self._calls: dict[tuple[int, ...], Calls | SharedRows] | None = None
        self._seen: Counter[tuple[int, ...]] | None = None

    def __reduce__(self) -> tuple[type[Replay], tuple[Layer]]:
        return Replay, (self.network,)  # in copies: the calls are for the memory of this one

    def forward(self, x: Array, train: bool = False) -> Array:
        if train or self._draws or type(x) is not np.ndarray or len(x) > MOST_ROWS:
            return self.network.forward(x, train)
        calls = None if self._calls is None else self._calls.get(x.shape)
        answer = None if calls is None else calls.answer(x)
        if answer is None:
            x, calls = self._write_down(x)
            answer = None if calls is None else calls.answer(x)
        return self.network.forward(x) if answer is None else answer

    def backward(self, dy: Array) -> Array | None:
        return self.network.backward(dy)

    def _write_down(self, x: Array) -> tuple[Array, Calls | SharedRows | None]:
        """The calls for inputs like `x`, once there have been enough of them.

        Returns `x`, too, or a copy: to write down overwrites earlier answers, of which it may be one.
        """
        known, seen = self._calls or {}, self._seen or Counter()
        if known.pop(x.shape, None) is not None:  # they suit no longer
            seen[x.shape] = 0
        seen[x.shape] += 1
        self._seen = seen
        if seen[x.shape] != WORTH_WRITING_DOWN or not x.size:
            return x, None
        x = x.copy()
        calls = write_down_shared(self.network, x)
        if calls is not None:
            if len(x) > FEW:  # the memory of many rows is kept for one number of them only
                known = {shape: one for shape, one in known.items() if shape[0] <= FEW}
            known = {} if len(known) == SHAPES else known
            self._calls = {**known, x.shape: calls}
        return x, calls


def write_down_shared(network: Layer, x: Array) -> Calls | SharedRows | None:
    """The same as `write_down`, but a part for each worker, where there is enough to do and answers do not mix rows."""
    pool = free_workers()
    stretches = [] if pool is None else stretches_of(len(x), pool.count)
    written = (write_down(network, x[stretch], len(stretches)) for stretch in stretches)
    parts = [calls for calls in written if calls is not None]
    is_worth_it = sum(part.multiplications for part in parts) >= MULTIPLICATIONS_WORTH_SHARING
    if pool is not None and is_worth_it and len(parts) == len(stretches):
        shared = SharedRows(parts, stretches, pool)
        if shared.suits(x, network.forward(x)):
            return shared
    return write_down(network, x)


def write_down(network: Layer, x: Array, parts: int = 1) -> Calls | None:
    """The calls that lead from `x` to the answer of a frozen network; None where they cannot be written down.

    They have memory of their own; where `x` is one of several parts, these share what there may be of it.
    """
    notes, inputs = Notes(MOST_MEMORY // parts), x.copy()
    try:
        outputs = _answer_in_writing(network, inputs, notes)
        written = None if outputs is None else Calls(x, inputs, list(notes), outputs, network)
    finally:
        notes.clear()  # arrays that know notes of calls that know arrays: nobody would ever find that they are garbage
    return written if written is not None and _is_right(written, network, x) else None


def _is_right(written: Calls, network: Layer, x: Array) -> bool:
    """Whether the calls answer inputs other than `x`, for which they were written down, as the network does.

    Had one been overlooked, something of `x` would still be there in the answer. Several rows, because a single one may
    have it, too, such as the place of the largest number.
    """
    rng = np.random.default_rng(0)
    for _ in range(-(-ROWS_TO_PROVE // len(x))):
        other = rng.standard_normal(x.shape).astype(x.dtype)
        expected = network.forward(other).copy()
        try:
            answer = written.answer(other)
        except Exception:  # a call that only suits values such as those of `x`
            return False
        if answer is None or not is_close(answer, expected):
            return False
    return True


def _answer_in_writing(network: Layer, inputs: Array, notes: Notes) -> Array | None:
    """The answer to inputs, after which `notes` has the calls; None where they cannot be written down."""
    writer = network.replica()  # which has memory of its own
    for (_, original), (_, layer) in zip(network.walk(), writer.walk(), strict=True):
        layer.workspace = WrittenWorkspaces(notes, original.workspace)
    with alone():  # so that a large product is one call
        try:
            writer.forward(notes.watch(inputs))
            notes.clear()  # these laid out the work, too, which has to be done only once
            outputs: Any = writer.forward(notes.watch(inputs))
        except Exception:  # whatever a layer did with arrays that are not quite NumPy's, the usual way is there
            return None
    return outputs.view(np.ndarray) if isinstance(outputs, Written) else None
