"""What a `.cu` file says about its kernels: names, element types, parameters and the sizes of all arrays.

The text of the kernel is the only place where this is written down. A kernel looks like

    template <typename T>  // float, double, float16
    __global__ void scale_forward(const T* x,       // (M, C)
                                  const T* factors, // (C) or null
                                  T* y,             // (M, C)
                                  int M, int C) {

The comment behind `template` lists the types it is made for (float and double by default), and the one behind an array
its shape: names of integer parameters, numbers, or products of both. `(N)` takes an array of any shape with N elements;
`(M, C; S)` one whose rows are S elements apart; "or null" allows None. What is `compute_t<T>` is float where T is
float16, and T otherwise: sums, statistics and biases, which 16 bits are too coarse for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# C++ name -> NumPy dtype, of everything that a kernel may take.
DTYPES: dict[str, np.dtype[Any]] = {
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "float16": np.dtype(np.float16),
    "bool": np.dtype(np.bool_),
    "unsigned char": np.dtype(np.uint8),
    "unsigned short": np.dtype(np.uint16),
    "unsigned int": np.dtype(np.uint32),
    "unsigned long long": np.dtype(np.uint64),
    "int": np.dtype(np.int32),
    "long long": np.dtype(np.int64),
}
TYPE_OF = {dtype: name for name, dtype in DTYPES.items()}
DEFAULT_TYPES = ("float", "double")
COMPUTE = "compute_t<T>"  # see kernel.cuh

KERNEL = re.compile(
    r"(?:(?P<template>template\s*<typename T>)[ ]*(?://(?P<types>[^\n]*))?\n\s*)?"
    r"__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(?P<name>\w+)\s*\((?P<parameters>[^{]*)\)\s*\{"
)
PARAMETER = re.compile(r"\s*(?P<declaration>[^,/]+?)\s*(?:,|(?=//)|$)[ ]*(?://(?P<comment>[^\n]*))?")
DECLARATION = re.compile(
    r"(?:const\s+)?(?P<type>compute_t<T>|[\w ]+?)\s*(?P<pointer>\*?)\s*(?:__restrict__\s+)?(?P<name>\w+)"
)
SHAPE = re.compile(r"\s*\((?P<dims>[^;)]*)(?:;\s*(?P<stride>\w+)\s*)?\)(?P<null>\s*or null)?")


class KernelError(ValueError):
    """A kernel, or a call of one, breaks the rules of `core/kernels/README.md`."""


@dataclass(frozen=True)
class Parameter:
    """One parameter: a scalar, or an array with its shape as written in the comment behind it."""

    name: str
    type: str  # as in DTYPES, or T, or COMPUTE
    is_array: bool
    shape: tuple[tuple[str, ...], ...]  # the factors of each axis
    stride: str  # the parameter that says how many elements apart rows are; "" where they are contiguous
    nullable: bool

    def dtype(self, kind: str) -> np.dtype[Any]:
        """What the elements are where T stands for `kind`."""
        if self.type == COMPUTE:
            return DTYPES["float" if kind == "float16" else kind]
        return DTYPES[kind if self.type == "T" else self.type]


@dataclass(frozen=True)
class Signature:
    """One kernel, as its source declares it; `types` is empty where it is no template."""

    name: str
    types: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    path: Path

    def instances(self) -> tuple[str, ...]:
        """How C++ calls the functions that this kernel stands for."""
        return tuple(f"{self.name}<{kind}>" for kind in self.types) or (self.name,)


def signatures(path: Path) -> list[Signature]:
    """The kernels of one file; raises KernelError where one cannot be understood."""
    text = path.read_text(encoding="utf-8")
    found = [_signature(match, path) for match in KERNEL.finditer(text)]
    count = len(re.findall(r"^[^/\n]*\b__global__\b", text, re.MULTILINE))
    if len(found) != count:
        raise KernelError(f"{path.name} has {count} kernels, but only {[s.name for s in found]} can be understood")
    return found


def _signature(match: re.Match[str], path: Path) -> Signature:
    types: tuple[str, ...] = ()
    if match["template"]:
        types = tuple(name.strip() for name in (match["types"] or "").split(",") if name.strip()) or DEFAULT_TYPES
    where = f"{match['name']} in {path.name}"
    unknown = [name for name in types if name not in DTYPES]
    if unknown:
        raise KernelError(f"{where} is made for unknown types {unknown}")
    parameters = tuple(_parameter(part, where) for part in PARAMETER.finditer(match["parameters"]))
    if not types and any(parameter.type in ("T", COMPUTE) for parameter in parameters):
        raise KernelError(f"{where}: cannot understand the template; it has to be: template <typename T>")
    scalars = {parameter.name for parameter in parameters if not parameter.is_array}
    for parameter in parameters:
        factors = {factor for axis in parameter.shape for factor in axis if not factor.isdigit()}
        strange = sorted((factors | ({parameter.stride} - {""})) - scalars)
        if strange:
            raise KernelError(f"{where}: the shape of {parameter.name} names {strange}, which are no parameters")
    return Signature(match["name"], types, parameters, path)


def _parameter(match: re.Match[str], where: str) -> Parameter:
    declaration = DECLARATION.fullmatch(match["declaration"])
    if declaration is None or declaration["type"] not in {"T", COMPUTE, *DTYPES}:
        raise KernelError(f"{where}: cannot understand the parameter '{match['declaration']}'")
    name, is_array, stride, nullable = declaration["name"], bool(declaration["pointer"]), "", False
    shape: tuple[tuple[str, ...], ...] = ()
    if is_array:
        comment = SHAPE.match(match["comment"] or "")
        if comment is None:
            raise KernelError(f"{where}: the array {name} has no comment with its shape, such as // (M, C)")
        shape = tuple(tuple(factor.strip() for factor in axis.split("*")) for axis in comment["dims"].split(","))
        stride, nullable = comment["stride"] or "", bool(comment["null"])
    return Parameter(name, declaration["type"], is_array, shape, stride, nullable)
