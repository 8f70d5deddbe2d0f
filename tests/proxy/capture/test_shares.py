"""Who has how much of what is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from modelward.capture import files, shares
from modelward.capture.columns import CLEAN, QUARANTINE
from modelward.capture.files import SHARED, CapturedFile, Partition, captured
from modelward.capture.shares import by_owner, row_bytes, surplus


def kept(owner: str, count: int, part: str = CLEAN, first: int = 0) -> list[CapturedFile]:
    """Of 10 bytes each; a later one is newer."""
    of = Partition("m", "1", "2026-01-31", part)
    return [CapturedFile(Path(f"{part}-{owner}-{i}"), of, 10, float(i), owner) for i in range(first, first + count)]


def names(found: list[CapturedFile]) -> list[str]:
    return sorted(file.path.name for file in found)


def test_nothing_goes_while_there_is_room():
    assert surplus(kept("a", 5) + kept("b", 5, QUARANTINE), 100) == []


def test_quarantine_keeps_a_quarter_where_clean_rows_need_the_rest():
    found = kept(SHARED, 8) + kept("b", 100, QUARANTINE, first=50)
    assert names(surplus(found, 100)) == names(kept("b", 98, QUARANTINE, first=50))
    found = kept(SHARED, 20, first=50) + kept("b", 2, QUARANTINE)
    assert names(surplus(found, 100)) == names(kept(SHARED, 12, first=50))  # it has less than its part
    assert len(surplus(kept("b", 20, QUARANTINE), 100)) == 10  # all of the room, where nothing else is there


def test_the_identity_that_has_most_loses_its_oldest_first():
    found = kept("a", 3) + kept("b", 20, first=10) + kept("c", 4, first=50)
    assert names(surplus(found, 120)) == names(kept("b", 15, first=10))
    assert names(surplus(found, 90)) == names(kept("b", 17, first=10) + kept("c", 1, first=50))


def test_what_identities_share_keeps_half():
    many = [file for i in range(20) for file in kept(f"many-{i}", 1, first=100)]
    found = kept(SHARED, 10) + many
    assert names(surplus(found, 200))[0].startswith("clean-many")
    assert sum(file.owner == SHARED for file in surplus(found, 200)) == 0
    assert sum(file.owner == SHARED for file in surplus(found, 100)) == 5


def table(identities: list[str], words: list[bytes] | None = None) -> pa.Table:
    count = len(identities)
    return pa.table(
        {
            "identity": pa.array(identities, pa.string()),
            "input.x": pa.array(np.zeros((count, 8), np.float32).tolist(), pa.list_(pa.float32())),
            "input.who": pa.array([[word, b""] for word in words or [b""] * count], pa.list_(pa.binary())),
        }
    )


def test_an_identity_with_much_of_a_file_gets_one_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shares, "SMALLEST", 1)
    small = [f"small-{i}" for i in range(40)]
    split = {owner: rows.num_rows for owner, rows in by_owner(table(["large"] * 30 + small))}
    assert split == {"large": 30, SHARED: 40}
    assert [owner for owner, _ in by_owner(table(["large"] * 3))] == ["large"]
    assert [owner for owner, _ in by_owner(table(small))] == [SHARED]
    monkeypatch.setattr(shares, "SMALLEST", 1 << 20)
    assert [owner for owner, _ in by_owner(table(["large"] * 3))] == [SHARED]


def test_few_rows_with_long_values_are_much_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shares, "SMALLEST", 1)
    identities = ["long", *(f"small-{i}" for i in range(40))]
    split = dict(by_owner(table(identities, [bytes(20_000)] + [b"x"] * 40)))
    assert split["long"].num_rows == 1
    sizes = row_bytes(pa.concat_tables([table(identities[:2], [bytes(100), b""])] * 2))
    assert (sizes[0], sizes[2]) == (sizes[1] + 100 - len("small-0") + len("long"),) * 2


def test_a_file_says_whose_it_is(tmp_path: Path):
    of = Partition("m", "1", "2026-01-31", CLEAN)
    files.write(tmp_path, of, table(["a"]))
    files.write(tmp_path, of, table(["a"]), "35aa01ce91e4b470")
    assert {file.owner for file in captured(tmp_path)} == {SHARED, "35aa01ce91e4b470"}
