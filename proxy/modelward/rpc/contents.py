"""Tensors to and from the protocol's raw form and its typed contents.

Raw form: row-major, little-endian elements; a BYTES element is a 4-byte little-endian length and that many bytes.
Arrays hold BF16 as float32 and BYTES as bytes objects.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelward.lazy import Lazy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]
else:
    np, Array = Lazy("numpy"), Any

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


class AnswerProblem(ValueError):
    """An output whose bytes are not what its datatype and shape say: the server is at fault."""


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
            return object_array(_split(raw)).reshape(shape)
        if datatype == "BF16":
            return (np.frombuffer(raw, "<u2").astype("<u4") << np.uint32(16)).view("<f4").reshape(shape)
        return np.frombuffer(raw, NUMPY_TYPES[datatype]).reshape(shape)
    except (ValueError, KeyError) as error:
        raise AnswerProblem(f"the server sent {len(raw)} bytes as {datatype} {shape}: {error}") from None


def decode_contents(contents: Any, datatype: str, shape: list[int]) -> Array:
    """The array of one output in typed contents. Raises AnswerProblem if the elements do not fill the shape."""
    try:
        elements = list(getattr(contents, CONTENTS[datatype]))
        array = object_array(elements) if datatype == "BYTES" else np.asarray(elements, NUMPY_TYPES[datatype])
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


def object_array(elements: list[Any]) -> Array:
    array = np.empty(len(elements), object)
    array[:] = elements
    return array


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
