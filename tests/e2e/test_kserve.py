"""What KServe's server does otherwise: it has no index, configuration, statistics or streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.e2e.conftest import Peers
from tests.e2e.messages import Stub, refused, request
from tests.e2e.test_other_servers import ROWS, in_front, tensor, y_of
from tests.peers.kserve import KSERVE
from tests.support import EmbeddedServer, wait_until


@pytest.fixture(scope="module")
def server(peer: Peers) -> Iterator[EmbeddedServer]:
    named = {f"models__{name}__deadline": "5s" for name in ("add", "leaving")}
    with in_front(peer(KSERVE).address, **named, health__refresh="200ms") as running:
        yield running


@pytest.fixture
def stub(server: EmbeddedServer) -> Iterator[Stub]:
    with Stub(server.grpc) as opened:
        yield opened


@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_contents_are_answered_raw_and_typed(stub: Stub, typed: bool) -> None:
    response = stub.infer(request("add", {"x": ROWS}, typed=typed, id="7"))
    assert (y_of(response), response.id, bool(response.raw_output_contents)) == ((ROWS + 1).tolist(), "7", not typed)


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_tritonclient_is_answered(server: EmbeddedServer, compression: str | None) -> None:
    with triton.InferenceServerClient(server.grpc) as client:
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("add")
        result = client.infer("add", [tensor(ROWS)], compression_algorithm=compression)
        assert result.as_numpy("y").tolist() == (ROWS + 1).tolist()


def test_what_it_takes_is_told_as_it_tells_it_and_held(stub: Stub, peer: Peers) -> None:
    """It runs a wrong shape, and one input by the name of another."""
    with Stub(peer(KSERVE).address) as direct:
        ours, theirs = (s.ask("ModelMetadata", name="add") for s in (stub, direct))
        assert (ours.inputs, ours.outputs, ours.platform) == (theirs.inputs, theirs.outputs, theirs.platform)
        wrong = request("add", {"z": ROWS[:, :3]})
        assert direct.infer(wrong).outputs
    assert refused(stub, wrong).code is grpc.StatusCode.INVALID_ARGUMENT
    config = stub.ask("ModelConfig", name="add").config
    assert [(t.name, list(t.dims)) for t in config.input] == [("x", [-1, 4])]
    before = stub.statistics("add").inference_stats.success.count
    stub.infer(request("add", {"x": ROWS}))
    assert stub.statistics("add").inference_stats.success.count == before + 1


def test_a_model_that_says_nothing_of_itself_is_learned_and_its_requests_pass(stub: Stub) -> None:
    assert stub.ask("ModelReady", name="plain").ready
    assert y_of(stub.infer(request("plain", {"anything": ROWS}))) == (ROWS + 1).tolist()
    assert not stub.ask("ModelReady", name="nothing").ready
    assert refused(stub, request("nothing", {"x": ROWS})).code is grpc.StatusCode.NOT_FOUND


def test_streams_are_refused_in_its_words_and_say_nothing_against_it(server: EmbeddedServer, stub: Stub) -> None:
    for _ in range(20):
        with pytest.raises(grpc.RpcError, match="Method not found!") as error:
            list(stub.stream([request("add", {"x": ROWS})]))
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert server.metric("modelward_upstream_failures_total") == 0
    assert server.metric("modelward_upstream_ejections_total") == 0


def test_a_model_that_it_calls_not_ready_is_not_ready_until_it_is(stub: Stub) -> None:
    def state() -> Any:
        (found,) = (m for m in stub.ask("RepositoryIndex").models if m.name == "leaving")
        return stub.ask("ModelReady", name="leaving").ready, found.state

    assert state() == (True, "READY")
    stub.infer(request("leaving", {"x": np.zeros((1, 4), np.float32)}))
    wait_until(lambda: state() == (False, "UNAVAILABLE"), "it to be not ready")
    stub.infer(request("leaving", {"x": ROWS}))
    wait_until(lambda: state() == (True, "READY"), "it to be ready again")
