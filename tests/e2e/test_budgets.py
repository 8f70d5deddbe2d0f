"""Budgets of backend time, limits of some identities and networks, and what one tenant can do to others."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from tests import models
from tests.conftest import Serve
from tests.e2e.h2client import H2Client, framed
from tests.e2e.messages import RESPONSE, Stub, refused, request
from tests.support import EmbeddedServer, wait_until
from tests.tokens import AUDIENCE, ISSUER, Issuer

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
ROW = np.ones((1, 4), np.float32)
SECONDS = 1.0
SHARE, BURST = 0.1, 0.03  # 100 ms/s, 30 ms


def expensive_model() -> bytes:
    return models.slow_loop(100)


def expensive() -> Any:
    return request("expensive", {"x": ROW})


def cheap() -> Any:
    return request("cheap", {"x": ROW})


def backend_seconds(server: EmbeddedServer, model: str) -> float:
    return server.metric("nv_inference_compute_infer_duration_us", model=model) / 1e6


def insist(stub: Stub, message: Any) -> list[float]:
    """Seconds that each answer took a client that asks again at once, whatever it was told."""
    answers, end = [], time.monotonic() + SECONDS
    while (began := time.monotonic()) < end:
        code = stub.future(message).code()
        if code is grpc.StatusCode.OK:
            answers.append(time.monotonic() - began)
        else:
            assert code is EXHAUSTED
    return answers


def test_an_expensive_and_a_cheap_model_have_the_same_backend_time_and_not_the_same_number_of_requests(
    serve: Serve,
) -> None:
    limit = "{time: 100ms/s, burst: 30ms}"
    repository = {"expensive": expensive_model(), "cheap": models.add_one()}
    server = serve(repository, models__expensive__limit=limit, models__cheap__limit=limit)
    with Stub(server.grpc, **{"grpc.enable_retries": 0}) as stub:
        stub.infer(expensive())  # so that a number is known
        one = backend_seconds(server, "expensive")
        began = time.monotonic()
        many = insist(stub, expensive())
        took = time.monotonic() - began
        spent = backend_seconds(server, "expensive")
        # one request may begin before what others owe is known, and a busy machine may make any of them long
        assert spent <= (SHARE * took + BURST) * 1.3 + 2 * max(one, *many)
        assert len(insist(stub, cheap())) > len(many)


def test_what_was_predicted_and_what_it_took_are_told_beside_each_other(serve: Serve) -> None:
    server = serve(
        {"expensive": expensive_model()},
        limits__total="{time: 10s/s, burst: 10s}",
        limits__peer="{rate: 1/h, burst: 9}",
    )
    with Stub(server.grpc, **{"grpc.enable_retries": 0}) as stub:
        for _ in range(3):
            stub.infer(expensive())
    taken = server.metric("modelward_backend_time_taken_seconds_total", model="expensive")
    assert taken == pytest.approx(backend_seconds(server, "expensive"), rel=1e-3)
    assert server.metric("modelward_backend_time_predicted_seconds_total", model="expensive") > 0
    assert server.metric("modelward_limit_cells") == 1
    assert server.metric("modelward_limit_cells_capacity") == 1 << 20


def test_a_budget_of_time_says_so_and_when_there_is_some_again(serve: Serve) -> None:
    server = serve({"expensive": expensive_model()}, limits__peer="{time: 10us/s, burst: 1us}")
    with Stub(server.grpc, **{"grpc.enable_retries": 0}) as stub:
        stub.infer(expensive())
        told = refused(stub, expensive())
        assert (told.code, told.reason) == (EXHAUSTED, "PEER_LIMIT")
        assert told.message.startswith("over this peer's limit of 10 us of backend time/s; retry in ")
        assert told.retry_seconds > 0


def test_a_client_that_gives_up_pays_for_what_it_began(serve: Serve) -> None:
    server = serve({"expensive": expensive_model()}, limits__peer="{time: 10us/s, burst: 1us}")
    with Stub(server.grpc, **{"grpc.enable_retries": 0}) as stub:
        call = stub.future(expensive())
        wait_until(lambda: server.metric("modelward_inflight") == 1 or call.done(), "the run to begin")
        call.cancel()
        wait_until(lambda: server.metric("modelward_inflight") == 0, "it to be let go")
        assert refused(stub, expensive()).reason == "PEER_LIMIT"


def test_a_request_that_never_ran_is_given_back_its_time(serve: Serve) -> None:
    server = serve({"expensive": expensive_model()}, limits__peer="{time: 1ms/s, burst: 20ms}")
    malformed = request("expensive", {"x": np.ones((1, 7), np.float32)})
    with Stub(server.grpc, **{"grpc.enable_retries": 0}) as stub:
        for _ in range(200):
            assert refused(stub, malformed).code is grpc.StatusCode.INVALID_ARGUMENT
        stub.infer(expensive())


# ---- for whom limits differ --------------------------------------------------------------------------------------


def test_the_most_specific_network_counts(serve: Serve) -> None:
    overrides = {
        "127.0.0.0/8": {"rate": "36/h", "burst": 1},
        "127.0.0.1": {"rate": "36/h", "burst": 4},
        "10.0.0.0/8": {"rate": "36/h", "burst": 9},
    }
    server = serve({"cheap": models.add_one()}, limits={"peer": {"rate": "36/h", "burst": 2, "overrides": overrides}})
    with H2Client(server.grpc) as client:
        codes = [client.call(framed(cheap().SerializeToString())).code for _ in range(6)]
    assert codes == [0] * 4 + [8] * 2


@pytest.fixture
def issuer() -> Issuer:
    issuer = Issuer()
    issuer.add_key("one")
    return issuer


def with_tokens(serve: Serve, issuer: Issuer, folder: Path, identity: dict[str, Any]) -> EmbeddedServer:
    jwt = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": str(issuer.publish(folder / "jwks.json"))}
    access = {"jwt": jwt, "rules": [{"identity": "*", "models": "*"}]}
    return serve({"cheap": models.add_one()}, access=access, limits={"identity": identity})


class Tenant:
    def __init__(self, server: EmbeddedServer, issuer: Issuer, name: str) -> None:
        self.channel = grpc.insecure_channel(server.grpc, options=[("grpc.enable_retries", 0)])
        self._call = self.channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=RESPONSE.FromString,
        )
        self._metadata = (("authorization", f"Bearer {issuer.token(name)}"),)
        self.codes: list[grpc.StatusCode] = []

    def ask(self, count: int) -> None:
        calls = [self._call.future(cheap(), timeout=30, metadata=self._metadata) for _ in range(count)]
        self.codes += [call.code() for call in calls]


def test_an_identity_has_the_limit_that_its_name_fits_best_and_others_the_general_one(
    serve: Serve, issuer: Issuer, tmp_path: Path
) -> None:
    overrides = {
        "team-*": {"rate": "36/h", "burst": 3},
        "team-a": {"rate": "36/h", "burst": 5},
        "team-b*": {"weight": 4, "priority": 1},
    }
    server = with_tokens(serve, issuer, tmp_path, {"rate": "36/h", "burst": 1, "overrides": overrides})
    passed = {}
    for name in ("team-a", "team-c", "team-b", "other"):
        tenant = Tenant(server, issuer, name)
        tenant.ask(8)
        passed[name] = tenant.codes.count(grpc.StatusCode.OK)
        assert tenant.codes.count(EXHAUSTED) == 8 - passed[name]
    assert passed == {"team-a": 5, "team-c": 3, "team-b": 1, "other": 1}


def test_one_tenant_who_sends_a_hundred_times_its_share_takes_nothing_from_two_others(
    serve: Serve, issuer: Issuer, tmp_path: Path
) -> None:
    share = 20
    server = with_tokens(serve, issuer, tmp_path, {"rate": "36/h", "burst": share})
    honest, flooding = [Tenant(server, issuer, "one"), Tenant(server, issuer, "two")], Tenant(server, issuer, "flood")
    done = threading.Event()

    def flood() -> None:
        while not done.is_set() and len(flooding.codes) < 20_000:
            flooding.ask(200)

    thread = threading.Thread(target=flood)
    thread.start()
    for turn in range(share // 2):
        wait_until(lambda turn=turn: len(flooding.codes) >= 200 * turn, "the flood to go on")  # type: ignore[misc]
        for tenant in honest:
            tenant.ask(2)
    wait_until(lambda: len(flooding.codes) >= 100 * share, "a hundred shares")
    done.set()
    thread.join()
    # a request comes back every hundred seconds
    assert share <= flooding.codes.count(grpc.StatusCode.OK) <= share + 1
    assert flooding.codes.count(EXHAUSTED) >= len(flooding.codes) - share - 1
    assert [tenant.codes for tenant in honest] == [[grpc.StatusCode.OK] * share] * 2
