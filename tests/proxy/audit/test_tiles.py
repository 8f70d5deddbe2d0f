"""The layout of a log on disk, against the examples of its specification."""

from __future__ import annotations

import pytest

from modelward.audit.merkle import leaf_hash, range_root
from modelward.audit.tiles import ENTRIES, TILE, Edge, nodes, pack, path, unpack, widths


@pytest.mark.parametrize(
    ("level", "index", "width", "expected"),
    [
        (0, 0, TILE, "tile/0/000"),
        (0, 1234067, TILE, "tile/0/x001/x234/067"),
        (0, 273, 112, "tile/0/273.p/112"),
        (1, 1, 17, "tile/1/001.p/17"),
        (ENTRIES, 1000, TILE, "tile/entries/x001/000"),
    ],
)
def test_paths(level: int | str, index: int, width: int, expected: str) -> None:
    assert path(level, index, width) == expected


def test_the_widths_of_the_example() -> None:
    assert widths(70_000) == [112, 17, 1]
    assert widths(0) == []


def test_a_bundle_is_read_as_it_was_written() -> None:
    records = [b"", b"a", b"x" * 65535]
    assert list(unpack(pack(records))) == records


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_bundle_that_is_cut_off_is_noticed(cut: int) -> None:
    with pytest.raises(ValueError, match="ends within a record"):
        list(unpack(pack([b"abc", b"de"])[:-cut]))


def test_nodes_are_read_from_the_tiles_that_an_edge_fills() -> None:
    edge = Edge()
    files: dict[tuple[int, int], bytes] = {}
    count = 2 * TILE * TILE + 3 * TILE + 5
    filled = [0, 0, 0]
    for i in range(count):
        for level, full in edge.append(leaf_hash(str(i).encode())):
            files[level, filled[level]] = b"".join(full)
            filled[level] += 1
    for level, partial in enumerate(edge.levels):
        files[level, filled[level]] = b"".join(partial)
    assert [len(level) for level in edge.levels] == widths(count) == [5, 3, 2]

    def hashes(level: int, index: int, width: int) -> bytes:
        return files[level, index][: width * 32]

    assert range_root(0, count, nodes(count, hashes)) == edge.root()
    assert range_root(0, 1000, nodes(count, hashes)) == range_root(0, 1000, nodes(1000, hashes))
