"""Where a log keeps its records and hashes, as C2SP has it: https://c2sp.org/tlog-tiles.

A bundle holds 256 records, a tile 256 hashes: of records at level 0, and at level L of the tiles of the level below.
The last of each is partial, and its file is named for how much it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

from modelward.audit.merkle import EMPTY, Node, node_hash

TILE = 256
HASH = 32
LEVELS_PER_TILE = 8
LARGEST_RECORD = (1 << 16) - 1
ENTRIES = "entries"

Hashes = Callable[[int, int, int], bytes]
"""The file of a tile, by its level, its index and how many hashes are asked for."""


def path(level: int | str, index: int, width: int = TILE) -> str:
    """Of a tile, or with ENTRIES as the level of a bundle, relative to the log."""
    digits = f"{index % 1000:03}"
    while index := index // 1000:
        digits = f"x{index % 1000:03}/{digits}"
    partial = f".p/{width}" if width < TILE else ""
    return f"tile/{level}/{digits}{partial}"


def pack(records: Sequence[bytes]) -> bytes:
    """A bundle."""
    return b"".join(len(record).to_bytes(2, "big") + record for record in records)


def unpack(bundle: bytes) -> Iterator[bytes]:
    """The records of a bundle. Raises ValueError where it is cut off."""
    at = 0
    while at < len(bundle):
        end = at + 2 + int.from_bytes(bundle[at : at + 2], "big")
        if at + 2 > len(bundle) or end > len(bundle):
            raise ValueError("the bundle ends within a record")
        yield bundle[at + 2 : end]
        at = end


def widths(size: int) -> list[int]:
    """How many hashes the last tile of each level holds in a log of `size` records; none where it would be empty."""
    found = []
    while size:
        found.append(size % TILE)
        size //= TILE
    return found


class Edge:
    """The right edge of a tree: of each level, the hashes of its last tile, which is not full. Grows by `append`."""

    def __init__(self, levels: Sequence[Sequence[bytes]] = ()) -> None:
        self.levels = [list(level) for level in levels]

    @property
    def size(self) -> int:
        return sum(len(level) << LEVELS_PER_TILE * i for i, level in enumerate(self.levels))

    def copy(self) -> Edge:
        return Edge(self.levels)

    def append(self, record_hash: bytes) -> list[tuple[int, list[bytes]]]:
        """Adds a record. Returns the tiles that it has filled: (level, hashes)."""
        filled: list[tuple[int, list[bytes]]] = []
        found, level = record_hash, 0
        while True:
            if level == len(self.levels):
                self.levels.append([])
            self.levels[level].append(found)
            if len(self.levels[level]) < TILE:
                return filled
            full, self.levels[level] = self.levels[level], []
            filled.append((level, full))
            found, level = tile_root(full), level + 1

    def root(self) -> bytes:
        """Of the whole tree; it has at least one record."""
        root = b""
        for level in self.levels:
            end = len(level)
            while end:
                size = end & -end
                subtree = tile_root(level[end - size : end])
                root = node_hash(subtree, root) if root else subtree
                end -= size
        return root


class Frontier:
    """A tree as the roots of its complete subtrees, the largest first: as much as its root needs."""

    def __init__(self) -> None:
        self.size = 0
        self.roots: list[bytes] = []

    def add(self, subtree: bytes, level: int = 0) -> None:
        """The root of the next 2**level records, of which a multiple is there."""
        at = self.size >> level
        while at & 1:
            subtree = node_hash(self.roots.pop(), subtree)
            at >>= 1
        self.roots.append(subtree)
        self.size += 1 << level

    def root(self, beyond: Sequence[bytes] = ()) -> bytes:
        """Of the tree with these subtrees, ever smaller ones, after it."""
        root = b""
        for subtree in reversed((*self.roots, *beyond)):
            root = node_hash(subtree, root) if root else subtree
        return root or EMPTY


def tile_root(hashes: Sequence[bytes]) -> bytes:
    """Of a power of two of hashes."""
    while len(hashes) > 1:
        pairs = iter(hashes)
        hashes = [sha256(b"\1" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return hashes[0]


def split(data: bytes) -> list[bytes]:
    """The hashes of a tile."""
    return [data[i : i + HASH] for i in range(0, len(data), HASH)]


def nodes(size: int, hashes: Hashes) -> Node:
    """The nodes of the tree of a log of `size` records, read from its tiles."""

    def node(level: int, index: int) -> bytes:
        tile_level, above = divmod(level, LEVELS_PER_TILE)
        first = index << above
        tile, at = divmod(first, TILE)
        held = size >> LEVELS_PER_TILE * tile_level
        width = min(TILE, held - tile * TILE)
        data = hashes(tile_level, tile, width)
        found = data[at * HASH : (at + (1 << above)) * HASH]
        if len(found) != HASH << above:
            raise ValueError(f"{path(tile_level, tile, width)} holds too few hashes")
        return tile_root(split(found))

    return node
