"""Labels that arrive later, joined to captured rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelward.capture import labels
from modelward.problem import ProblemsFound


def rows(*ids: str | None, traces: list[str | None] | None = None, numbers: list[int] | None = None) -> pa.Table:
    given = {"request_id": ids, "trace_id": traces or [None] * len(ids), "row": numbers or [0] * len(ids)}
    return pa.table({name: pa.array(values) for name, values in given.items()})


def table(**columns: list[object]) -> pa.Table:
    count = len(columns["label"])
    return pa.table({"row": [0] * count} | columns)


def test_labels_are_joined_by_request_and_row():
    found = labels.join(
        rows("a", "a", "b", None, numbers=[0, 1, 0, 0]),
        [table(request_id=["a", "a", "c"], row=[0, 1, 0], label=[5, 6, 7])],
    )
    assert found == labels.Joined([5, 6, None, None], 2, 0, 1)


def test_labels_are_joined_by_trace_where_there_is_no_request():
    found = labels.join(
        rows("a", "b", traces=["t1", "t2"]), [table(trace_id=["t2"], label=[1]), table(request_id=["a"], label=[0])]
    )
    assert found.labels == [0, 1]


def test_a_later_label_counts_in_place_of_an_earlier_one():
    assert labels.join(rows("a"), [table(request_id=["a"], label=[0]), table(request_id=["a"], label=[1])]).labels == [
        1
    ]


def test_an_id_that_two_requests_have_gives_neither_a_label():
    found = labels.join(rows("a", "a", "b"), [table(request_id=["a", "b"], label=[1, 0])])
    assert found == labels.Joined([None, None, 0], 1, 2, 0)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_labels_are_read_from_csv_and_parquet_and_kept(tmp_path: Path, suffix: str):
    file = tmp_path / f"labels{suffix}"
    if suffix == ".csv":
        file.write_text("request_id,label\n007,fraud\n8,fine\n")
    else:
        pq.write_table(pa.table({"request_id": ["007", "8"], "label": ["fraud", "fine"]}), file)
    kept = labels.store(tmp_path / "capture", "a/b", labels.read(file))
    assert kept.stat().st_mode & 0o777 == 0o600
    (found,) = labels.stored(tmp_path / "capture", "a/b")
    assert labels.join(rows("007", "8"), [found]).labels == ["fraud", "fine"]
    assert labels.stored(tmp_path / "capture", "other") == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("request,label\na,1\n", "the file holds no labels of requests"),
        ("request_id,class\na,1\n", "the file holds no labels of requests"),
        ("request_id,row,label\na,first,1\n", "the column row holds no numbers"),
        ("request_id,label\na,1,2\n", "the labels cannot be read"),
    ],
)
def test_a_file_that_holds_no_labels_is_refused(tmp_path: Path, text: str, what: str):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(ProblemsFound) as found:
        labels.read(tmp_path / "labels.csv")
    assert found.value.problems[0].what == what
