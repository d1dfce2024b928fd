"""Arrays that write down every call of NumPy that is made of them, so that a Replay can make the calls again.

A layer that gets such an array, and asks for memory from `WrittenWorkspaces`, works as always; what it has done is in
`Notes` then. What could not be done again for other values ends with an UnwritableError.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from core.backend import Array
from core.fastest import Call
from core.memory import bytes_on_a_line
from core.workspaces import MOST_WASTE, Workspaces

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

    def watch(self, array: Array, loan: Loan | None = None) -> Written:
        """The same memory as an array whose calls are written down here, and which holds the loan."""
        written = array.view(Written)
        written.calls, written.loan = self, loan
        return written

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
        return self.calls.watch(result, loan)

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
        return self._calls.watch(memory, loan)

    def scratch(self, name: str, shape: tuple[int, ...], like: Array) -> Array:
        return self._calls.watch(self._calls.scratch(name, shape, like.dtype))

    __call__ = take

    def another(self) -> Workspaces:
        return WrittenWorkspaces(self._calls, self._original)

    def derived(self, name: str, make: Callable[..., Any], *sources: Array) -> Any:
        return self._original.derived(name, make, *sources)
