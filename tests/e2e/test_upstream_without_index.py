"""An upstream that cannot list its models, as KServe's server: those that are named are served, others learned."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton

from modelward.upstream import learning, refresh
from modelward.upstream.learning import Learning
from tests.e2e.messages import Stub, refused, request
from tests.e2e.model_peer import ModelPeer
from tests.e2e.test_upstream_changes import FOUR, changing
from tests.support import wait_until

ROW = np.ones((1, 4), np.float32)


def without_index(*names: str) -> ModelPeer:
    return ModelPeer({name: {"1": FOUR} for name in names}, index=False)


def answers(stub: Stub, model: str) -> bool:
    try:
        return bool(stub.infer(request(model, {"x": ROW})).outputs)
    except grpc.RpcError:
        return False


def test_models_that_the_configuration_names_are_served_at_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), changing(without_index("m", "n"), models__m__deadline="5s") as (_, stub):
        assert stub.infer(request("m", {"x": ROW})).model_name == "m"
        assert [model.name for model in stub.ask("RepositoryIndex").models] == ["m"]
        assert "has no RepositoryIndex" in caplog.text


def test_another_model_is_learned_when_it_is_first_asked_for() -> None:
    with changing(without_index("m")) as (server, stub):
        first = refused(stub, request("m", {"x": ROW}))
        assert (first.code, first.reason) == (grpc.StatusCode.UNAVAILABLE, "NO_UPSTREAM")
        assert first.retry_seconds == 0.5
        wait_until(lambda: answers(stub, "m"), "it to be learned")
        assert refused(stub, request("m", {"x": ROW[:, :3]})).reason == "INVALID_INPUT"
        assert server.metric("modelward_upstream_changes_total", kind="added") == 1


def test_a_question_about_a_model_waits_until_it_is_learned() -> None:
    with changing(without_index("m")) as (server, _), triton.InferenceServerClient(server.grpc) as client:
        assert client.is_model_ready("m")
        assert client.get_model_metadata("m").inputs[0].name == "x"


def test_a_model_that_the_upstream_does_not_have_is_unknown_and_not_asked_for_again() -> None:
    peer = without_index("m")
    with changing(peer) as (_, stub):
        wait_until(lambda: refused(stub, request("other", {"x": ROW})).reason == "UNKNOWN_MODEL", "its answer")
        asked = peer.asked["ModelMetadata"]
        for _ in range(50):
            assert refused(stub, request("other", {"x": ROW})).reason == "UNKNOWN_MODEL"
        assert peer.asked["ModelMetadata"] == asked


def test_strangers_names_cause_few_questions_and_keep_no_other_peer_out() -> None:
    state = Learning()
    assert sum(state.wants(f"a{i}", 1, 0.0) for i in range(1000)) == learning.WAITING_OF_PEER
    assert state.wants("mine", 2, 0.0)
    while names := state.next():
        assert len(names) <= learning.AT_ONCE
        for name in names:
            state.done(name, 0.0, found=name == "mine", silent=False)
    assert not state.wants("a0", 1, learning.ABSENT_SECONDS - 1)
    assert state.wants("a0", 1, learning.ABSENT_SECONDS + 1)
    assert not state.wants("not\na name", 3, 0.0)


def test_peers_take_turns_and_one_with_fewer_names_takes_a_place_from_one_with_more() -> None:
    state = Learning()
    peers = learning.WAITING // learning.WAITING_OF_PEER
    assert all(state.wants(f"{peer}.{i}", peer, 0.0) for peer in range(peers) for i in range(learning.WAITING_OF_PEER))
    assert state.wants("mine", peers, 0.0)
    assert sum(state.is_waiting(f"{peer}.3") for peer in range(peers)) == peers - 1
    asked: list[str] = []
    while "mine" not in asked:
        names = state.next()
        asked += names
        for name in names:
            state.done(name, 0.0, found=False, silent=False)
    assert len(asked) <= peers + learning.AT_ONCE
    assert len({name.partition(".")[0] for name in asked[: peers + 1]}) == peers + 1


def test_a_name_that_is_being_asked_for_keeps_its_place() -> None:
    state = Learning()
    assert all(state.wants(str(i), i // 2, 0.0) for i in range(learning.WAITING))
    asked = [name for _ in range(learning.WAITING // learning.AT_ONCE) for name in state.next()]
    assert len(set(asked)) == learning.WAITING
    assert not state.wants("mine", -1, 0.0)
    for name in asked:
        state.done(name, 0.0, found=True, silent=False)


class Held(ModelPeer):
    """Answers questions about models when the test says so."""

    def __init__(self) -> None:
        super().__init__({"m": {"1": FOUR}}, index=False)
        self.names: set[str] = set()
        self.answering = threading.Event()

    def _metadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.names.add(request.name)
        self.answering.wait(60)
        return super()._metadata(request, context)


def test_an_address_has_one_share_of_the_questions_whatever_its_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "LEARN_SECONDS", 0.3)
    peer = Held()
    with changing(peer) as (server, stub), contextlib.ExitStack() as connections:
        for i in range(12):
            with connections.enter_context(Stub(server.grpc)) as one, contextlib.suppress(grpc.RpcError):
                one.ask("ModelMetadata", name=f"x{i}")
        peer.answering.set()
        wait_until(lambda: answers(stub, "m"), "it to be learned")
        assert len(peer.names - {"m"}) <= learning.WAITING_OF_PEER


def test_no_more_models_are_learned_than_there_is_room_for() -> None:
    state = Learning()
    for i in range(learning.MOST_LEARNED):
        assert state.wants(str(i), i, 0.0)
        state.done(str(i), 0.0, found=True, silent=False)
    assert not state.wants("one more", 1, 0.0)


def test_what_was_learned_outlives_a_change_of_another_model() -> None:
    peer = without_index("m", "n")
    with changing(peer, health__refresh="100ms") as (_, stub):
        for name in ("m", "n"):
            wait_until(lambda name=name: answers(stub, name), "it to be learned")  # type: ignore[misc]
        peer.models["n"] = {"1": ("FP32", [-1, 5])}
        five: Any = request("n", {"x": np.ones((1, 5), np.float32)})
        wait_until(lambda: stub.infer_call.future(five).exception() is None, "the change")
        assert answers(stub, "m")
