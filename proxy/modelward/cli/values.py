"""Tensors as people write them on a command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from modelward.rpc.contents import NUMPY_TYPES, Array, object_array


class ValueProblem(ValueError):
    """A value that cannot be read, or does not fit its input."""


def read_value(text: str, datatype: str) -> Array:
    """The array that `text` means: JSON, `@file.npy`, `@file.json`, or for BYTES also a bare word.

    Raises ValueProblem. The shape is as written; the elements are of `datatype`, held as float32 for BF16 and as
    bytes objects for BYTES.
    """
    if text.startswith("@"):
        return _elements(_read_file(Path(text[1:])), datatype)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if datatype == "BYTES":
            value = text
        else:
            raise ValueProblem(f"{_shown(text)} is not JSON: {error}") from None
    return _elements(_from_json(value), datatype)


def fit_rank(array: Array, shape: list[int]) -> Array:
    """`array` with the leading axes that a person leaves out: a scalar for one element, a row for a batch of one.

    Only a missing batch dimension is added (the first, where it may be 1); any other mismatch is the server's to judge.
    """
    if array.ndim == 0:
        return array.reshape((1,) * len(shape))
    if array.ndim == len(shape) - 1 and shape[0] in (-1, 1):
        return array[np.newaxis]
    return array


def as_text(array: Array) -> str:
    """For a table: a large array is cut short."""
    printable = array if array.dtype != object else np.array(to_json(array), object)
    return np.array2string(printable, threshold=64, edgeitems=4, precision=6, separator=", ")


def to_json(array: Array) -> Any:
    """Nested lists; bytes as text, with what is not UTF-8 escaped."""
    if array.dtype == object:
        texts = [element.decode(errors="backslashreplace") for element in array.ravel()]
        return object_array(texts).reshape(array.shape).tolist()
    return array.tolist()


def _read_file(path: Path) -> Array:
    try:
        if path.suffix == ".npy":
            # No pickles: a data file must not be able to run code.
            loaded: Array = np.load(path, allow_pickle=False)
            return loaded
        if path.suffix == ".json":
            return _from_json(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise ValueProblem(f"{path} cannot be read: {error}") from None
    raise ValueProblem(f"{path} is neither a .npy nor a .json file")


def _from_json(value: Any) -> Array:
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise ValueProblem(f"{_shown(value)} is not a tensor: {error}") from None
    if array.dtype.kind == "U":
        if not all(isinstance(leaf, str) for leaf in _leaves(value)):
            raise ValueProblem(f"{_shown(value)} mixes strings and numbers")
        # From a list, since numpy's own strings drop trailing zero characters.
        return object_array([leaf.encode() for leaf in _leaves(value)]).reshape(array.shape)
    if array.dtype.kind in "fO" and all(isinstance(leaf, int) for leaf in _leaves(value)):
        # Integers past 2**63: numpy takes them for floats, which lose their last digits, or for objects.
        return object_array(_leaves(value)).reshape(array.shape)
    if array.dtype.kind not in "biuf":
        raise ValueProblem(f"{_shown(value)} is not a tensor of numbers, booleans or strings")
    return array


def _elements(array: Array, datatype: str) -> Array:
    """`array` as elements of `datatype`, refusing what would change a value beyond a float's rounding."""
    if datatype == "BYTES":
        return _as_bytes(array)
    if datatype not in NUMPY_TYPES and datatype != "BF16":
        raise ValueProblem(f"datatype {datatype} is not one of the protocol's")
    if array.dtype.kind in "SU" or (array.dtype == object and any(isinstance(e, bytes) for e in array.ravel())):
        raise ValueProblem(f"strings are not {datatype}")
    wanted = np.dtype(NUMPY_TYPES.get(datatype, "<f4"))
    if array.dtype == wanted:
        return array
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            converted = array.astype(wanted)
            if wanted.kind == "f":
                fits = not (np.isinf(converted) & ~np.isinf(array.astype("<f8"))).any()
            else:
                # As Python's numbers: numpy would compare integers with floats as floats.
                fits = np.array_equal(converted.astype(object), array.astype(object))
    except (OverflowError, ValueError, TypeError):
        fits = False
    if not fits:
        raise ValueProblem(f"{_shown(array.tolist())} does not fit {datatype}")
    return converted


def _as_bytes(array: Array) -> Array:
    if array.dtype.kind == "S":
        return object_array(array.ravel().tolist()).reshape(array.shape)
    if array.dtype.kind == "U":
        return object_array([str(e).encode() for e in array.ravel()]).reshape(array.shape)
    if array.dtype == object and all(isinstance(e, bytes) for e in array.ravel()):
        return array
    if array.size == 0:
        return array.astype(object)
    raise ValueProblem(f"{_shown(array.tolist())} is not text: BYTES take strings")


def _leaves(value: Any) -> list[Any]:
    return [leaf for item in value for leaf in _leaves(item)] if isinstance(value, list) else [value]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
