"""In front of MLServer and Triton, with no more configuration than where they are: everything that both have."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton

from modelward.config.load import load
from modelward.rpc.protocol import HEALTH_SERVICE
from modelward.server.embedded import in_thread
from tests.e2e.conftest import Peers, Prepare
from tests.e2e.messages import Stub, array_of, refused, request
from tests.peers.mlserver import MLSERVER
from tests.peers.peer import Kind, running
from tests.peers.triton import TRITON
from tests.support import ANYWHERE, EmbeddedServer, serve_process, wait_until

ROWS = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]], np.float32)
ZEROS = "[{value: {y: [[0, 0, 0, 0]]}}]"

pytestmark = pytest.mark.parametrize("kind", [MLSERVER, TRITON], ids=lambda kind: kind.name)


@contextlib.contextmanager
def in_front(address: str, **settings: Any) -> Iterator[EmbeddedServer]:
    """Every model of one server, served through."""
    dotted = {key.replace("__", "."): value for key, value in settings.items()}
    sets = [f"{key}={value}" for key, value in (ANYWHERE | {"upstreams": f"[{address}]"} | dotted).items()]
    with in_thread(load(sets=sets, environ={})) as application:
        yield EmbeddedServer(str(application.grpc_address), str(application.http_address), application)


def y_of(response: Any) -> list[list[float]]:
    """The only output, raw or typed."""
    (output,) = response.outputs
    if response.raw_output_contents:
        return array_of(output.datatype, output.shape, response.raw_output_contents[0]).tolist()
    return np.array(output.contents.fp32_contents, np.float32).reshape(tuple(output.shape)).tolist()


def tensor(array: np.ndarray) -> triton.InferInput:
    given = triton.InferInput("x", list(array.shape), triton.np_to_triton_dtype(array.dtype))
    given.set_data_from_numpy(array)
    return given


def sent_upstream(server: EmbeddedServer) -> int:
    return sum(endpoint.requests for endpoint in server.application.upstreams)


def test_every_model_that_it_lists_is_served_through(kind: Kind, peer: Peers) -> None:
    with serve_process("--upstream", peer(kind).address) as server, Stub(server.grpc) as stub:
        served = {(model.name, model.version) for model in stub.ask("RepositoryIndex", ready=True).models}
        assert served == {(name, version or "1") for name, version in kind.models}
        assert y_of(stub.infer(request("add", {"x": ROWS}))) == (ROWS + 1).tolist()


def test_what_it_takes_and_gives_is_told_as_it_tells_it(kind: Kind, peer: Peers) -> None:
    address = peer(kind).address
    with in_front(address) as server, Stub(server.grpc) as stub, Stub(address) as direct:
        for name, version in kind.models:
            ours, theirs = (s.ask("ModelMetadata", name=name, version=version and version) for s in (stub, direct))
            assert (ours.inputs, ours.outputs) == (theirs.inputs, theirs.outputs)
            assert ours.platform == theirs.platform
            assert list(ours.versions) == [version or "1"]


def test_health_and_readiness_are_answered(kind: Kind, peer: Peers) -> None:
    with in_front(peer(kind).address) as server, triton.InferenceServerClient(server.grpc) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert all(client.is_model_ready(name, version) for name, version in kind.models)
        assert not client.is_model_ready("unknown")
        with Stub(server.grpc) as stub:
            assert stub.ask("Check", HEALTH_SERVICE).status == 1


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_tritonclient_is_answered(kind: Kind, peer: Peers, compression: str | None) -> None:
    with in_front(peer(kind).address) as server, triton.InferenceServerClient(server.grpc) as client:
        result = client.infer("add", [tensor(ROWS)], request_id="7", compression_algorithm=compression)
        assert result.as_numpy("y").tolist() == (ROWS + 1).tolist()
        assert result.get_response().id == "7"
        assert not result.get_response().parameters


@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_contents_are_answered_raw_and_typed(kind: Kind, peer: Peers, typed: bool) -> None:
    with in_front(peer(kind).address) as server, Stub(server.grpc) as stub:
        for name, version in kind.models:
            if name == "add":
                response = stub.infer(request(name, {"x": ROWS}, version=version, typed=typed))
                assert y_of(response) == (ROWS + 1).tolist()
                assert response.model_version == version


@pytest.mark.parametrize(
    ("message", "word"),
    [
        (request("add", {"x": ROWS[:, :3]}), "shape"),
        (request("add", {"x": ROWS.astype(np.float64)}), "datatype"),
        (request("add", {"z": ROWS}), "unknown input 'z'"),
        (request("add", {"x": ROWS}, outputs=["z"]), "unknown output 'z'"),
        (request("add", {}), "missing"),
    ],
    ids=["shape", "datatype", "input", "output", "missing"],
)
def test_what_the_model_does_not_take_is_refused_before_it(kind: Kind, peer: Peers, message: Any, word: str) -> None:
    with in_front(peer(kind).address) as server, Stub(server.grpc) as stub:
        refusal = refused(stub, message)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert word in refusal.message
        assert sent_upstream(server) == 0


def test_its_own_refusals_reach_the_client(kind: Kind, peer: Peers) -> None:
    """Nine rows are one too many for the batch that Triton allows; MLServer has no such bound, and answers."""
    rows = np.zeros((9, 4), np.float32)
    with in_front(peer(kind).address) as server, Stub(server.grpc) as stub:
        if kind is MLSERVER:
            assert len(y_of(stub.infer(request("add", {"x": rows})))) == 9
            return
        with pytest.raises(grpc.RpcError) as error:
            stub.infer(request("add", {"x": rows}))
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "batch-size must be <= 8" in error.value.details()


def test_a_model_has_its_limit(kind: Kind, peer: Peers) -> None:
    limit = {"models__add__limit": "{rate: 1/h, burst: 2}"}
    with in_front(peer(kind).address, **limit) as server, Stub(server.grpc) as stub:
        for _ in range(2):
            stub.infer(request("add", {"x": ROWS}))
        assert refused(stub, request("add", {"x": ROWS})).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert sent_upstream(server) == 2


def test_a_model_that_is_too_slow_is_stood_in_for_in_time(kind: Kind, peer: Peers) -> None:
    settings = {"models__slow__deadline": "100ms", "models__slow__fallback": ZEROS}
    with in_front(peer(kind).address, **settings) as server, Stub(server.grpc) as stub:
        response = stub.infer(request("slow", {"x": ROWS}))
        assert y_of(response) == [[0.0] * 4] * 2
        assert response.parameters["modelward_fallback"].string_param == "deadline"
        wait_until(lambda: not any(e.inflight for e in server.application.upstreams), "the call to be let go")
        assert y_of(stub.infer(request("add", {"x": ROWS}))) == (ROWS + 1).tolist()


def test_the_clients_own_deadline_holds_too(kind: Kind, peer: Peers) -> None:
    with in_front(peer(kind).address) as server, Stub(server.grpc) as stub:
        with pytest.raises(grpc.RpcError) as error:
            stub.infer(request("slow", {"x": ROWS}), timeout=0.2)
        assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert y_of(stub.infer(request("slow", {"x": ROWS}))) == (ROWS + 1).tolist()


def test_when_it_is_killed_the_fallback_answers_until_it_is_back(kind: Kind, prepare: Prepare) -> None:
    start = prepare(kind)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(running(start))
        server = stack.enter_context(in_front(first.address, models__slow__fallback=ZEROS))
        stub = stack.enter_context(Stub(server.grpc))
        (endpoint,) = server.application.upstreams
        under_way = [stub.future(request(name, {"x": ROWS})) for name in ("slow", "slow")]
        wait_until(lambda: endpoint.inflight == 2, "requests to be under way")
        first.kill()
        assert [y_of(call.result()) for call in under_way] == [[[0.0] * 4] * 2] * 2
        wait_until(lambda: not endpoint.connected, "the loss to be seen")
        response = stub.infer(request("slow", {"x": ROWS}))
        assert response.parameters["modelward_fallback"].string_param == "failure"
        assert refused(stub, request("add", {"x": ROWS})).code is grpc.StatusCode.UNAVAILABLE
        stack.enter_context(running(start, int(first.address.rpartition(":")[2])))
        wait_until(lambda: endpoint.connected, "the next connection")
        assert y_of(stub.infer(request("add", {"x": ROWS}))) == (ROWS + 1).tolist()
