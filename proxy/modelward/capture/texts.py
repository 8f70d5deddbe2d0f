"""Columns of text, made for all rows at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_DIGITS = np.frombuffer(b"".join(b"%02x" % each for each in range(256)), np.uint8).reshape(256, 2)

Mask = npt.NDArray[np.bool_]


def hexadecimal(values: npt.NDArray[Any], known: Mask | None = None) -> pa.Array:
    """Of the bytes of each value, in their order. Null where it is not known."""
    size = 2 * values.itemsize
    digits = _DIGITS[np.frombuffer(values.tobytes(), np.uint8)].ravel()
    offsets = np.arange(len(values) + 1, dtype=np.int32) * size
    valid = None if known is None else pa.py_buffer(np.packbits(known, bitorder="little").tobytes())
    return pa.Array.from_buffers(pa.string(), len(values), [valid, pa.py_buffer(offsets), pa.py_buffer(digits)])


def chosen(names: pa.Array, codes: npt.NDArray[Any]) -> pa.Array:
    """names[code] of each code."""
    return names.take(pa.array(codes))


def decoded(texts: Sequence[bytes]) -> pa.Array:
    """UTF-8, with a mark where it is none. Null for an empty one."""
    if not any(texts):
        return pa.nulls(len(texts), pa.string())
    try:
        return pa.array([text or None for text in texts], pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([text.decode("utf-8", "replace") or None for text in texts], pa.string())


def joined(words: Mapping[str, Mask], rows: int) -> pa.Array:
    """Of each row the words that hold for it, with spaces between them."""
    codes = np.zeros(rows, np.int64)
    for i, holds in enumerate(words.values()):
        codes |= holds.astype(np.int64) << i
    found, codes = np.unique(codes, return_inverse=True)
    told = [" ".join(word for i, word in enumerate(words) if code >> i & 1) for code in found.tolist()]
    return chosen(pa.array(told, pa.string()), codes)
