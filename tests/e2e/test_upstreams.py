"""In front of other servers: Modelwards in processes of their own, killed and frozen; one that shows what it gets."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from modelward.config.load import load
from modelward.server.embedded import in_thread
from tests.e2e.messages import RESPONSE, ROUNDED_UP, STREAM_INFER, STREAM_RESPONSE, request
from tests.models import add_one, repository, slow_loop
from tests.support import ANYWHERE, EmbeddedServer, ServerProcess, serve_process, wait_until

INFER = "/inference.GRPCInferenceService/ModelInfer"
ROW = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
TIMEOUT = 20.0


@contextlib.contextmanager
def in_front(upstreams: list[str], **settings: Any) -> Iterator[EmbeddedServer]:
    """A server that has the model "add" of other servers and none of its own."""
    dotted = {key.replace("__", "."): value for key, value in settings.items()}
    listed = f"[{', '.join(upstreams)}]"
    sets = [f"{key}={value}" for key, value in (ANYWHERE | {"models.add.upstreams": listed} | dotted).items()]
    with in_thread(load(sets=sets, environ={})) as application:
        yield EmbeddedServer(str(application.grpc_address), str(application.http_address), application)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("models"), {"add": add_one()})


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Shared: no test stops it for long."""
    root = repository(tmp_path_factory.mktemp("upstream"), {"add": add_one(), "slow": slow_loop(20_000)})
    with serve_process(root, "--set", "models.slow.batching={max: 1}") as running:
        yield running


@pytest.fixture
def mortal(models: Path) -> Iterator[ServerProcess]:
    """One to be killed."""
    with serve_process(models) as running:
        yield running


def infer(
    address: str, timeout: float = TIMEOUT, metadata: tuple[tuple[str, str], ...] = (), model: str = "add"
) -> Any:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            INFER,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=RESPONSE.FromString,
        )
        return call(request(model, {"x": ROW}), timeout=timeout, metadata=metadata)


def answer(response: Any) -> list[float]:
    return np.frombuffer(response.raw_output_contents[0], np.float32).tolist()


def test_a_request_is_answered_by_the_upstream(upstream: ServerProcess) -> None:
    before = upstream.metric("modelward_requests_total", model="add", code="OK")
    with in_front([upstream.grpc]) as server:
        response = infer(server.grpc)
        assert answer(response) == [2.0, 3.0, 4.0, 5.0]
        assert not response.parameters
        assert upstream.metric("modelward_requests_total", model="add", code="OK") == before + 1


def test_what_does_not_fit_the_upstreams_signature_is_refused_before_it(upstream: ServerProcess) -> None:
    with in_front([upstream.grpc]) as server, grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary(INFER, request_serializer=lambda message: message.SerializeToString())
        with pytest.raises(grpc.RpcError) as refused:
            call(request("add", {"x": ROW[:, :3]}), timeout=TIMEOUT)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert upstream.metric("modelward_refusals_total", model="add") == 0


def test_a_stream_is_answered_request_by_request_in_order(upstream: ServerProcess) -> None:
    with in_front([upstream.grpc]) as server, grpc.insecure_channel(server.grpc) as channel:
        call = channel.stream_stream(
            STREAM_INFER,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=STREAM_RESPONSE.FromString,
        )
        requests = (request("add", {"x": ROW + i}, id=str(i)) for i in range(20))
        responses = [r.infer_response for r in call(requests, timeout=TIMEOUT)]
        assert [r.id for r in responses] == [str(i) for i in range(20)]
        assert [answer(r)[0] for r in responses] == [2.0 + i for i in range(20)]


def test_an_upstream_that_is_killed_is_stood_in_for_by_the_others(
    upstream: ServerProcess, mortal: ServerProcess
) -> None:
    with in_front([mortal.grpc, upstream.grpc]) as server:
        infer(server.grpc)
        mortal.signal_all(signal.SIGKILL)
        wait_until(lambda: mortal.process.poll() is not None, "its end")
        connectors = server.application.upstreams
        wait_until(lambda: [e.connected for e in connectors].count(True) == 1, "the loss to be seen")
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: answer(infer(server.grpc)), range(50)))
        assert answers == [[2.0, 3.0, 4.0, 5.0]] * 50


def test_with_no_upstream_left_the_fallback_answers(mortal: ServerProcess) -> None:
    with in_front([mortal.grpc], models__add__fallback="[{value: {y: [[0, 0, 0, 0]]}}]") as server:
        mortal.signal_all(signal.SIGKILL)
        wait_until(lambda: not server.application.upstreams[0].connected, "the loss to be seen")
        response = infer(server.grpc)
        assert answer(response) == [0.0, 0.0, 0.0, 0.0]
        assert response.parameters["modelward_fallback"].string_param == "failure"


def test_without_a_fallback_the_client_is_told_that_no_upstream_can_be_reached(mortal: ServerProcess) -> None:
    with in_front([mortal.grpc]) as server:
        mortal.signal_all(signal.SIGKILL)
        wait_until(lambda: not server.application.upstreams[0].connected, "the loss to be seen")
        with pytest.raises(grpc.RpcError) as refused:
            infer(server.grpc)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "upstream" in refused.value.details()


def test_a_frozen_upstream_does_not_make_anybody_wait_beyond_the_deadline(upstream: ServerProcess) -> None:
    settings = {"models__add__deadline": "100ms", "models__add__fallback": "[{value: {y: [[0, 0, 0, 0]]}}]"}
    with in_front([upstream.grpc], **settings) as server:
        infer(server.grpc)
        upstream.signal_all(signal.SIGSTOP)
        try:
            response = infer(server.grpc)
            assert response.parameters["modelward_fallback"].string_param == "deadline"
        finally:
            upstream.signal_all(signal.SIGCONT)


def test_an_upstream_that_comes_back_is_used_again(models: Path) -> None:
    with serve_process(models) as first:
        address = first.grpc
        with in_front([address]) as server:
            infer(server.grpc)
            first.terminate()
            wait_until(lambda: not server.application.upstreams[0].connected, "the loss to be seen")
            with serve_process(models, "--grpc-port", address.rpartition(":")[2]):
                wait_until(lambda: server.application.upstreams[0].connected, "the next connection")
                assert answer(infer(server.grpc)) == [2.0, 3.0, 4.0, 5.0]


def test_every_model_of_an_upstream_is_served_through(upstream: ServerProcess) -> None:
    sets = [f"{key}={value}" for key, value in (ANYWHERE | {"upstreams": f"[{upstream.grpc}]"}).items()]
    with in_thread(load(sets=sets, environ={})) as application:
        assert sorted(v.name for v in application.catalog) == ["add", "slow"]
        assert answer(infer(str(application.grpc_address))) == [2.0, 3.0, 4.0, 5.0]


class Mirror(grpc.GenericRpcHandler):
    """Answers as the model "add" would, and keeps what it was sent."""

    def __init__(self, upstream: str) -> None:
        self.seen: list[tuple[dict[str, str], float]] = []
        self._channel = grpc.insecure_channel(upstream)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def handle(message: bytes, context: grpc.ServicerContext) -> bytes:
            if details.method == INFER:
                self.seen.append((dict(context.invocation_metadata()), context.time_remaining()))
            return bytes(self._channel.unary_unary(details.method)(message, timeout=TIMEOUT))

        return grpc.unary_unary_rpc_method_handler(handle)


def test_the_clients_metadata_and_what_is_left_of_its_deadline_reach_the_upstream(upstream: ServerProcess) -> None:
    mirror = Mirror(upstream.grpc)
    mirroring = grpc.server(ThreadPoolExecutor(2), handlers=[mirror])
    port = mirroring.add_insecure_port("127.0.0.1:0")
    mirroring.start()
    try:
        with in_front([f"127.0.0.1:{port}"]) as server:
            metadata = (("authorization", "Bearer x"), ("modelward-fallback", "forged"))
            assert answer(infer(server.grpc, metadata=metadata)) == [2.0, 3.0, 4.0, 5.0]
        (seen, remaining), *_ = mirror.seen
        assert seen["authorization"] == "Bearer x"
        assert "modelward-fallback" not in seen
        assert 0.0 < remaining <= TIMEOUT + ROUNDED_UP
    finally:
        mirroring.stop(None).wait()


def test_a_client_that_cancels_leaves_nothing_behind(upstream: ServerProcess) -> None:
    with in_front([upstream.grpc], **{"models__slow__upstreams": f"[{upstream.grpc}]"}) as server:
        with grpc.insecure_channel(server.grpc) as channel:
            call = channel.unary_unary(INFER, request_serializer=lambda message: message.SerializeToString())
            endpoint = next(e for e in server.application.upstreams)
            slow = call.future(request("slow", {"x": ROW}), timeout=TIMEOUT)
            wait_until(lambda: endpoint.inflight == 1, "the request to be on its way")
            slow.cancel()
            wait_until(lambda: endpoint.inflight == 0, "the cancellation to arrive")
        assert server.application.server is not None
        wait_until(lambda: server.application.server.totals()["inflight_bytes"] == 0, "the bytes to be given back")


def test_an_upstream_that_gives_no_sign_of_life_is_given_up(upstream: ServerProcess) -> None:
    with in_front([upstream.grpc], models__add__fallback="[{value: {y: [[0, 0, 0, 0]]}}]") as server:
        infer(server.grpc)
        upstream.signal_all(signal.SIGSTOP)
        try:
            # no deadline of the model, and a client that would wait: the PING after ten seconds is not answered
            response = infer(server.grpc, timeout=60.0)
            assert response.parameters["modelward_fallback"].string_param == "failure"
        finally:
            upstream.signal_all(signal.SIGCONT)
