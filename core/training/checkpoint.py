"""Checkpoints: named arrays and a JSON description in one safetensors file, with nothing in it that could run.

The file is a plain safetensors file that other tools read too; its metadata hold the description and a SHA-256 of
everything, because the format itself notices a missing byte but not a changed one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.backend import Array, to_cpu
from core.errors import UserError
from core.layers import Layer
from core.training.files import write_checked

FORMAT = "barenets checkpoint 1"
WEIGHTS, TRAINING_STATE = "weights", "training state"  # what metadata["kind"] says
DTYPES = ("float16", "float32", "float64", "uint8", "int32", "int64", "bool")
MAX_BYTES = 4 * 2**30  # read whole into memory, so a hostile file must not be larger than that

Tensors = dict[str, Array]


def save_checkpoint(path: Path | str, tensors: Mapping[str, Array], metadata: Mapping[str, Any]) -> None:
    """Write `tensors` (arrays on any device, every dtype of DTYPES kept exactly) and JSON `metadata` to `path`.

    The file appears whole or not at all. Raises UserError when it cannot be written or would be larger than what
    `load_checkpoint` reads, TypeError for another dtype and ValueError for metadata that JSON cannot hold (NaN and
    infinity among them).
    """
    from safetensors.numpy import save

    # safetensors writes the wrong values, in silence, for an array that is not C-contiguous (its issue 825).
    arrays = {name: np.asarray(to_cpu(array), order="C") for name, array in tensors.items()}
    for name, array in arrays.items():
        if array.dtype.name not in DTYPES or not array.dtype.isnative:
            raise TypeError(f"save_checkpoint expected one of {', '.join(DTYPES)} for {name!r}, got {array.dtype!r}")
    text = json.dumps(metadata, allow_nan=False)
    data = save(arrays, {"format": FORMAT, "metadata": text, "sha256": _digest(arrays, text)})
    if len(data) > MAX_BYTES:  # said at the first checkpoint, not after the last epoch
        raise UserError(
            f"{path} would have {len(data) / 2**30:.1f} GiB, and none above {MAX_BYTES / 2**30:g} GiB is read again: "
            "make the network smaller"
        )
    _check(data)
    write_checked(Path(path), data)


def load_checkpoint(path: Path | str) -> tuple[Tensors, dict[str, Any]]:
    """Read what `save_checkpoint` wrote: the arrays, as writable copies, and the metadata.

    Raises UserError, one line that names the file, when it is missing, truncated, damaged or not a checkpoint.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} is larger than any checkpoint of this project")
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}; train a model first") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    try:
        return _parse(data)
    except _DamageError as damage:
        raise UserError(f"{path} {damage}; train again, or restore the file from a copy") from None


def load_weights(model: Layer, path: Path | str) -> dict[str, Any]:
    """Put the weights of a checkpoint, of either kind, into `model` and return its metadata.

    Raises UserError as `load_checkpoint` does, and when names, shapes or dtypes are not this model's or a weight is not
    finite; the model is then unchanged.
    """
    tensors, metadata = load_checkpoint(path)
    if metadata.get("kind") == TRAINING_STATE:
        tensors = part_of(tensors, "model")
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UserError(f"{path} holds values in {name} that are not finite; train again")
    try:
        model.load_state_dict(tensors)
    except ValueError as error:
        raise UserError(f"{path} does not fit this network: {error}") from error
    return metadata


def part_of(tensors: Mapping[str, Array], name: str) -> Tensors:
    """The arrays of one part of a training state, such as "model", by their names in that part."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): array for key, array in tensors.items() if key.startswith(prefix)}


def _check(data: bytes) -> None:
    """Raise RuntimeError unless the file's bytes give back every value, which their SHA-256 shows."""
    try:
        _parse(data)
    except _DamageError as damage:
        raise RuntimeError(f"what the safetensors library made of the arrays {damage}") from damage


class _DamageError(Exception):
    """What is wrong with a file, as the end of a sentence that begins with its name."""


def _parse(data: bytes) -> tuple[Tensors, dict[str, Any]]:
    """The arrays and the metadata in the bytes of a checkpoint file; _DamageError for any others."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = {name: array.copy() for name, array in load(data).items()}
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, KeyError, ValueError) as error:
        raise _DamageError("is not a checkpoint, or only a part of one") from error
    if header.get("format") != FORMAT or not all(array.dtype.name in DTYPES for array in arrays.values()):
        raise _DamageError("was not written by this project")
    text = header.get("metadata", "")
    if header.get("sha256") != _digest(arrays, text):
        raise _DamageError("is damaged: its content does not have the SHA-256 that it was saved with")
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _DamageError("holds a description that is not JSON") from error
    if not isinstance(metadata, dict):
        raise _DamageError("holds a description that is not a JSON object")
    return arrays, metadata


def _digest(arrays: Mapping[str, Array], text: str) -> str:
    """SHA-256 of every array's name, dtype, shape and bytes, and of the metadata's text."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
