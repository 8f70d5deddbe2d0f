"""What is written of a captured row, and what is not."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from modelward.capture.columns import METADATA, Columns, UnknownFeature
from modelward.capture.hashing import hashed
from modelward.config.capture import Capture
from modelward_native.observe import reader
from modelward_native.request.verdict import table
from tests.proxy.capture.made import CLOCK, SOURCE, batch_of, tensors

KEY = b"0123456789abcdef"


def columns(**features: str) -> Columns:
    return Columns(SOURCE, Capture.model_validate({"features": features}), KEY)


def test_a_row_is_written_with_its_inputs_answer_and_provenance():
    given = [tensors(2), tensors(1, seed=1)]
    batch = batch_of(given, identity=[7, 255], trace=[b"a" * 16, b"b" * 16], traced=[1, 0], caller=[ord("k"), 0])
    rows = columns().table(batch).to_pylist()
    assert [row["input.x"] for row in rows] == [*given[0]["x"].tolist(), *given[1]["x"].tolist()]
    assert [row["input.age"] for row in rows] == [int(each) for part in given for each in part["age"][:, 0]]
    assert [row["input.who"] for row in rows] == [b"person 0", b"person 1", b"person 0"]
    assert rows[1]["output.y"] == given[0]["x"][1, :2].tolist()
    assert [row["identity"] for row in rows] == ["0000000000000007"] * 2 + ["00000000000000ff"]
    assert [row["caller"] for row in rows] == ["key", "key", "peer"]
    assert [row["request_id"] for row in rows] == ["r0", "r0", "r1"]
    assert [row["trace_id"] for row in rows] == [(b"a" * 16).hex()] * 2 + [None]
    assert rows[2]["time"] == datetime.fromtimestamp(CLOCK // 10**9 + 1, UTC)
    assert (rows[0]["model_digest"], rows[0]["answered_by"], rows[0]["p_value"]) == ("abcd", "model", 0.5)
    assert {row["quarantine"] for row in rows} == {""}


def test_a_request_without_scores_or_answer_has_nulls_there():
    batch = batch_of(
        [tensors(1)], answered_by=[reader.REFUSED], reason=[[name for name, *_ in table()].index("ANOMALY")]
    )
    batch.rows["p_value"] = batch.rows["score"] = np.nan
    object.__setattr__(batch, "raw_answers", (b"",))
    (row,) = columns().table(batch).to_pylist()
    assert (row["p_value"], row["score"], row["output.y"]) == (None, None, None)
    assert (row["answered_by"], row["reason"]) == ("refused", "ANOMALY")


def test_suspicious_rows_say_why():
    batch = batch_of([tensors(1)] * 5, flagged=[1, 0, 0, 0, 0], step=[0, 2, 0, 0, 0])
    batch.requests["evidence"][2, 1] = 9.0
    batch.rows["p_value"][3] = 0.0005
    assert columns().table(batch)["quarantine"].to_pylist() == ["flagged", "restricted", "evidence", "p_value", ""]


def test_what_suspicious_is_can_be_said():
    settings = Capture.model_validate(
        {"quarantine": {"flagged": False, "restricted": False, "p_value": 0, "evidence": 10}}
    )
    batch = batch_of([tensors(1)] * 3, flagged=[1, 0, 0], step=[0, 2, 0])
    batch.requests["evidence"][2, 1] = 9.0
    assert Columns(SOURCE, settings, KEY).table(batch)["quarantine"].to_pylist() == ["", "", ""]


def test_features_that_are_left_out_or_hashed_are_in_no_file():
    batch = batch_of([tensors(9)])
    found = columns(who="hash", age="leave_out", **{"x[1]": "leave_out", "x[2]": "hash"}).table(batch)
    assert "input.age" not in found.column_names
    assert "input.who" not in found.column_names
    hashes = found["hash.who"].to_pylist()
    assert hashes[0] == hashes[7]  # the same person
    assert len(set(hashes)) == 7
    x = found["input.x"].to_pylist()
    assert all(row[0] is not None and row[1] is None and row[2] is None for row in x)
    assert len(set(found["hash.x[2]"].to_pylist())) == 9
    other = Columns(SOURCE, Capture.model_validate({"features": {"who": "hash"}}), b"another key").table(batch)
    assert other["hash.who"].to_pylist() != hashes


@pytest.mark.parametrize("name", ["agee", "x[3]", "x[-1]", "y", "who[1]", ""])
def test_a_name_that_fits_no_input_is_refused(name: str):
    with pytest.raises(UnknownFeature, match="is no input of version 1"):
        columns(**{name: "leave_out"})


def test_equal_rows_have_equal_fingerprints_whatever_is_left_out():
    batch = batch_of([tensors(1), tensors(1), tensors(1, seed=5)])
    for found in (columns(), columns(x="leave_out", age="leave_out", who="leave_out")):
        first, second, third = found.table(batch)["fingerprint"].to_pylist()
        assert first == second != third


def test_a_file_says_what_it_is_of():
    told = json.loads(columns(age="hash").schema.metadata[METADATA])
    assert (told["schema"], told["model"], told["version"], told["digest"]) == (1, "m", "1", "abcd")
    assert told["features"] == {"age": "hash"}
    assert told["evidence"] == [f"{how} {what}" for what in ("unlike", "near", "walk") for how in ("strong", "mild")]
    assert (told["steps"][0], told["steps"][6], told["flags"]["out of range"]) == ("observe", "block", 2)
    assert told["inputs"][0] == ["x", "FP32", [-1, 3]]


def test_a_value_has_one_hash_whatever_its_datatype():
    values = [np.array([1.0, -0.0, 5.0], kind) for kind in (np.float32, np.float64)]
    assert hashed(values[0], KEY).tolist() == hashed(values[1], KEY).tolist()
    assert hashed(np.array([0.0]), KEY) == hashed(np.array([-0.0]), KEY)
