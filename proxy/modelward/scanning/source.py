"""The bytes of a file that is scanned: in memory, or read piece by piece, so that its size does not matter."""

from __future__ import annotations

import os
from typing import Protocol

WINDOW = 1 << 16  # bytes that are read at a time

Span = tuple[int, int]  # from one byte to before another


class Source(Protocol):
    size: int

    def window(self, at: int) -> tuple[bytes, int]:
        """A piece with the byte `at` and at least WINDOW bytes behind it, as far as there are so many, and where the
        piece begins."""

    def read(self, start: int, stop: int) -> bytes:
        """These bytes; fewer where the file ends before."""


class InMemory:
    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def window(self, at: int) -> tuple[bytes, int]:
        return self._data, 0

    def read(self, start: int, stop: int) -> bytes:
        return self._data[start:stop]


class OnDisk:
    """An open file, of which `size` bytes are looked at: it may grow or shrink meanwhile."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.size = size
        self._descriptor = descriptor

    def window(self, at: int) -> tuple[bytes, int]:
        return self.read(at, min(at + 4 * WINDOW, self.size)), at

    def read(self, start: int, stop: int) -> bytes:
        pieces, left = [], max(0, min(stop, self.size) - start)
        while left:
            piece = os.pread(self._descriptor, min(left, 1 << 30), start)
            if not piece:
                break
            pieces.append(piece)
            start, left = start + len(piece), left - len(piece)
        return b"".join(pieces)
