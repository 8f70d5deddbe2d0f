"""Observations of a running server: what its requests were, as those that look at them see it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from modelward.observe.batch import Batch
from modelward.observe.observations import Observations
from modelward.observe.source import Source, SourceError, Tensor
from modelward.score import Profile
from modelward_native.observe import reader
from modelward_native.request.verdict import table
from modelward_native.score.score import CATEGORIES, UNKNOWN_CATEGORY
from tests import models
from tests.e2e.messages import Stub, arrays, request
from tests.support import EmbeddedServer, serving, wait_until

FEATURES = 4
TRACE = "0af7651916cd43dd8448eb211c80319c"
PROFILE = Profile.fit({"x": np.random.default_rng(0).normal(3, 2, size=(500, FEATURES)).astype(np.float32)})
ANOMALY = [name for name, *_ in table()].index("ANOMALY")
MODELS = ("plain", "scored", "rejecting", "falling", "small")
TEXTS = Profile.fit({"text": np.array([[b"red", b"large"], [b"green", b"small"]] * 50, object)})


def described(server: EmbeddedServer, name: str, share: float = 1.0, most: int = 65536) -> Source:
    """Has the model observed, and returns what it is described as."""
    tensor: tuple[Tensor, ...] = Tensor("x", "FP32", (-1, FEATURES)), Tensor("y", "FP32", (-1, FEATURES))
    layout: tuple[tuple[str, int, int], ...] | None = None if name == "plain" else (("x", 0, FEATURES),)
    if name == "mlp":
        tensor = Tensor("input", "FP32", (-1, FEATURES)), Tensor("label", "INT64", (-1,))
        tensor, layout = (*tensor, Tensor("probabilities", "FP32", (-1, 2))), None
    if name == "texts":
        tensor = Tensor("text", "BYTES", (-1, 2)), Tensor("echo", "BYTES", (-1, 2))
        layout = (("text", CATEGORIES, 2),)
    source = Source(name, "1", "abc", share, tensor[:1], tensor[1:], True, layout)
    served = next(model.served for model in server.application.models if model.checked.name == name)
    served.set_observed(share, source.encode(), True, most)
    return source


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    root: Path = tmp_path_factory.mktemp("observed")
    for name in MODELS[1:]:
        (root / name / "1").mkdir(parents=True)
        PROFILE.save(root / name / "1" / "profile.npz")
    (root / "texts" / "1").mkdir(parents=True)
    TEXTS.save(root / "texts" / "1" / "profile.npz")
    settings: dict[str, Any] = {
        "models__rejecting__anomaly": "{mode: reject}",
        "models__falling__anomaly": "{mode: fallback}",
        "models__falling__fallback": "[{value: {y: [[7, 7, 7, 7]]}}]",
    }
    others = {"texts": models.strings(), "mlp": models.mlp(FEATURES)}
    with serving(root, dict.fromkeys(MODELS, models.add_one()) | others, **settings) as running:

        async def begin() -> None:
            native = running.application.server
            assert native is not None
            native.observe(1 << 20)
            for name in (*MODELS, "texts", "mlp"):
                described(running, name, most=512 if name == "small" else 65536)
            native.serve(native.directory, None)

        assert running.application.loop is not None
        asyncio.run_coroutine_threadsafe(begin(), running.application.loop).result(10)
        yield running


@pytest.fixture(scope="module")
def observations(server: EmbeddedServer) -> Observations:
    """The one reader: what a source is, it is told once."""
    return Observations(server.application.region)


@pytest.fixture
def seen(observations: Observations) -> Iterator[list[Batch]]:
    """Batches from here on."""
    batches: list[Batch] = []
    observations.subscribe("the test", batches.append)
    observations.start()
    yield batches
    observations.stop()


def infer(server: EmbeddedServer, model: str, x: Any, **options: Any) -> Any:
    with Stub(server.grpc) as stub:
        try:
            return stub.infer(request(model, {"x": x}, id="r-1"), **options)
        except grpc.RpcError as error:
            return error.code()  # type: ignore[attr-defined]


def rows(count: int, value: float = 3.0) -> Any:
    return (value + np.arange(count * FEATURES).reshape(count, FEATURES) / (count * FEATURES)).astype(np.float32)


def test_a_request_is_seen_as_it_was_asked_scored_and_answered(server: EmbeddedServer, seen: list[Batch]):
    x = rows(3)
    before = time.time()
    infer(server, "scored", x, metadata=[("traceparent", f"00-{TRACE}-b7ad6b7169203331-01")])
    (batch,) = wait_until(lambda: seen, "a batch")
    assert batch.source.key == ("scored", "1")
    assert len(batch) == 3
    assert batch.features.tolist() == x.tolist()  # raw, to the last digit
    assert batch.p_value == pytest.approx(PROFILE.p_value({"x": x}))
    assert batch.score == pytest.approx(PROFILE.score({"x": x}))
    assert (batch.cell >= 0).all()
    assert batch.rows["row"].tolist() == [0, 1, 2]
    assert batch.weight.tolist() == [1, 1, 1]
    assert (batch.answered_by == reader.BY_MODEL).all()
    assert before <= batch.time[0] <= time.time()
    assert batch.inputs["x"] == pytest.approx(x)
    assert batch.outputs["y"] == pytest.approx(x + 1)
    assert batch.ids == (b"r-1",)
    assert bytes(batch.requests["trace"][0]).hex() == TRACE
    assert batch.requests["score"][0] == batch.score.max()


def test_all_requests_of_one_caller_have_one_identity(server: EmbeddedServer, seen: list[Batch]):
    for _ in range(3):
        infer(server, "plain", rows(1))
    wait_until(lambda: sum(map(len, seen)) == 3, "three rows")
    found = {int(each) for batch in seen for each in batch.identity}
    assert len(found) == 1
    assert 0 not in found
    assert {int(each) for batch in seen for each in batch.requests["caller"]} == {0}


def test_without_a_profile_there_are_rows_and_no_scores(server: EmbeddedServer, seen: list[Batch]):
    infer(server, "plain", rows(2))
    (batch,) = wait_until(lambda: seen, "a batch")
    assert batch.features.shape == (2, 0)
    assert np.isnan(batch.p_value).all()
    assert batch.outputs["y"] == pytest.approx(rows(2) + 1)


def test_of_a_large_request_one_row_of_each_stretch_is_seen_where_clients_cannot_guess(
    server: EmbeddedServer, seen: list[Batch]
):
    x = rows(1000)
    infer(server, "scored", x)
    (batch,) = wait_until(lambda: seen, "a batch")
    seen_rows = batch.rows["row"]
    assert (seen_rows // 4).tolist() == [*range(250)]
    assert set(seen_rows % 4) == {0, 1, 2, 3}
    assert batch.features.tolist() == x[seen_rows].tolist()
    assert batch.outputs["y"] == pytest.approx(x[seen_rows] + 1)
    assert batch.weight[0] == 4


def test_a_refusal_and_a_fallbacks_answer_say_so(server: EmbeddedServer, seen: list[Batch]):
    assert infer(server, "rejecting", rows(1, 900.0)) == grpc.StatusCode.FAILED_PRECONDITION
    assert arrays(infer(server, "falling", rows(1, 900.0)))["y"].tolist() == [[7, 7, 7, 7]]
    wait_until(lambda: sum(map(len, seen)) == 2, "two rows")
    by_model = {batch.source.model: batch for batch in seen}
    refused, fallen = by_model["rejecting"], by_model["falling"]
    assert refused.answered_by[0] == reader.REFUSED
    assert refused.requests["reason"][0] == ANOMALY
    assert "y" not in refused.outputs
    assert fallen.answered_by[0] == reader.BY_FALLBACK
    assert fallen.requests["fallback_reason"][0] == ANOMALY
    assert fallen.outputs["y"].tolist() == [[7, 7, 7, 7]]
    assert fallen.requests["flagged"][0] == 1
    assert refused.p_value[0] == 0


def test_texts_are_seen_as_hashes_of_their_columns(server: EmbeddedServer, seen: list[Batch]):
    text = np.array([[f"red {i}".encode(), b"large"] for i in range(600)], object)
    with Stub(server.grpc) as stub:
        stub.infer(request("texts", {"text": text}))
    (batch,) = wait_until(lambda: seen, "a batch")
    wanted = text[batch.rows["row"]]
    hashes = [[reader.category_hash(each) for each in row] for row in wanted.tolist()]
    assert batch.categories.tolist() == hashes
    assert batch.features.shape == (len(wanted), 0)
    assert batch.source.columns == ("text[0]", "text[1]")
    assert (batch.flags == UNKNOWN_CATEGORY).all()
    assert batch.inputs["text"].tolist() == wanted.tolist()
    assert batch.outputs["echo"].tolist() == wanted.tolist()


def test_tensors_that_are_too_large_are_left_out_and_counted(
    server: EmbeddedServer, observations: Observations, seen: list[Batch]
):
    infer(server, "small", rows(100))
    (batch,) = wait_until(lambda: seen, "a batch")
    assert batch.requests["cut"][0] == reader.CUT_INPUTS | reader.CUT_ANSWER
    assert batch.inputs == {}
    assert batch.outputs == {}
    assert batch.features.tolist() == rows(100).tolist()
    assert observations.stats().cut >= 1


def test_messages_of_a_stream_are_seen_like_calls(server: EmbeddedServer, seen: list[Batch]):
    with Stub(server.grpc) as stub:
        list(stub.stream([request("scored", {"x": rows(1)}), request("scored", {"x": rows(2)})]))
    wait_until(lambda: sum(map(len, seen)) == 3, "three rows")
    assert np.concatenate([batch.outputs["y"] for batch in seen]) == pytest.approx(
        np.concatenate([rows(1), rows(2)]) + 1
    )


def test_a_consumer_that_fails_is_counted_and_the_others_go_on(server: EmbeddedServer, observations: Observations):
    others: list[Batch] = []

    def fail(batch: Batch) -> None:
        raise ArithmeticError("no")

    observations.subscribe("one that fails", fail)
    observations.subscribe("another", others.append)
    infer(server, "plain", rows(1))
    wait_until(observations.round, "a batch")
    assert len(others) == 1
    assert observations.stats().failures == 1


def test_a_smaller_share_is_a_part_of_the_larger_one(server: EmbeddedServer, seen: list[Batch]):
    for _ in range(40):
        infer(server, "plain", rows(1))
    wait_until(lambda: sum(map(len, seen)) == 40, "40 rows")
    chosen = [batch.chosen(0.5) for batch in seen]
    tenth = [batch.chosen(0.1) for batch in seen]
    assert 5 < sum(map(sum, chosen)) < 35
    assert all((half | ~part).all() for half, part in zip(chosen, tenth, strict=True))
    assert all(batch.chosen(1.0).all() for batch in seen)


def test_a_description_that_cannot_be_read_says_so():
    good = Source("m", "1", "", 1.0, (), (), True, (("x", 0, 2),), ("y",))
    assert Source.decode(good.encode()) == good
    assert good.columns == ("x[0]", "x[1]")
    for bad in (b"", b"{}", b"[]", b"{", good.encode().replace(b'"description": 1', b'"description": 2')):
        with pytest.raises(SourceError):
            Source.decode(bad)


def test_outputs_that_a_client_did_not_ask_for_are_told(server: EmbeddedServer, seen: list[Batch]):
    with Stub(server.grpc) as stub:
        for outputs in ((), ("probabilities",), ("label",), ("probabilities", "label")):
            stub.infer(request("mlp", {"input": rows(1)}, outputs=outputs))
    wait_until(lambda: sum(map(len, seen)) == 4, "four rows")
    asked = [row for batch in seen for row in batch.outputs_asked.tolist()]
    assert asked == [[True, True], [False, True], [True, False], [True, True]]
