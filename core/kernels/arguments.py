"""The check before a launch: what a GPU would take silently and compute nonsense with, is refused here by name."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from core.kernels.signature import COMPUTE, TYPE_OF, KernelError, Parameter, Signature

Size: TypeAlias = "int | tuple[int, ...]"
Triple: TypeAlias = "tuple[int, int, int]"

MOST_PLANS = 4096  # of a kernel; ragged sequences make many shapes
MOST_ELEMENTS = 2**30  # of an array, so that indices stay in 32 bits also one grid beyond the end
MOST_THREADS = 1024  # of a block
MOST_BLOCKS = (2**31 - 1, 65535, 65535)
MOST_SHARED = 48 * 1024  # bytes of shared memory that every GPU grants without being asked


# What a check depends on, of an array: fetched by C code, because every launch asks all its arrays.
KIND = operator.attrgetter("__class__", "dtype", "shape", "strides")
NULL = np.uint64(0)  # an absent array, on a GPU


@dataclass
class Scalar:
    """A number that may differ from launch to launch, with what it was the last time."""

    place: int
    name: str
    typed: Callable[[Any], Any]  # makes it of the type wanted
    latest: tuple[Any, Any] = (None, None)  # as given, and typed


@dataclass
class Plan:
    """What a full check found, for all launches with arrays of these types and shapes."""

    instance: str  # the C++ name
    on_host: bool  # whether the arrays are NumPy's
    fixed: list[Any]  # all arguments in order, with sizes and absent arrays as they are
    arrays: list[tuple[int, str]]  # place and name
    scalars: list[Scalar]
    function: Any = None  # compiled for the GPU, once it has been launched

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """All arguments in order, scalars typed: anew only where they are not the last time's."""
        values = self.fixed.copy()
        for place, name in self.arrays:
            values[place] = given[name]
        for scalar in self.scalars:
            value = given[scalar.name]
            latest, typed = scalar.latest
            if value is not latest:
                typed = scalar.typed(value)
                scalar.latest = value, typed
            values[scalar.place] = typed
        return values


class Binder:
    """Checks the arguments of one kernel, and remembers what it found for arrays of the same types and shapes.

    A full check takes tens of microseconds, several times as long as a launch, and training launches the same kernels
    with the same shapes again and again.
    """

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self._arrays = [p.name for p in signature.parameters if p.is_array]
        in_shapes = {factor for p in signature.parameters for axis in (*p.shape, (p.stride,)) for factor in axis}
        self._sizes = [p.name for p in signature.parameters if not p.is_array and p.name in in_shapes]
        self._plans: dict[Any, Plan] = {}

    def __call__(self, given: Mapping[str, Any]) -> tuple[Plan, list[Any]]:
        """The plan, and all arguments in order, scalars typed; raises KernelError as `bind` does."""
        get = given.get
        try:
            arrays = [None if array is None else KIND(array) for array in map(get, self._arrays)]
            key = (*given, *map(get, self._sizes), *arrays)
            plan = self._plans.get(key)
            if plan is not None:
                return plan, plan.values(given)
        except (AttributeError, TypeError):
            key = None  # something is wrong, and `bind` says what
        instance, values = bind(self.signature, given)
        plan = self._plan(instance, values)
        if len(self._plans) >= MOST_PLANS:
            self._plans.clear()
        if key is not None:
            self._plans[key] = plan
        return plan, plan.values(given)

    def _plan(self, instance: str, values: list[Any]) -> Plan:
        on_host = _on_host(self.signature, values)
        plan = Plan(instance, on_host, [NULL if v is None and not on_host else v for v in values], [], [])
        for place, (parameter, value) in enumerate(zip(self.signature.parameters, values, strict=True)):
            if parameter.is_array and value is not None:
                plan.fixed[place] = None  # or the array would live as long as the plan
                plan.arrays.append((place, parameter.name))
            elif not parameter.is_array and parameter.name not in self._sizes:
                kind = type(value)
                integer = value.dtype.kind in "iu"
                typed = functools.partial(_integer, kind) if integer else kind
                plan.scalars.append(Scalar(place, parameter.name, typed))
        return plan


def _integer(kind: Callable[[int], Any], value: Any) -> Any:
    """A typed integer; TypeError for a fraction, which NumPy would cut off."""
    return kind(operator.index(value))


def _on_host(signature: Signature, values: list[Any]) -> bool:
    """Whether the arrays are NumPy's; KernelError when only some of them are."""
    arrays = [v for p, v in zip(signature.parameters, values, strict=True) if p.is_array and v is not None]
    sides = {isinstance(array, np.ndarray) for array in arrays}
    if len(sides) > 1:
        raise KernelError(f"{signature.name} got arrays of the CPU and of a GPU")
    return sides == {True}


def bind(signature: Signature, given: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The C++ name of the instance that fits the arrays, and all arguments in order, scalars typed.

    Integers that appear in shapes need not be given. Raises KernelError, a ValueError, for a missing or unknown
    argument, a wrong dtype, a wrong size, or an array that is not C-contiguous.
    """
    sizes: dict[str, int] = {}
    kind = ""
    for parameter in sorted(signature.parameters, key=lambda parameter: parameter.type != "T"):  # these say what T is
        if parameter.is_array and given.get(parameter.name) is not None:
            array = given[parameter.name]
            kind = _check_type(signature, parameter, array, kind)
            _bind_shape(signature, parameter, array, sizes)
    for parameter in signature.parameters:
        if parameter.is_array and given.get(parameter.name) is None:  # what only an absent array needs, nobody reads
            for name in (parameter.stride, *(factor for axis in parameter.shape for factor in axis)):
                sizes.setdefault(name, given.get(name, 0))
    unknown = given.keys() - {parameter.name for parameter in signature.parameters}
    if unknown:
        raise KernelError(f"{signature.name} has no parameter {sorted(unknown)}")
    for name, value in given.items():
        if sizes.setdefault(name, value) is not value and sizes[name] != value:
            raise KernelError(f"{signature.name} got {name}={value}, but its arrays have {name}={sizes[name]}")
    values = [_value(signature, parameter, given, sizes, kind) for parameter in signature.parameters]
    _check_products(signature, given, sizes)
    return f"{signature.name}<{kind}>" if signature.types else signature.name, values


def triple(size: Size) -> Triple:
    """(x, y, z) from one number or up to three."""
    x, y, z = (*((size,) if isinstance(size, int) else size), 1, 1)[:3]
    return int(x), int(y), int(z)


@functools.lru_cache(maxsize=4096)
def check_launch(name: str, grid: Size, block: Size, shared: int) -> tuple[Triple, Triple]:
    """(x, y, z) of grid and block; KernelError for those, or shared memory, that not every GPU can run."""
    grid, block = triple(grid), triple(block)
    if min(grid) < 0 or any(size > most for size, most in zip(grid, MOST_BLOCKS, strict=True)):
        raise KernelError(f"{name} cannot run in a grid of {grid} blocks; at most {MOST_BLOCKS} are possible")
    if min(block) < 1 or math.prod(block) > MOST_THREADS or block[2] > 64:
        raise KernelError(f"{name} cannot run in blocks of {block} threads; at most {MOST_THREADS} are possible")
    if not 0 <= shared <= MOST_SHARED:
        raise KernelError(f"{name} cannot have {shared} bytes of shared memory; at most {MOST_SHARED} are possible")
    return grid, block


def _check_type(signature: Signature, parameter: Parameter, array: Any, kind: str) -> str:
    """Compare the dtype with the declaration; returns the type that T stands for, "" while that is open."""
    if not hasattr(array, "dtype") or isinstance(array, np.generic):
        raise KernelError(f"{signature.name} expected an array for {parameter.name}, got {type(array).__name__}")
    if parameter.type != "T":
        if parameter.type == COMPUTE and not kind:
            return ""  # an array that says what T is is missing, and `_value` will say so
        wanted = parameter.dtype(kind)
        if array.dtype != wanted:
            raise KernelError(f"{signature.name} expected {parameter.name} of {wanted}, got {array.dtype}")
        return kind
    found = TYPE_OF.get(array.dtype, str(array.dtype))
    if kind and found != kind:
        raise KernelError(f"{signature.name} expected {parameter.name} of {kind} like the other arrays, got {found}")
    if found not in signature.types:
        raise KernelError(f"{signature.name} is made for {', '.join(signature.types)}, not for {found}")
    return found


def _bind_shape(signature: Signature, parameter: Parameter, array: Any, sizes: dict[str, int]) -> None:
    """Learn the sizes that stand alone in the shape, and check the layout."""
    if array.size > MOST_ELEMENTS:
        raise KernelError(f"{signature.name} takes at most {MOST_ELEMENTS:,} elements, {parameter.name} has more")
    shape = array.shape if len(parameter.shape) > 1 else (array.size,)
    if len(shape) != len(parameter.shape):
        raise KernelError(f"{signature.name} expected {parameter.name} {_written(parameter)}, got {array.shape}")
    for axis, size in zip(parameter.shape, shape, strict=True):
        if len(axis) == 1 and sizes.setdefault(axis[0], int(size) if not axis[0].isdigit() else int(axis[0])) != size:
            raise KernelError(
                f"{signature.name} expected {parameter.name} {_written(parameter)} with {axis[0]}={sizes[axis[0]]}, "
                f"got {array.shape}"
            )
    if parameter.stride:
        _bind_stride(signature, parameter, array, sizes)
    elif not array.flags.c_contiguous:
        raise KernelError(f"{signature.name} expected {parameter.name} to be C-contiguous; it has {array.strides}")


def _bind_stride(signature: Signature, parameter: Parameter, array: Any, sizes: dict[str, int]) -> None:
    rows, columns = array.shape
    row, element = (stride // array.itemsize for stride in array.strides)
    if columns > 1 and element != 1:
        raise KernelError(f"{signature.name} expected contiguous rows in {parameter.name}; it has {array.strides}")
    row = row if rows > 1 else sizes.get(parameter.stride, columns)
    if sizes.setdefault(parameter.stride, row) != row:
        raise KernelError(f"{signature.name} expected rows {sizes[parameter.stride]} apart in {parameter.name}")


def _value(
    signature: Signature, parameter: Parameter, given: Mapping[str, Any], sizes: Mapping[str, Any], kind: str
) -> Any:
    if parameter.is_array:
        if parameter.name not in given or (given[parameter.name] is None and not parameter.nullable):
            raise KernelError(f"{signature.name} needs the array {parameter.name}")
        return given[parameter.name]
    if parameter.name not in sizes:
        raise KernelError(f"{signature.name} needs the number {parameter.name}")
    dtype = parameter.dtype(kind)
    value = sizes[parameter.name]
    if dtype.kind in "iu" and not isinstance(value, int | np.integer):
        raise KernelError(f"{signature.name} expected an integer {parameter.name}, got {value!r}")
    return dtype.type(value)


def _check_products(signature: Signature, given: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    for parameter in signature.parameters:
        if not parameter.is_array or given[parameter.name] is None or all(len(axis) == 1 for axis in parameter.shape):
            continue
        array = given[parameter.name]
        wanted = [math.prod(int(f) if f.isdigit() else sizes[f] for f in axis) for axis in parameter.shape]
        if list(array.shape if len(wanted) > 1 else (array.size,)) != wanted:
            raise KernelError(
                f"{signature.name} expected {parameter.name} {_written(parameter)} = {wanted}, got {array.shape}"
            )


def _written(parameter: Parameter) -> str:
    return "(" + ", ".join(" * ".join(axis) for axis in parameter.shape) + ")"
