"""Lists, dictionaries, numbers, texts and NumPy arrays out of a pickle, read as data: nothing in it can run.

Python's own `pickle` calls whatever a file names, so it must not see a file from elsewhere. This reader knows the few
instructions that old files of plain data consist of (protocols 0 to 2, as Python 2 wrote them), and four names, for
which it builds an array itself. At any other instruction or name it gives up.
"""

from __future__ import annotations

import pickletools
from typing import Any

import numpy as np

from core.errors import UserError

MARK = object()  # on the stack: where a group of values begins
MOST_STEPS = 10_000_000  # instructions of a file
DEEPEST = 20  # lists and dictionaries within each other

RECONSTRUCT = tuple(f"numpy.{core}.multiarray _reconstruct" for core in ("core", "_core"))
ARRAY, DTYPE = "numpy ndarray", "numpy dtype"
NAMES = (*RECONSTRUCT, ARRAY, DTYPE)
NUMBER_TYPES = ("u1", "i1", "i2", "i4", "i8", "f4", "f8")  # no objects, no text

PUSH = {
    "NONE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE",
}  # fmt: skip
CONSTANT = {"NEWTRUE": True, "NEWFALSE": False}
SILENT = {"PROTO"}
TUPLE_SIZES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_plain_pickle(data: bytes, name: str) -> Any:
    """The value that the pickle `data` describes; `name` stands for it in messages.

    Raises UserError for a pickle that is damaged, or that asks for anything but plain data.
    """
    try:
        return _Reader(name).read(data)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{name}: a damaged pickle, or none ({reason})") from None


class _Name:
    """A name that the file mentions; stands on the stack until it is used."""

    def __init__(self, text: str) -> None:
        self.text = text


class _Raw:
    """An array or a dtype that has been announced, and is filled by the BUILD instruction."""

    def __init__(self, kind: str, code: str = "") -> None:
        self.kind, self.code = kind, code
        self.value: Any = None


class _Reader:
    """The pickle machine, cut down to data: a stack, and a memory of values that are used again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}
        self.left = 0  # bytes that arrays may still take: no more than the file has, even if many take the same ones

    def read(self, data: bytes) -> Any:
        self.left = len(data)
        for count, (instruction, argument, _) in enumerate(pickletools.genops(data)):
            if count > MOST_STEPS:
                raise ValueError("too long")
            if instruction.name == "STOP":
                return _finished(self.stack.pop(), {})
            self.step(instruction.name, argument)
        raise ValueError("it does not end")

    def step(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        stack = self.stack
        if name in PUSH:
            stack.append(argument)
        elif name in CONSTANT:
            stack.append(CONSTANT[name])
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memory[int(argument)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self.memory[int(argument)])
        elif name == "MARK":
            stack.append(MARK)
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append([] if name == "EMPTY_LIST" else {})
        elif name in TUPLE_SIZES:
            size = TUPLE_SIZES[name]
            values = [stack.pop() for _ in range(size)][::-1]
            stack.append(tuple(values))
        elif name in ("TUPLE", "LIST", "DICT", "APPENDS", "SETITEMS"):
            self._take_group(name)
        elif name in ("APPEND", "SETITEM"):
            self._add(stack[-2 if name == "APPEND" else -3], name)
        elif name == "GLOBAL":
            self._mention(argument)
        elif name == "REDUCE":
            self._announce()
        elif name == "BUILD":
            self._build()
        elif name not in SILENT:
            raise UserError(f"{self.name}: refused, because this pickle is not plain data (instruction {name})")

    def _take_group(self, name: str) -> None:
        place = next((n for n in reversed(range(len(self.stack))) if self.stack[n] is MARK), None)
        if place is None:
            raise ValueError("a group without its beginning")
        values = self.stack[place + 1 :]
        del self.stack[place:]
        if name == "TUPLE":
            self.stack.append(tuple(values))
        elif name == "LIST":
            self.stack.append(values)
        elif name == "DICT":
            self.stack.append(_dict_of(values))
        elif name == "APPENDS":
            _expect(self.stack[-1], list).extend(values)
        else:
            _expect(self.stack[-1], dict).update(_dict_of(values))

    def _add(self, target: Any, name: str) -> None:
        value = self.stack.pop()
        if name == "APPEND":
            _expect(target, list).append(value)
        else:
            _expect(target, dict).update(_dict_of([self.stack.pop(), value]))

    def _mention(self, text: str) -> None:
        if text not in NAMES:
            named = text.replace(" ", ".")
            raise UserError(f"{self.name}: refused, because this pickle names {named}, which could run")
        self.stack.append(_Name(text))

    def _announce(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if not isinstance(called, _Name) or called.text == ARRAY:
            raise ValueError("a call of something that is no array")
        self.stack.append(_Raw(DTYPE, str(arguments[0])) if called.text == DTYPE else _Raw(ARRAY))

    def _build(self) -> None:
        state, raw = self.stack.pop(), self.stack[-1]
        if not isinstance(raw, _Raw):
            raise ValueError("a state of something that is no array")
        if raw.kind == DTYPE:
            if raw.code not in NUMBER_TYPES:
                raise ValueError(f"an array of {raw.code!r}")
            order = state[1] if state[1] in ("<", ">") else "|"
            raw.value = np.dtype(order.replace("|", "") + raw.code)
            return
        _, shape, dtype, is_fortran, content = state
        if not isinstance(content, str) or not isinstance(dtype, _Raw):
            raise ValueError("an array without its bytes")
        self.left -= len(content)
        if self.left < 0:
            raise ValueError("arrays of more bytes than the file has")
        values = np.frombuffer(content.encode("latin-1"), dtype.value)
        raw.value = values.reshape(shape, order="F" if is_fortran else "C")


def _finished(value: Any, known: dict[int, Any], depth: int = 0) -> Any:
    """The value with its arrays in place of what announced them.

    `known` holds, by their ids, the lists and dictionaries that are finished: what stands at many places is built once,
    or a file of a few hundred bytes could describe more than any computer holds.
    """
    if depth > DEEPEST:
        raise ValueError("nested too deeply")
    if isinstance(value, _Raw):
        return value.value
    if not isinstance(value, list | dict):
        return value
    if id(value) not in known:
        if isinstance(value, list):
            known[id(value)] = [_finished(item, known, depth + 1) for item in value]
        else:
            known[id(value)] = {key: _finished(item, known, depth + 1) for key, item in value.items()}
    return known[id(value)]


def _dict_of(values: list[Any]) -> dict[Any, Any]:
    """A dictionary of keys and values in turns; keys are texts and numbers, since to hash a tuple that nests millions
    deep would end Python itself."""
    if not all(isinstance(key, str | int | float) for key in values[::2]):
        raise ValueError("a key that is neither text nor a number")
    return dict(zip(values[::2], values[1::2], strict=True))


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"a {kind.__name__} was expected")
    return value
