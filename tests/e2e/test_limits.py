"""Rate limits on the wire: who is refused, when to come back, and who pays for a refusal."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest

from tests import models
from tests.conftest import Serve
from tests.e2e.h2client import H2Client, framed
from tests.e2e.messages import Stub, arrays, refusal, refused, request
from tests.support import wait_until

ROW = np.ones((1, 4), np.float32)
HOURLY = "{rate: 36/h, burst: 3}"  # three at once and the next in 100 s: never during a test
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def good(model: str = "add") -> Any:
    return request(model, {"x": ROW})


@pytest.mark.parametrize(
    ("setting", "reason", "whose"),
    [
        ("limits__peer", "PEER_LIMIT", "this peer's"),
        ("limits__identity", "IDENTITY_LIMIT", "this identity's"),
        ("limits__total", "TOTAL_LIMIT", "the server's"),
        ("models__add__limit", "MODEL_LIMIT", "the model's"),
    ],
)
def test_over_its_limit_a_request_is_told_whose_and_when_to_retry(
    serve: Serve, setting: str, reason: str, whose: str
) -> None:
    server = serve({"add": models.add_one()}, **{setting: HOURLY})
    with Stub(server.grpc, **{"grpc.enable_retries": 0}) as stub:
        for _ in range(3):
            stub.infer(good())
        told = refused(stub, good())
    assert (told.code, told.reason, told.domain) == (EXHAUSTED, reason, "modelward")
    assert told.message.startswith(f"over {whose} limit of 36 requests/h; retry in ")
    assert told.retry_seconds == pytest.approx(100, abs=20)
    assert told.pushback_ms == pytest.approx(told.retry_seconds * 1000, abs=1)
    refused_model = "add" if reason == "MODEL_LIMIT" else None
    labels = {"reason": reason} | ({"model": refused_model} if refused_model else {})
    assert server.metric("modelward_refusals_total", **labels) == 1


def test_a_limited_client_may_come_back_when_it_was_told_to(serve: Serve) -> None:
    server = serve({"add": models.add_one()}, limits__peer="{rate: 10/s, burst: 1}")
    with H2Client(server.grpc) as client:
        replies = client.calls([framed(good().SerializeToString())] * 2)  # in one write
        assert [reply.code for reply in replies] == [0, 8]
        assert 0 < int(replies[1].ending["grpc-retry-pushback-ms"]) <= 100
        wait_until(lambda: client.call(framed(good().SerializeToString())).code == 0, "the budget to come back")


def test_a_refusal_charges_no_other_budget(serve: Serve) -> None:
    """All levels are checked before any is charged: a refused client takes from no budget."""
    limits = {"models__tight__limit": "{rate: 36/h, burst: 1}", "limits__total": HOURLY}
    server = serve({"tight": models.add_one(), "add": models.add_one()}, **limits)
    with Stub(server.grpc, **{"grpc.enable_retries": 0}) as stub:
        stub.infer(good("tight"))
        for _ in range(20):
            assert refused(stub, good("tight")).reason == "MODEL_LIMIT"
        stub.infer(good())
        stub.infer(good())
        assert refused(stub, good()).reason == "TOTAL_LIMIT"


def test_the_peers_budget_is_looked_at_before_the_body(serve: Serve) -> None:
    server = serve({"add": models.add_one()}, limits__peer=HOURLY)
    with H2Client(server.grpc) as client:
        for _ in range(3):
            assert client.call(framed(good().SerializeToString())).code == 0
        stream = client.begin()  # headers alone
        reply = client.reply(stream)
        assert (reply.code, reply.reason) == (8, "PEER_LIMIT")
        assert int(reply.ending["grpc-retry-pushback-ms"]) > 0


def test_every_message_of_a_stream_counts(serve: Serve) -> None:
    server = serve({"add": models.add_one()}, models__add__limit=HOURLY)
    with Stub(server.grpc) as stub:
        answers = list(stub.stream([good() for _ in range(5)]))
    assert [answer.error_message != "" for answer in answers] == [False] * 3 + [True] * 2
    assert "over the model's limit of 36 requests/h; retry in" in answers[4].error_message


def test_connections_of_one_peer_share_its_budget(serve: Serve) -> None:
    server = serve({"add": models.add_one()}, limits__peer=HOURLY)
    for _ in range(3):
        with Stub(server.grpc) as stub:
            stub.infer(good())
    with Stub(server.grpc) as stub:
        assert refused(stub, good()).reason == "PEER_LIMIT"


def test_versions_of_a_model_share_its_budget(serve: Serve) -> None:
    server = serve({"add": {1: models.add_one(), 2: models.add_one()}}, models__add__limit=HOURLY)
    with Stub(server.grpc) as stub:
        for version in ("1", "2", ""):
            stub.infer(request("add", {"x": ROW}, version=version))
        for version in ("1", "2", ""):
            assert refused(stub, request("add", {"x": ROW}, version=version)).reason == "MODEL_LIMIT"


def test_other_methods_cost_budget_too_but_health_checks_are_free(serve: Serve) -> None:
    server = serve({"add": models.add_one()}, limits__peer="{rate: 36/h, burst: 1}")
    with Stub(server.grpc) as stub:
        stub.infer(good())
        assert refused(stub, good()).reason == "PEER_LIMIT"
        with pytest.raises(grpc.RpcError) as raised:
            stub.ask("ModelStatistics")
        assert refusal(raised.value).reason == "PEER_LIMIT"
        assert stub.ask("Check", "grpc.health.v1.Health").status == 1


def test_without_configured_limits_no_client_is_limited(serve: Serve) -> None:
    server = serve({"add": models.add_one()})
    with Stub(server.grpc) as stub:
        futures = [stub.future(good()) for _ in range(2000)]
        assert all((arrays(future.result())["y"] == 2).all() for future in futures)


def test_a_message_larger_than_the_limit_is_refused_whichever_way_it_comes(serve: Serve) -> None:
    server = serve({"add": models.add_one()}, limits__message_size="64KiB")
    fits = request("add", {"x": np.zeros((4000, 4), np.float32)})
    larger = request("add", {"x": np.zeros((5000, 4), np.float32)})
    with Stub(server.grpc) as stub:
        stub.infer(fits)
        stub.infer(fits, compression=grpc.Compression.Gzip)
        assert refused(stub, larger).reason == "MESSAGE_TOO_LARGE"
        told = refused(stub, larger, compression=grpc.Compression.Gzip)
        assert (told.code, told.reason) == (EXHAUSTED, "INFLATED_TOO_LARGE")
        stub.infer(fits)
