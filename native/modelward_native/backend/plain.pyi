from typing import NamedTuple

class Plain(NamedTuple):
    """A tensor. data: its elements, little-endian, rows first; of BYTES a list of bytes objects."""

    shape: tuple[int, ...]
    data: bytes | list[bytes]

def are_close(a: bytes, b: bytes, datatype: str, tolerance: float) -> bool: ...
