"""Triton's extensions, behind Modelward and its own: shared memory, classes, final responses, properties."""

from __future__ import annotations

import contextlib
import queue
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import shared_memory

from modelward.access import keys
from modelward.score import Profile
from tests.e2e.conftest import Peers
from tests.e2e.messages import REQUEST, Array, Stub, parameters, refused, request
from tests.e2e.model_peer import ModelPeer
from tests.e2e.test_other_servers import in_front, tensor
from tests.e2e.test_upstream_changes import FOUR, changing
from tests.models import add_one
from tests.peers.triton import TRITON
from tests.support import serving

ROWS = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
ROW = ROWS[:1]
ANSWER_SECONDS = 20.0


@contextlib.contextmanager
def region(client: triton.InferenceServerClient, array: Array) -> Iterator[tuple[str, Any]]:
    """Memory shared with the server, registered through the client; holds the array."""
    name = f"mw-{uuid.uuid4().hex}"
    handle = shared_memory.create_shared_memory_region(name, f"/{name}", array.nbytes)
    try:
        shared_memory.set_shared_memory_region(handle, [array])
        client.register_system_shared_memory(name, f"/{name}", array.nbytes)
        yield name, handle
    finally:
        shared_memory.destroy_shared_memory_region(handle)


def test_inputs_and_outputs_in_shared_memory_pass_to_triton(peer: Peers) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(in_front(peer(TRITON).address, passthrough="true"))
        client = stack.enter_context(triton.InferenceServerClient(server.grpc))
        given, _ = stack.enter_context(region(client, ROWS))
        wanted, memory = stack.enter_context(region(client, np.zeros_like(ROWS)))
        shared = triton.InferInput("x", [2, 4], "FP32")
        shared.set_shared_memory(given, ROWS.nbytes)
        assert client.infer("add", [shared]).as_numpy("y").tolist() == (ROWS + 1).tolist()
        output = triton.InferRequestedOutput("y")
        output.set_shared_memory(wanted, ROWS.nbytes)
        for one in (shared, tensor(ROWS)):
            shared_memory.set_shared_memory_region(memory, [np.zeros_like(ROWS)])
            client.infer("add", [one], outputs=[output])
            seen = shared_memory.get_contents_as_numpy(memory, np.float32, [2, 4])
            assert seen.tolist() == (ROWS + 1).tolist()


def test_classes_are_asked_of_triton(peer: Peers) -> None:
    with in_front(peer(TRITON).address) as server, triton.InferenceServerClient(server.grpc) as client:
        output = triton.InferRequestedOutput("y", class_count=2)
        classes = client.infer("add", [tensor(ROW)], outputs=[output]).as_numpy("y")
        assert classes.tolist() == [[b"5.000000:3", b"4.000000:2"]]


@pytest.mark.parametrize("empty", [False, True])
def test_streams_of_models_that_run_here_say_what_tritons_say(peer: Peers, tmp_path: Path, empty: bool) -> None:
    with serving(tmp_path, {"add": add_one()}, models__add__fallback="[]") as ours:
        assert answers_of(ours.grpc, empty) == answers_of(peer(TRITON).address, empty)


def answers_of(address: str, empty: bool) -> list[Any]:
    """Parameters of the answers to three requests on a stream, of which the second is wrong; and of a single call."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    found: list[Any] = []
    with triton.InferenceServerClient(address) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for array in (ROW, ROW[:, :3], ROW):
            client.async_stream_infer("add", [tensor(array)], request_id="i", enable_empty_final_response=empty)
            result, error = answers.get(timeout=ANSWER_SECONDS)
            found.append("error" if error is not None else parameters(result.get_response()))
        client.stop_stream()
        found.append(parameters(client.infer("add", [tensor(ROW)]).get_response()))
    return found


def test_every_answer_of_a_stream_that_the_fallback_chain_gives_is_final_too(tmp_path: Path) -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    models = {"add": add_one()}
    fallback = {"models__add__fallback": "[{value: {y: [[7, 7, 7, 7]]}}]", "models__add__deadline": "1us"}
    with serving(tmp_path, models, **fallback) as server, Stub(server.grpc) as stub:
        (answer,) = stub.stream([request("add", {"x": ROW})])
        assert parameters(answer.infer_response)["triton_final_response"] is True
        assert parameters(answer.infer_response)["modelward_fallback"] == "deadline"
    with changing(peer) as (_, stub):
        (answer,) = stub.stream([request("m", {"x": ROW})])
        assert parameters(answer.infer_response) == {}  # the upstream's own


# ---- what cannot be read cannot be scored


def shared_request() -> Any:
    message = REQUEST(model_name="m")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 4]).parameters["shared_memory_region"].string_param = "r"
    return message


def takes_anything(message: Any, context: grpc.ServicerContext) -> Any:
    """As an upstream does that has the memory."""
    answer = ModelPeer({"m": {"1": FOUR}}).held(request("m", {"x": ROW}), context)
    answer.parameters["seen"].int64_param = len(message.inputs[0].parameters)
    return answer


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    rows = np.random.default_rng(1).normal(size=(500, 4)).astype(np.float32)
    Profile.fit({"x": rows}).save(tmp_path / "profile.npz")
    return tmp_path / "profile.npz"


@contextlib.contextmanager
def scored(profile: Path, mode: str, **settings: Any) -> Iterator[tuple[Any, Stub]]:
    peer = ModelPeer({"m": {"1": FOUR}})
    peer.infer = takes_anything
    anomaly = {"models__m__anomaly": f"{{profile: {profile}, mode: {mode}}}"}
    with changing(peer, passthrough="true", **(anomaly | settings)) as (server, stub):
        yield server, stub


@pytest.mark.parametrize("mode", ["observe", "tag"])
def test_a_request_that_cannot_be_scored_passes_and_is_counted_where_anomalous_ones_pass(
    profile: Path, mode: str
) -> None:
    with scored(profile, mode) as (server, stub):
        assert parameters(stub.infer(shared_request()))["seen"] == 1
        assert server.metric("modelward_unscored_total", model="m") == 1


@pytest.mark.parametrize(
    ("mode", "settings"),
    [("reject", {}), ("observe", {"models__m__detection": "{mode: act}"})],
    ids=["anomalous requests are refused", "evidence has an effect"],
)
def test_a_request_that_cannot_be_scored_is_refused_where_that_would_evade_something(
    profile: Path, mode: str, settings: dict[str, str]
) -> None:
    with scored(profile, mode, **settings) as (server, stub):
        refusal = refused(stub, shared_request())
        assert (refusal.reason, refusal.code) == ("ANOMALY", grpc.StatusCode.FAILED_PRECONDITION)
        assert "its inputs are in shared memory" in refusal.message
        assert server.metric("modelward_unscored_total", model="m") == 1


def test_the_configuration_lets_requests_pass_that_cannot_be_scored(profile: Path) -> None:
    anomaly = f"{{profile: {profile}, mode: reject, unscored: allow}}"
    with scored(profile, "reject", models__m__anomaly=anomaly) as (_, stub):
        assert parameters(stub.infer(shared_request()))["seen"] == 1


def test_without_passthrough_no_client_uses_memory_of_the_upstream() -> None:
    with changing(ModelPeer({"m": {"1": FOUR}})) as (_, stub):
        refusal = refused(stub, shared_request())
        assert (refusal.reason, refusal.code) == ("UNSUPPORTED_FEATURE", grpc.StatusCode.UNIMPLEMENTED)


def test_an_identity_that_may_not_register_memory_may_not_use_it(tmp_path: Path) -> None:
    made = {name: keys.make(name) for name in ("alice", "bob")}
    with keys.editing(tmp_path / "keys.json") as kept:
        kept.update({key.id: key for key, _ in made.values()})
    rules = [
        {"identity": "alice", "models": "*", "methods": ["infer", "passthrough"]},
        {"identity": "bob", "models": "*", "methods": ["infer"]},
    ]
    access = {"keys": str(tmp_path / "keys.json"), "rules": rules}
    peer = ModelPeer({"m": {"1": FOUR}})
    peer.infer = takes_anything
    with changing(peer, passthrough="true", access=access) as (_, stub):
        assert stub.infer(shared_request(), metadata=(("x-api-key", made["alice"][1]),)).outputs
        refusal = refused(stub, shared_request(), metadata=(("x-api-key", made["bob"][1]),))
        assert refusal.code is grpc.StatusCode.PERMISSION_DENIED


def test_neither_a_constant_nor_a_model_that_runs_here_stands_in_for_what_it_cannot_give() -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    peer.infer = lambda message, context: context.abort(grpc.StatusCode.INTERNAL, "broken")
    fallback = {"models__m__fallback": "[{value: {y: [[7, 7, 7, 7]]}}]"}
    with changing(peer, own=True, **fallback) as (_, stub):
        assert parameters(stub.infer(request("m", {"x": ROW})))["modelward_fallback"] == "failure"
        classes = request("m", {"x": ROW}, outputs=["y"])
        classes.outputs[0].parameters["classification"].int64_param = 2
        with pytest.raises(grpc.RpcError, match="broken"):
            stub.infer(classes)


# ---- properties


def test_properties_of_an_upstream_pass_and_models_that_run_here_have_their_own(tmp_path: Path) -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    peer.properties = {"framework": "torch"}
    with changing(peer) as (_, stub):
        answer = stub.ask("ModelMetadata", name="m")
        assert dict(answer.properties) == {"framework": "torch"}
        assert (answer.versions, answer.inputs[0].shape) == (["1"], [-1, 4])
    with serving(tmp_path, {"add": add_one()}) as server, Stub(server.grpc) as stub:
        assert stub.ask("ModelMetadata", name="add").properties.keys() == {"sha256", "digest", "opset"}
