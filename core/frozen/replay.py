"""A frozen network's calls of NumPy, made again without the Python between them.

For every input of one shape a frozen network makes the same calls on the same memory. So they are written down once, by
arrays that see what is done to them, and from then on only made again, as CUDA graphs do it for the kernels of a GPU.
For a single image Python would take about as long as NumPy; and threads that run less of it wait less for each other.
"""

from __future__ import annotations

import math
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from core.backend import Array
from core.fastest import Call
from core.frozen.calls import Calls, is_close
from core.frozen.shared_rows import SharedRows, stretches_of
from core.layers.base import Layer
from core.memory import bytes_on_a_line
from core.ops.cpu.frames import FEW
from core.workers import alone, free_workers
from core.workspaces import MOST_WASTE, Workspaces

WORTH_WRITING_DOWN = 4  # inputs of a shape; writing down takes as long as answering 6 (many rows) to 25 (one image)
SHAPES = 4  # whose calls are kept
MOST_ROWS = 256  # with more, the calls take so long that Python's part hardly counts
MOST_MEMORY = 32 << 20  # bytes
ROWS_TO_PROVE = 3  # that the calls have to answer rightly at least, besides those for which they were written down
SIZED_BY_VALUES = (  # functions whose results have a size that depends on the values
    np.unique,
    np.flatnonzero,
    np.argwhere,
    np.compress,
    np.extract,
    np.delete,
    np.bincount,
    np.trim_zeros,
)
NAMED_OUTPUT = (np.maximum, np.minimum)  # NumPy no longer wants the result as a further argument, which is quicker


class Replay(Layer):
    """A frozen network, and the calls that answer inputs of the shapes that have come most lately.

    Everything else goes the usual way through the network: many rows or much memory, training forwards, sequences,
    arrays on a GPU, and layers whose calls depend on the values that they see.
    """

    def __init__(self, network: Layer) -> None:
        super().__init__()
        self.network = network
        self._calls: dict[tuple[int, ...], Calls | SharedRows] | None = None
        self._seen: Counter[tuple[int, ...]] | None = None

    def __reduce__(self) -> tuple[type[Replay], tuple[Layer]]:
        return Replay, (self.network,)  # in copies: the calls are for the memory of this one

    def children(self) -> Iterator[tuple[str, Layer]]:
        return self.network.children()

    def walk(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        return self.network.walk(prefix)

    def forward(self, x: Array, train: bool = False) -> Array:
        if train or type(x) is not np.ndarray or len(x) > MOST_ROWS:
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
    """The same as `write_down`, but a part for each worker, where there are rows enough and answers do not mix them."""
    pool = free_workers()
    stretches = [] if pool is None else stretches_of(len(x), pool.count)
    written = (write_down(network, x[stretch], len(stretches)) for stretch in stretches)
    parts = [calls for calls in written if calls is not None]
    if pool is not None and parts and len(parts) == len(stretches):
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
            writer.forward(_written(inputs, notes))
            notes.clear()  # these laid out the work, too, which has to be done only once
            outputs: Any = writer.forward(_written(inputs, notes))
        except Exception:  # whatever a layer did with arrays that are not quite NumPy's, the usual way is there
            return None
    return _plain(outputs) if isinstance(outputs, Written) else None


class UnwritableError(Exception):
    """What is done depends on values, cannot be done again for others, or takes too much memory."""


class Loan:
    """Whoever may still look at some memory holds this."""


class Notes(list[Call]):
    """What has been written down so far, and the memory of its arrays.

    Memory that nobody can reach any more is lent again: the calls from there on, made in the same order, may write to
    it. The less memory they go over, the more of the constants stays in the processor's cache.
    """

    def __init__(self, most_memory: int = 0) -> None:
        super().__init__()
        self._lent: list[tuple[Array, weakref.ref[Loan]]] = []
        self._scratch: dict[str, Array] = {}
        self._left = most_memory  # bytes

    def lend(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Array, Loan]:
        """Memory that nobody else has before the loan is given up by all who hold it."""
        size, loan = math.prod(shape) * dtype.itemsize, Loan()
        fitting = [one for one in self._lent if one[1]() is None and size <= len(one[0]) <= MOST_WASTE * size]
        old = min(fitting, key=lambda one: len(one[0]), default=None)
        if old is not None:
            self._lent = [one for one in self._lent if one is not old]
        memory = self._new_memory(size) if old is None else old[0]
        self._lent.append((memory, weakref.ref(loan)))
        return memory[:size].view(dtype).reshape(shape), loan

    def scratch(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Memory that all have who ask for it by that name."""
        size = math.prod(shape) * dtype.itemsize
        if name not in self._scratch or len(self._scratch[name]) < size:
            self._scratch[name] = self._new_memory(size)
        return self._scratch[name][:size].view(dtype).reshape(shape)

    def _new_memory(self, size: int) -> Array:
        self._left -= size
        if self._left < 0:
            raise UnwritableError
        return bytes_on_a_line(size)


class Written(np.ndarray[Any, Any]):
    """An array that writes down every call that reads it or writes to it; so does everything that comes of it."""

    calls: Notes
    loan: Loan | None  # of the memory that it shows

    def __array_finalize__(self, source: Any) -> None:
        notes: Any = getattr(source, "calls", None)
        self.calls = Notes() if notes is None else notes
        self.loan = getattr(source, "loan", None)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **options: Any) -> Any:
        if method not in ("__call__", "reduce") or ufunc.nout > 1:
            raise UnwritableError
        operands, options = _plain(inputs), _plain(options)
        function = ufunc if method == "__call__" else ufunc.reduce
        result = out[0] if out else self._new(function(*operands, **options))
        if method == "__call__" and not options and ufunc not in NAMED_OUTPUT:
            self._do(function, *operands, _plain(result))
        else:
            self._do(function, *operands, out=_plain(result), **options)
        return result

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        if function in SIZED_BY_VALUES:
            raise UnwritableError
        operands, plain_options = _plain(inputs), _plain(options)
        if function is np.empty_like:
            return self._new(function(*operands, **plain_options))
        if function in (np.copyto, np.ndarray.fill) or "out" in options:
            self._do(function, *operands, **plain_options)
            return options.get("out")
        result = function(*operands, **plain_options)
        if function in (np.shape, np.ndim, np.size):
            return result
        for operand, plain in zip(inputs, operands, strict=True):
            if isinstance(plain, np.ndarray) and np.may_share_memory(result, plain):
                return self._new(result, getattr(operand, "loan", None))  # shows the same memory
        result = self._new(result)
        self._do(_copy_result, partial(function, **plain_options), _plain(result), *operands)
        return result

    def __getitem__(self, key: Any) -> Any:
        _expect_no_mask(key)
        return self.__array_function__(np.ndarray.__getitem__, (), (self, key), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        _expect_no_mask(key)
        self._do(np.ndarray.__setitem__, _plain(self), _plain(key), _plain(value))

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise UnwritableError

    def dot(self, other: Any, out: Any = None) -> Any:
        return self.__array_function__(np.ndarray.dot, (), (self, other), {} if out is None else {"out": out})

    __bool__ = __int__ = __float__ = __index__ = _refuse
    flat = property(_refuse)

    def _new(self, result: Any, loan: Loan | None = None) -> Written:
        if not isinstance(result, np.ndarray):  # a single number
            raise UnwritableError
        return _written(result, self.calls, loan)

    def _do(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        self.calls.append(partial(function, *arguments, **options))
        self.calls[-1]()


def _expect_no_mask(key: Any) -> None:
    """How much a mask chooses depends on values."""
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, np.ndarray) and part.dtype == bool:
            raise UnwritableError


def _method(name: str) -> Callable[..., Any]:
    """A method of arrays that writes down what it does."""
    original = getattr(np.ndarray, name)

    def method(self: Written, *arguments: Any, **options: Any) -> Any:
        return self.__array_function__(original, (), (self, *arguments), options)

    return method


# Of methods NumPy tells arrays like ours nothing. These are written down, some others only show memory or are made of
# calls that are, and any further one would go unnoticed.
PLACES_AND_SUMS = ("argmax", "argmin", "argsort", "cumsum", "cumprod")
WRITTEN_METHODS = ("reshape", "ravel", "flatten", "copy", "astype", "take", "repeat", "fill", *PLACES_AND_SUMS)
METHODS_THAT_SHOW = ("squeeze", "swapaxes", "transpose", "view")
METHODS_OF_CALLS = ("all", "any", "clip", "max", "mean", "min", "prod", "std", "sum", "var")
for _name in WRITTEN_METHODS:
    setattr(Written, _name, _method(_name))
for _name in {name for name in dir(np.ndarray) if not name.startswith("_") and callable(getattr(np.ndarray, name))}:
    if _name not in (*vars(Written), *METHODS_THAT_SHOW, *METHODS_OF_CALLS):
        setattr(Written, _name, Written._refuse)


def _written(array: Array, calls: Notes, loan: Loan | None = None) -> Written:
    written = array.view(Written)
    written.calls, written.loan = calls, loan
    return written


def _plain(value: Any) -> Any:
    """The same without arrays of ours, also inside lists and tuples."""
    if isinstance(value, Written):
        return value.view(np.ndarray)
    if isinstance(value, list | tuple):
        return type(value)(_plain(one) for one in value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value


def _copy_result(function: Callable[..., Any], result: Array, *operands: Any) -> None:
    made = function(*operands)
    if made.shape != result.shape:  # copying might spread it
        raise UnwritableError
    np.copyto(result, made)


class WrittenWorkspaces(Workspaces):
    """Memory whose arrays write down what is done to them; what is derived from constants, the `original` keeps."""

    keeps_all_plans = True

    def __init__(self, calls: Notes, original: Workspaces) -> None:
        super().__init__()
        self._calls, self._original = calls, original

    def take(self, name: str, shape: tuple[int, ...], like: Array, dtype: DTypeLike | None = None) -> Array:
        memory, loan = self._calls.lend(shape, np.dtype(dtype or like.dtype))
        return _written(memory, self._calls, loan)

    def scratch(self, name: str, shape: tuple[int, ...], like: Array) -> Array:
        return _written(self._calls.scratch(name, shape, like.dtype), self._calls)

    __call__ = take

    def another(self) -> Workspaces:
        return WrittenWorkspaces(self._calls, self._original)

    def derived(self, name: str, make: Callable[..., Any], *sources: Array) -> Any:
        return self._original.derived(name, make, *sources)
