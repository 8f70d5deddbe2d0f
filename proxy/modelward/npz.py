"""Archives of arrays (.npz) that somebody else has written: no pickles, and bounds on what unpacking them takes."""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from modelward.lazy import Lazy

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
else:
    np = Lazy("numpy")

# What numpy and zipfile raise for files that are damaged, encrypted, packed in unknown ways, or claim huge arrays.
# numpy reads the header of an array as Python: tokenize.TokenError is no SyntaxError.
DAMAGE = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, EOFError, SyntaxError, MemoryError),
    *(RuntimeError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)

# Of the list of members, which zipfile reads whole: an archive of arrays has a few hundred bytes of it.
LONGEST_DIRECTORY = 1 << 20
# The record at the end of an archive (APPNOTE.TXT, 4.3.16), and the one before it in archives of more than 4 GiB.
_END, _END_SIZE, _LONGEST_COMMENT = b"PK\5\6", 22, 0xFFFF
_LOCATOR, _LOCATOR_SIZE = b"PK\6\7", 20


def read_arrays(data: bytes, largest: int) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an .npz by name. Raises DAMAGE, a ValueError where it would unpack to more than `largest` bytes."""
    if directory_size(data) > LONGEST_DIRECTORY:
        raise ValueError("it lists too many members")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:  # which never unpacks more than the size that it announces
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > largest:
        raise ValueError(f"it would unpack to {unpacked} bytes, {largest} are the most")
    with np.load(io.BytesIO(data), allow_pickle=False) as members:
        arrays = {name: members[name] for name in members.files}
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise ValueError("it holds something that is no array")
    if sum(array.size for array in arrays.values()) > largest:  # empty strings take no bytes, however many they are
        raise ValueError(f"it has more than {largest} elements")
    return arrays


def directory_size(data: bytes) -> int:
    """Bytes of the list of members; 0 where zipfile will find no archive."""
    end = data.rfind(_END, max(0, len(data) - _END_SIZE - _LONGEST_COMMENT))
    if end < 0 or end + _END_SIZE > len(data):
        return 0
    if data[max(0, end - _LOCATOR_SIZE) : end].startswith(_LOCATOR):  # then the size stands in yet another record
        raise ValueError("it is an archive for more than 4 GiB")
    (size,) = struct.unpack_from("<I", data, end + 12)
    return int(size)
