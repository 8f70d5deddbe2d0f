"""Tensors as people write them on a command line, to and from the protocol's raw form.

Raw form: row-major, little-endian elements; a BYTES element is a 4-byte little-endian length and that many bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Datatypes whose elements numpy holds. BF16 has no numpy type and BYTES no fixed size: each has its own functions.
NUMPY_TYPES: dict[str, str] = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
# The field of InferTensorContents that a server which does not answer raw uses.
CONTENTS: dict[str, str] = {
    "BOOL": "bool_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


class ValueProblem(ValueError):
    """A value that cannot be read, or does not fit its input."""


class AnswerProblem(ValueError):
    """An output whose bytes are not what its datatype and shape say: the server is at fault."""


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


def encode(array: Array, datatype: str) -> bytes:
    """Raw form of an array that `read_value` gave."""
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(element)) + element for element in array.ravel().tolist())
    if datatype == "BF16":
        bits = np.ascontiguousarray(array, "<f4").view("<u4").astype(np.uint64)
        # Round to nearest, ties to even, on the 16 bits that go; a NaN must not be carried into an infinity.
        rounded = (bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)
        quiet = (bits >> np.uint64(16)) | np.uint64(0x40)
        return np.where(np.isnan(array), quiet, rounded).astype("<u2").tobytes()
    return np.ascontiguousarray(array, NUMPY_TYPES[datatype]).tobytes()


def decode(raw: bytes, datatype: str, shape: list[int]) -> Array:
    """The array of one output in raw form. Raises AnswerProblem if the bytes are not that many elements."""
    try:
        if datatype == "BYTES":
            return _object_array(_split(raw)).reshape(shape)
        if datatype == "BF16":
            return (np.frombuffer(raw, "<u2").astype("<u4") << np.uint32(16)).view("<f4").reshape(shape)
        return np.frombuffer(raw, NUMPY_TYPES[datatype]).reshape(shape)
    except (ValueError, KeyError) as error:
        raise AnswerProblem(f"the server sent {len(raw)} bytes as {datatype} {shape}: {error}") from None


def decode_contents(contents: Any, datatype: str, shape: list[int]) -> Array:
    """The array of one output in typed contents. Raises AnswerProblem if the elements do not fill the shape."""
    try:
        elements = list(getattr(contents, CONTENTS[datatype]))
        array = _object_array(elements) if datatype == "BYTES" else np.asarray(elements, NUMPY_TYPES[datatype])
        return array.reshape(shape)
    except (ValueError, KeyError) as error:
        raise AnswerProblem(f"the server's contents are not {datatype} {shape}: {error}") from None


def decode_all(tensors: Sequence[Any], raws: Sequence[bytes]) -> list[Array]:
    """The array of each tensor of a message, whichever of the two forms its sender chose. Raises AnswerProblem."""
    if raws and len(raws) != len(tensors):
        raise AnswerProblem(f"the server sent {len(tensors)} outputs and {len(raws)} contents")
    return [
        decode(raws[i], tensor.datatype, list(tensor.shape))
        if raws
        else decode_contents(tensor.contents, tensor.datatype, list(tensor.shape))
        for i, tensor in enumerate(tensors)
    ]


def as_text(array: Array) -> str:
    """For a table: a large array is cut short."""
    printable = array if array.dtype != object else np.array(to_json(array), object)
    return np.array2string(printable, threshold=64, edgeitems=4, precision=6, separator=", ")


def to_json(array: Array) -> Any:
    """Nested lists; bytes as text, with what is not UTF-8 escaped."""
    if array.dtype == object:
        texts = [element.decode(errors="backslashreplace") for element in array.ravel()]
        return _object_array(texts).reshape(array.shape).tolist()
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
        return _object_array([leaf.encode() for leaf in _leaves(value)]).reshape(array.shape)
    if array.dtype.kind in "fO" and all(isinstance(leaf, int) for leaf in _leaves(value)):
        # Integers past 2**63: numpy takes them for floats, which lose their last digits, or for objects.
        return _object_array(_leaves(value)).reshape(array.shape)
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
        return _object_array(array.ravel().tolist()).reshape(array.shape)
    if array.dtype.kind == "U":
        return _object_array([str(e).encode() for e in array.ravel()]).reshape(array.shape)
    if array.dtype == object and all(isinstance(e, bytes) for e in array.ravel()):
        return array
    if array.size == 0:
        return array.astype(object)
    raise ValueProblem(f"{_shown(array.tolist())} is not text: BYTES take strings")


def _object_array(elements: list[Any]) -> Array:
    array = np.empty(len(elements), object)
    array[:] = elements
    return array


def _leaves(value: Any) -> list[Any]:
    return [leaf for item in value for leaf in _leaves(item)] if isinstance(value, list) else [value]


def _split(raw: bytes) -> list[bytes]:
    elements: list[bytes] = []
    at = 0
    while at < len(raw):
        if len(raw) - at < 4:
            raise ValueError("a length is cut off")
        (size,) = struct.unpack_from("<I", raw, at)
        at += 4
        if size > len(raw) - at:
            raise ValueError("an element is cut off")
        elements.append(raw[at : at + size])
        at += size
    return elements


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
