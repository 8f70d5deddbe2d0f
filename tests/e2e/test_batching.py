"""Natural batching: requests that arrive together share a run, and only the statistics show it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests import models
from tests.e2e.h2client import H2Client, framed
from tests.e2e.messages import RESPONSE, STREAM_INFER, STREAM_RESPONSE, Array, Stub, arrays, refusal, request
from tests.support import EmbeddedServer, serving

TOGETHER = 64
TABLE = np.arange(40, dtype=np.float32).reshape(10, 4)


def lookup() -> bytes:
    """index INT64 [batch] -> row FP32 [batch, 4]: any index outside -10...9 fails the whole run."""
    return models.model(
        [helper.make_node("Gather", ["table", "index"], ["row"], axis=0)],
        [models.tensor("index", TensorProto.INT64, ["batch"])],
        [models.tensor("row", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(TABLE, "table")],
    ).SerializeToString()


def mixing() -> bytes:
    """x FP32 [batch, 4] -> y = x - the mean over the batch: rows depend on the rows beside them."""
    return models.model(
        [helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0]), helper.make_node("Sub", ["x", "mean"], ["y"])],
        [models.tensor("x", TensorProto.FLOAT, ["batch", 4])],
        [models.tensor("y", TensorProto.FLOAT, ["batch", 4])],
    ).SerializeToString()


def mixing_by_value() -> bytes:
    """x FP32 [batch, 4] -> y, the rows with a positive first element and no others: small numbers hide it.

    y has as many rows as the request only while every first element is positive.
    """
    return models.model(
        [
            helper.make_node("Gather", ["x", "first"], ["column"], axis=1),
            helper.make_node("Greater", ["column", "limit"], ["kept"]),
            helper.make_node("Compress", ["x", "kept"], ["y"], axis=0),
        ],
        [models.tensor("x", TensorProto.FLOAT, ["batch", 4])],
        [models.tensor("y", TensorProto.FLOAT, ["rows", 4])],
        [
            numpy_helper.from_array(np.array(0, np.int64), "first"),
            numpy_helper.from_array(np.array(-100, np.float32), "limit"),
        ],
    ).SerializeToString()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    repository = {
        "add": {1: models.add_one(), 2: models.mlp(features=4)},
        "lookup": lookup(),
        "mixing": mixing(),
        "dropping": mixing_by_value(),
        "fixed": models.fixed_batch(rows=1),
        "tails": models.identity(TensorProto.FLOAT, ("batch", "length")),
        "two": models.two_inputs(),
        "text": models.strings(),
        "single": models.add_one(),
        "small": models.add_one(),
    }
    settings: dict[str, Any] = {"models__single__batching": "{max: 1}", "models__small__batching": "{max: 8}"}
    with serving(tmp_path_factory.mktemp("batching"), repository, **settings) as running:
        yield running


@pytest.fixture(scope="module")
def stub(server: EmbeddedServer) -> Iterator[Stub]:
    with Stub(server.grpc) as opened:
        yield opened


def at_once(server: EmbeddedServer, messages: list[Any]) -> list[Any]:
    """Sends all requests in one write of one connection; their replies in order."""
    with H2Client(server.grpc) as client:
        client.call(framed(b""), "/grpc.health.v1.Health/Check")  # settings have been exchanged
        return client.calls(framed(message.SerializeToString()) for message in messages)


def outputs(reply: Any) -> dict[str, Array]:
    assert reply.code == 0, reply.message
    return arrays(RESPONSE.FromString(reply.messages[0][1]))


def runs(stub: Stub, model: str) -> tuple[int, int]:
    """(requests' rows, runs) so far."""
    statistics = stub.ask("ModelStatistics", name=model).model_stats
    return sum(s.inference_count for s in statistics), sum(s.execution_count for s in statistics)


def row(i: int) -> Array:
    return np.full((1, 4), i, np.float32)


def test_requests_that_arrive_together_share_runs_and_each_gets_its_own_rows(
    server: EmbeddedServer, stub: Stub
) -> None:
    rows_before, runs_before = runs(stub, "add")
    replies = at_once(
        server, [request("add", {"x": row(i).repeat(1 + i % 3, 0)}, version="1") for i in range(TOGETHER)]
    )
    for i, reply in enumerate(replies):
        np.testing.assert_array_equal(outputs(reply)["y"], row(i + 1).repeat(1 + i % 3, 0))
    rows, executions = runs(stub, "add")
    assert rows - rows_before == sum(1 + i % 3 for i in range(TOGETHER))
    assert executions - runs_before < TOGETHER / 4


def test_versions_and_models_do_not_mix_in_a_run(server: EmbeddedServer) -> None:
    messages = []
    for i in range(TOGETHER // 4):
        messages += [
            request("add", {"x": row(i)}, version="1"),
            request("add", {"input": row(i)}, version="2"),
            request("small", {"x": row(-i)}),
            request("two", {"a": np.full((1, 3), i, np.float32), "b": np.full((1, 2), i)}),
        ]
    replies = at_once(server, messages)
    for i in range(TOGETHER // 4):
        np.testing.assert_array_equal(outputs(replies[4 * i])["y"], row(i + 1))
        assert sorted(outputs(replies[4 * i + 1])) == ["label", "probabilities"]
        np.testing.assert_array_equal(outputs(replies[4 * i + 2])["y"], row(1 - i))
        two = outputs(replies[4 * i + 3])
        assert (two["total"].item(), two["negated"].tolist()) == (5 * i, [[-i, -i]])


def test_strings_are_shared_out_row_by_row(server: EmbeddedServer, stub: Stub) -> None:
    before = runs(stub, "text")[1]
    sent = [np.array([[b"%d-%d" % (i, r), b"x" * (i * r)] for r in range(1 + i % 4)], object) for i in range(TOGETHER)]
    for reply, text in zip(at_once(server, [request("text", {"text": t}) for t in sent]), sent, strict=True):
        assert outputs(reply)["echo"].tolist() == text.tolist()
    assert runs(stub, "text")[1] - before < TOGETHER / 4


def test_only_equal_tails_share_a_run(server: EmbeddedServer, stub: Stub) -> None:
    sent = [np.full((1 + i % 2, 1 + i % 5), i, np.float32) for i in range(TOGETHER)]
    for reply, array in zip(at_once(server, [request("tails", {"x": a}) for a in sent]), sent, strict=True):
        np.testing.assert_array_equal(outputs(reply)["y"], array)


def test_outputs_are_chosen_request_by_request(server: EmbeddedServer) -> None:
    wanted = [["total"], ["negated"], ["negated", "total"], []]
    inputs = {"a": np.ones((1, 3), np.float32), "b": np.ones((1, 2), np.int64)}
    replies = at_once(server, [request("two", inputs, outputs=w) for w in wanted])
    assert [list(outputs(r)) for r in replies] == [*wanted[:3], ["total", "negated"]]


def test_one_poisoned_request_does_not_fail_those_beside_it(server: EmbeddedServer) -> None:
    indices = [i % 10 for i in range(TOGETHER)]
    indices[17] = 10
    replies = at_once(server, [request("lookup", {"index": np.array([i])}) for i in indices])
    for i, (index, reply) in enumerate(zip(indices, replies, strict=True)):
        if i == 17:
            assert (reply.code, reply.reason) == (13, "BACKEND_FAILED")
        else:
            np.testing.assert_array_equal(outputs(reply)["row"], TABLE[[index]])


def test_a_failed_run_tells_the_client_nothing_of_the_inside(stub: Stub) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        stub.infer(request("lookup", {"index": np.array([99])}))
    told = refusal(raised.value)
    assert (told.code, told.message) == (grpc.StatusCode.INTERNAL, "the model failed on this input")


def test_a_model_that_mixes_rows_runs_request_by_request(server: EmbeddedServer, stub: Stub) -> None:
    assert stub.ask("ModelConfig", name="mixing").config.max_batch_size == 0
    before = runs(stub, "mixing")[1]
    for reply in at_once(server, [request("mixing", {"x": row(i)}) for i in range(TOGETHER)]):
        np.testing.assert_array_equal(outputs(reply)["y"], row(0))
    assert runs(stub, "mixing")[1] - before == TOGETHER
    pair = np.concatenate([row(1), row(3)])
    np.testing.assert_array_equal(arrays(stub.infer(request("mixing", {"x": pair})))["y"], pair - 2)


def test_a_model_found_out_later_to_mix_rows_is_run_request_by_request_from_then_on(
    server: EmbeddedServer, stub: Stub
) -> None:
    sent = [row(-1000 if i % 8 == 3 else i) for i in range(TOGETHER)]
    for reply, array in zip(at_once(server, [request("dropping", {"x": a}) for a in sent]), sent, strict=True):
        np.testing.assert_array_equal(outputs(reply)["y"], array[array[:, 0] > -100])
    before = runs(stub, "dropping")[1]
    at_once(server, [request("dropping", {"x": row(i)}) for i in range(8)])
    assert runs(stub, "dropping")[1] - before == 8


@pytest.mark.parametrize("model", ["fixed", "single"])
def test_a_model_without_a_batch_is_run_request_by_request(server: EmbeddedServer, stub: Stub, model: str) -> None:
    assert stub.ask("ModelConfig", name=model).config.max_batch_size == 0
    before = runs(stub, model)[1]
    for i, reply in enumerate(at_once(server, [request(model, {"x": row(i)}) for i in range(TOGETHER)])):
        np.testing.assert_array_equal(outputs(reply)["y"], row(i + 1))
    assert runs(stub, model)[1] - before == TOGETHER


def test_a_batch_is_never_larger_than_configured_but_a_request_may_be(server: EmbeddedServer, stub: Stub) -> None:
    at_once(server, [request("small", {"x": row(i)}) for i in range(TOGETHER)])
    (statistics,) = stub.ask("ModelStatistics", name="small").model_stats
    assert max(batch.batch_size for batch in statistics.batch_stats) <= 8
    many = np.arange(4000, dtype=np.float32).reshape(1000, 4)
    np.testing.assert_array_equal(arrays(stub.infer(request("small", {"x": many})))["y"], many + 1)


def test_a_stream_answers_in_order(stub: Stub) -> None:
    sent = [request("add", {"x": row(i)}, version="1", id=str(i)) for i in range(500)]
    answers = [answer.infer_response for answer in stub.stream(sent)]
    assert [answer.id for answer in answers] == [str(i) for i in range(500)]
    assert all((arrays(answer)["y"] == i + 1).all() for i, answer in enumerate(answers))


def test_a_stream_batches_too(server: EmbeddedServer, stub: Stub) -> None:
    before = runs(stub, "add")[1]
    sent = [request("add", {"x": row(i)}, version="1", id=str(i)) for i in range(TOGETHER)]
    with H2Client(server.grpc) as client:
        stream = client.begin(STREAM_INFER)
        client.send(stream, b"".join(framed(message.SerializeToString()) for message in sent), end=True)
        answers = [STREAM_RESPONSE.FromString(data).infer_response for _, data in client.reply(stream).messages]
    assert [answer.id for answer in answers] == [str(i) for i in range(TOGETHER)]
    assert all((arrays(answer)["y"] == i + 1).all() for i, answer in enumerate(answers))
    assert runs(stub, "add")[1] - before < TOGETHER / 4


def test_many_clients_at_once_each_get_their_own(server: EmbeddedServer) -> None:
    stubs = [Stub(server.grpc) for _ in range(8)]
    try:
        futures = [(i, stubs[i % 8].future(request("add", {"x": row(i)}, version="1", id=str(i)))) for i in range(1000)]
        for i, future in futures:
            response = future.result()
            assert response.id == str(i)
            np.testing.assert_array_equal(arrays(response)["y"], row(i + 1))
    finally:
        for opened in stubs:
            opened.channel.close()
