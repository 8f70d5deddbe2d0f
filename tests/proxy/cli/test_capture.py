"""`modelward capture` reads what a server has written, without one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.commands import modelward

BEGAN = datetime(2026, 1, 31, 12, tzinfo=UTC)


def written(root: Path, part: str, name: str, seconds: range) -> None:
    """A file with a row of each of these seconds."""
    folder = root / "model=m/version=1/date=2026-01-31" / f"part={part}"
    folder.mkdir(parents=True, exist_ok=True)
    columns = {
        "time": pa.array([BEGAN + timedelta(seconds=at) for at in seconds], pa.timestamp("us", "UTC")),
        "identity": ["ab" * 8 if at % 2 else "cd" * 8 for at in seconds],
        "request_id": [f"r{at}" for at in seconds],
        "p_value": [0.5] * len(seconds),
        "answered_by": ["model"] * len(seconds),
        "quarantine": ["" if part == "clean" else "flagged"] * len(seconds),
    }
    pq.write_table(pa.table(columns), folder / f"{name}.parquet")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    written(tmp_path, "clean", "120000-aaaaaaaa", range(0, 50))
    written(tmp_path, "clean", "120100-bbbbbbbb", range(50, 100))
    written(tmp_path, "quarantine", "120101-cccccccc", range(3, 90, 30))  # the last file, with no new row
    return tmp_path


def shown(root: Path, *more: str) -> list[str]:
    told = modelward("capture", "show", "--model", "m", "--folder", root, "--json", *more).stdout
    return [row["request_id"] for row in json.loads(told)["rows"]]


def test_the_newest_rows_are_shown_whatever_part_they_are_in(root: Path) -> None:
    assert shown(root, "--limit", "3") == ["r99", "r98", "r97"]
    assert shown(root, "--limit", "3", "--quarantine") == ["r63", "r33", "r3"]
    assert shown(root, "--limit", "2", "--identity", "ab" * 8) == ["r99", "r97"]
    assert len(shown(root, "--limit", "500")) == 103
    table = modelward("capture", "show", "--model", "m", "--folder", root, "--limit", "3", COLUMNS="200").stdout
    assert [f"r{at}" in table for at in (99, 98, 97, 96, 63)] == [True, True, True, False, False]
