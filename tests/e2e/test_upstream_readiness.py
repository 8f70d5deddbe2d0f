"""What a server says of itself and its models while their upstreams cannot be reached."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from modelward.rpc.protocol import HEALTH_SERVICE, INFERENCE_SERVICE, message_class
from tests.e2e.messages import Stub, request
from tests.e2e.model_peer import ModelPeer
from tests.e2e.test_relay import ROW, in_front, listening
from tests.e2e.test_upstream_changes import FOUR
from tests.models import add_one, repository
from tests.support import serve_process, wait_until

UNREACHABLE = "127.0.0.1:1"
SIGNATURE = (
    "{inputs: [{name: x, datatype: FP32, shape: [-1, 4]}], outputs: [{name: y, datatype: FP32, shape: [-1, 4]}]}"
)
VALUE = "[{value: {y: [[0.5, 0.5, 0.5, 0.5]]}}]"
DEAD: dict[str, Any] = {"models__m__upstreams": f"[{UNREACHABLE}]", "models__m__signature": SIGNATURE}


def ask(address: str, service: str, method: str, kind: str, **fields: Any) -> Any:
    package = service.rpartition(".")[0]
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_class(f"{package}.{kind}Response").FromString,
        )
        return call(message_class(f"{package}.{kind}Request")(**fields), timeout=10)


def model_ready(address: str, name: str = "m") -> bool:
    return bool(ask(address, INFERENCE_SERVICE, "ModelReady", "ModelReady", name=name).ready)


def index(address: str) -> dict[str, tuple[str, str]]:
    entries = ask(address, INFERENCE_SERVICE, "RepositoryIndex", "RepositoryIndex").models
    return {entry.name: (entry.state, entry.reason) for entry in entries}


def server_ready(address: str) -> bool:
    """As both services say, which must agree."""
    ready = bool(ask(address, INFERENCE_SERVICE, "ServerReady", "ServerReady").ready)
    serving = ask(address, HEALTH_SERVICE, "Check", "HealthCheck").status == 1
    assert ready == serving
    return ready


def live(address: str) -> bool:
    return bool(ask(address, INFERENCE_SERVICE, "ServerLive", "ServerLive").live)


def test_a_server_whose_only_upstream_dies_is_live_and_not_ready_and_ready_again_when_it_is_back() -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    with listening(peer) as (address, upstream), in_front(upstreams=f"[{address}]") as server:
        assert model_ready(server.grpc) and server_ready(server.grpc) and server.page("/readyz")[0] == 200
        assert index(server.grpc) == {"m": ("READY", "")}
        upstream.stop(None).wait()
        wait_until(lambda: not model_ready(server.grpc), "the model to be not ready")
        state, reason = index(server.grpc)["m"]
        assert state == "UNAVAILABLE" and "no upstream server of it can be reached" in reason
        wait_until(lambda: server.page("/readyz")[0] == 503, "the server to be not ready")
        assert not server_ready(server.grpc) and live(server.grpc) and server.page("/healthz")[0] == 200
        assert "each of their upstream servers is out of reach" in server.page("/readyz")[1]
        again = grpc.server(ThreadPoolExecutor(4), handlers=[peer])
        assert again.add_insecure_port(address)
        again.start()
        wait_until(lambda: server.page("/readyz")[0] == 200, "it to be ready again")
        assert model_ready(server.grpc) and server_ready(server.grpc)
        again.stop(None).wait()


def test_a_fallback_that_answers_keeps_model_and_server_ready() -> None:
    with in_front(**DEAD, models__m__fallback=VALUE) as server, Stub(server.grpc) as stub:
        assert stub.infer(request("m", {"x": ROW})).outputs
        assert model_ready(server.grpc) and server_ready(server.grpc)
        assert index(server.grpc) == {"m": ("READY", "")}


@pytest.mark.parametrize("fallback", ["[{last_good: {}}]", "[{model: other}]"])
def test_a_fallback_that_cannot_be_relied_on_keeps_nothing_ready(fallback: str) -> None:
    other = {"models__other__upstreams": f"[{UNREACHABLE}]", "models__other__signature": SIGNATURE}
    with in_front(**DEAD, **other, models__m__fallback=fallback) as server:
        assert not model_ready(server.grpc)
        assert not server_ready(server.grpc)


def test_one_model_that_can_be_answered_keeps_the_server_ready_and_the_other_is_not(tmp_path: Path) -> None:
    with in_front(**DEAD, repository=repository(tmp_path, {"here": add_one()})) as server:
        assert not model_ready(server.grpc) and model_ready(server.grpc, "here")
        assert server_ready(server.grpc) and server.page("/readyz")[0] == 200
        assert [state for state, _ in index(server.grpc).values()] == ["READY", "UNAVAILABLE"]


def test_workers_tell_their_supervisor_that_no_model_can_be_answered() -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    with listening(peer) as (address, upstream), serve_process("--set", f"upstreams=[{address}]") as server:
        assert server.page("/readyz")[0] == 200
        upstream.stop(None).wait()
        wait_until(lambda: server.page("/readyz")[0] == 503, "the supervisor to be told")
        assert "each of their upstream servers is out of reach" in server.page("/readyz")[1]
        wait_until(lambda: not server_ready(server.grpc), "the worker")
        assert server.page("/healthz")[0] == 200
