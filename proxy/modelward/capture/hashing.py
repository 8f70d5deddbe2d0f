"""Keyed hashes in the place of values that are not to be written."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from modelward.rpc.contents import Array

MOST_KEY = 64  # bytes of a key of BLAKE2b


def hashed(values: Array, key: bytes) -> npt.NDArray[np.uint64]:
    """Of each element of (n,), or of each row of (n, k). Equal values have equal hashes, whatever the datatype of the
    numbers. Without the key a value cannot be tried."""
    rows = values.reshape(len(values), -1)
    if rows.dtype.kind == "O":
        texts = [b"".join(len(each).to_bytes(4, "little") + each for each in row) for row in rows.tolist()]
    else:
        numbers = np.ascontiguousarray(rows, np.float64) + 0.0  # -0 is 0
        together, size = numbers.tobytes(), numbers.itemsize * numbers.shape[1]
        texts = [together[at : at + size] for at in range(0, len(rows) * size, size)] if size else [b""] * len(rows)
    keyed = hashlib.blake2b(digest_size=8, key=key[:MOST_KEY], person=b"mw-capture")
    known: dict[bytes, bytes] = {}
    for text in texts:
        if text not in known:
            each = keyed.copy()
            each.update(text)
            known[text] = each.digest()
    return np.frombuffer(b"".join([known[text] for text in texts]), "<u8").astype(np.uint64)
