"""The anomaly guard on the wire: what each mode does with a request unlike the training data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from modelward.limits.callers import counted_by_caller
from modelward.score import Profile
from tests import models
from tests.e2e.messages import Array, Stub, arrays, parameters, refusal, refused, request
from tests.support import EmbeddedServer, serving

FEATURES = 4
NORMAL = np.zeros((1, FEATURES), np.float32)
STRANGE = np.full((1, FEATURES), 50, np.float32)
VALUE = "[{value: {y: [[0, 0, 0, 0]]}}]"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    root: Path = tmp_path_factory.mktemp("anomalies")
    modes = ("observe", "tag", "fallback", "reject", "off")
    training = np.random.default_rng(0).normal(size=(500, FEATURES)).astype(np.float32)
    profile = Profile.fit({"x": training})
    for mode in modes:
        folder = root / mode / "1"
        folder.mkdir(parents=True)
        profile.save(folder / "profile.npz")
    settings: dict[str, Any] = {f"models__{mode}__anomaly": f"{{mode: {mode}}}" for mode in modes}
    settings["models__fallback__fallback"] = VALUE
    with serving(root, dict.fromkeys(modes, models.add_one()), **settings) as running:
        yield running


@pytest.fixture(scope="module")
def stub(server: EmbeddedServer) -> Iterator[Stub]:
    with Stub(server.grpc) as opened:
        yield opened


def told(stub: Stub, model: str, rows: Array) -> tuple[Array, dict[str, Any], dict[str, Any]]:
    """Output, parameters and trailers of an answer."""
    response, call = stub.infer_call.with_call(request(model, {"x": rows}), timeout=10)
    return arrays(response)["y"], parameters(response), dict(call.trailing_metadata())


@pytest.mark.parametrize("mode", ["observe", "tag", "fallback", "reject", "off"])
def test_an_ordinary_request_is_answered_as_if_there_were_no_guard(stub: Stub, mode: str) -> None:
    y, said, trailers = told(stub, mode, NORMAL)
    assert (y == 1).all()
    assert said == {}
    assert not [name for name in trailers if name.startswith("modelward")]


def test_observe_counts_and_answers_in_silence(server: EmbeddedServer, stub: Stub) -> None:
    before = server.metric("modelward_anomalies_total", model="observe")
    y, said, trailers = told(stub, "observe", STRANGE)
    assert (y == 51).all()
    assert said == {}
    assert not [name for name in trailers if name.startswith("modelward")]
    assert server.metric("modelward_anomalies_total", model="observe") == before + 1


def test_anomalous_requests_are_counted_by_who_sent_them(server: EmbeddedServer, stub: Stub) -> None:
    def by_caller() -> int:
        return counted_by_caller(server.application.region).anomalous.get("address '127.0.0.1'", 0)

    before = by_caller()
    told(stub, "observe", STRANGE)
    told(stub, "observe", NORMAL)
    refused(stub, request("reject", {"x": STRANGE}))
    assert by_caller() == before + 2


def test_tag_answers_and_says_how_unusual_the_input_was(stub: Stub) -> None:
    y, said, trailers = told(stub, "tag", STRANGE)
    assert (y == 51).all()
    assert said.pop("modelward_anomaly") is True
    score = said.pop("modelward_anomaly_score")
    assert score > 10
    assert said == {}
    assert float(trailers["modelward-anomaly-score"]) == pytest.approx(score, rel=1e-5)


def test_fallback_answers_from_the_fallback_chain(server: EmbeddedServer, stub: Stub) -> None:
    executions = stub.statistics("fallback").execution_count
    y, said, trailers = told(stub, "fallback", STRANGE.repeat(2, 0))
    assert y.tolist() == [[0.0] * FEATURES] * 2
    assert said["modelward_fallback"] == trailers["modelward-fallback"] == "anomaly"
    assert said["modelward_fallback_source"] == "value"
    assert said["modelward_anomaly"] is True
    assert stub.statistics("fallback").execution_count == executions


def test_reject_refuses_before_the_model_runs(server: EmbeddedServer, stub: Stub) -> None:
    executions = stub.statistics("reject").execution_count
    with pytest.raises(grpc.RpcError) as raised:
        stub.infer(request("reject", {"x": STRANGE}))
    refusal_ = refusal(raised.value)
    assert (refusal_.code, refusal_.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ANOMALY")
    assert "unlike the model's training data" in refusal_.message
    assert float(refusal_.trailers["modelward-anomaly-score"]) > 10
    assert stub.statistics("reject").execution_count == executions
    assert server.metric("modelward_refusals_total", model="reject", reason="ANOMALY") >= 1


def test_a_request_is_as_unusual_as_its_most_unusual_row(stub: Stub) -> None:
    rows = np.concatenate([NORMAL.repeat(100, 0), STRANGE, NORMAL.repeat(100, 0)])
    assert refused(stub, request("reject", {"x": rows})).reason == "ANOMALY"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_values_that_no_training_row_had_are_caught(stub: Stub, value: float) -> None:
    row = NORMAL.copy()
    row[0, 2] = value
    assert refused(stub, request("reject", {"x": row})).reason == "ANOMALY"


def test_typed_contents_are_scored_like_raw_ones(stub: Stub) -> None:
    assert refused(stub, request("reject", {"x": STRANGE}, typed=True)).reason == "ANOMALY"


def test_a_wrong_request_is_an_error_of_its_own_and_not_an_anomaly(stub: Stub) -> None:
    assert refused(stub, request("reject", {"x": STRANGE[:, :3]})).reason == "INVALID_INPUT"


def test_a_stream_is_told_request_by_request(stub: Stub) -> None:
    rows = [NORMAL, STRANGE, NORMAL]
    rejected = list(stub.stream([request("reject", {"x": r}, id="s") for r in rows]))
    assert ["training data" in answer.error_message for answer in rejected] == [False, True, False]
    tagged = list(stub.stream([request("tag", {"x": r}) for r in rows]))
    assert ["modelward_anomaly" in parameters(a.infer_response) for a in tagged] == [False, True, False]


def test_scores_are_in_the_metrics(server: EmbeddedServer, stub: Stub) -> None:
    before = server.metric("modelward_anomaly_score_count", model="tag")
    told(stub, "tag", NORMAL)
    assert server.metric("modelward_anomaly_score_count", model="tag") == before + 1
    assert server.metric("modelward_anomaly_score_count", model="off") == 0
