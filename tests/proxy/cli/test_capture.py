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
        "trace_id": pa.array([None] * len(seconds), pa.string()),
        "row": pa.array([0] * len(seconds), pa.uint32()),
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


@pytest.mark.parametrize("damage", ["it is cut off", "its values are others"])
def test_a_file_that_cannot_be_read_is_named(root: Path, damage: str) -> None:
    file = next(root.rglob("120100-bbbbbbbb.parquet"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage == "it is cut off" else whole[:4] + bytes(400) + whole[404:])
    done = modelward("capture", "show", "--model", "m", "--folder", root)
    assert done.returncode == 1
    assert "problem: a captured file cannot be read" in done.stderr
    assert file.name in "".join(done.stderr.split())


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


def test_what_is_in_memory_is_said_to_be_written_later(tmp_path: Path) -> None:
    told = modelward("capture", "list", "--model", "m", "--folder", tmp_path)
    assert told.returncode == 1
    assert "file_age" in told.stderr
    assert "capture list" not in told.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "--identity", "bank-a"], "a hash of 16 digits"),
        (["export", "--out", "train.csv"], "name it train.parquet"),
    ],
)
def test_what_can_find_or_write_nothing_is_wrong_usage(tmp_path: Path, arguments: list[str], said: str) -> None:
    told = modelward("capture", *arguments, "--model", "m", "--folder", tmp_path)
    assert told.returncode == 2
    assert said in told.stderr


def test_labels_of_several_files_count_once(root: Path) -> None:
    def label(*lines: str) -> str:
        file = root / "labels.csv"
        file.write_text("\n".join(["request_id,label", *lines]))
        return modelward("capture", "label", "--model", "m", "--identity", "any", "--folder", root, file).stdout

    assert "2 labels are kept, for 2 captured rows; 2 of 103 have a label now" in label("r1,0", "r2,0")
    assert "2 labels are kept, for 2 captured rows; 3 of 103 have a label now" in label("r2,1", "r4,0")
    listed = modelward("capture", "list", "--model", "m", "--folder", root).stdout
    assert "4 labels in 2 files; the last one that was added for a row counts" in listed
