"""Labels that arrive later, joined to captured rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelward.capture import labels
from modelward.problem import ProblemsFound

ONE, OTHER = "0" * 15 + "1", "0" * 15 + "2"


def rows(
    *ids: str | None,
    traces: list[str | None] | None = None,
    numbers: list[int] | None = None,
    of: list[str] | None = None,
) -> pa.Table:
    count = len(ids)
    given = {"request_id": ids, "trace_id": traces or [None] * count, "row": numbers or [0] * count}
    return pa.table({name: pa.array(values) for name, values in (given | {"identity": of or [ONE] * count}).items()})


def table(**columns: list[object]) -> pa.Table:
    count = len(columns["label"])
    return pa.table({"row": [0] * count, "identity": [ONE] * count} | columns)


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


def test_an_id_of_another_identity_gets_no_label_whichever_of_the_two_was_captured():
    given = [table(request_id=["a", "b"], label=[1, 0])]
    assert labels.join(rows("a", "b", of=[OTHER, ONE]), given).labels == [None, 0]
    assert labels.join(rows("a", "a", of=[OTHER, ONE]), given).labels == [None, 1]
    traced = [table(trace_id=["t"], label=[1])]
    assert labels.join(rows("a", "b", traces=["t", "t"], of=[OTHER, ONE]), traced).labels == [None, 1]


def test_labels_of_any_identity_fit_an_id_that_one_request_alone_has():
    given = [table(request_id=["a", "b"], label=[1, 0], identity=[labels.ANY] * 2)]
    found = labels.join(rows("a", "a", "b", of=[ONE, OTHER, OTHER]), given)
    assert found == labels.Joined([None, None, 0], 1, 2, 0)
    own = table(request_id=["a"], label=[5])
    assert labels.join(rows("a", "a", "b", of=[ONE, OTHER, OTHER]), [own, *given]).labels == [5, None, 0]


def test_labels_that_name_no_identity_are_of_the_one_that_is_alone():
    given = table(request_id=["a", "b"], label=[1, 0], identity=[None, OTHER])
    known, unnamed = labels.named(given, {ONE})
    assert (known["identity"].to_pylist(), unnamed) == ([ONE, OTHER], 0)
    known, unnamed = labels.named(given, {ONE, OTHER})
    assert (known["identity"].to_pylist(), unnamed) == ([OTHER], 1)
    without = given.drop_columns(["identity"])
    assert labels.named(without, {ONE})[0]["identity"].to_pylist() == [ONE, ONE]
    assert labels.named(without, {ONE, OTHER})[1] == 2
    assert labels.join(rows("a"), [], 2).unnamed == 2


def test_a_file_of_labels_says_whose_they_are_by_row_or_as_a_whole(tmp_path: Path):
    file = tmp_path / "labels.csv"
    file.write_text(f"request_id,identity,label\n1,{ONE},1\n2,,0\n3,any,1\n")
    assert labels.read(file)["identity"].to_pylist() == [ONE, None, "any"]
    assert labels.read(file, OTHER)["identity"].to_pylist() == [ONE, OTHER, "any"]
    file.write_text("request_id,identity,label\n1,team-a,1\n")
    with pytest.raises(ProblemsFound) as found:
        labels.read(file)
    assert found.value.problems[0].what == "the labels are of no identity"


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
    found, _ = labels.named(found, {ONE})
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
