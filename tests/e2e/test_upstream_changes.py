"""Models that change on their upstream while requests come: what is served follows, and nothing under way is lost."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import log2
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from modelward.problem import ProblemsFound
from modelward.upstream import refresh
from tests.e2e.messages import Array, Stub, arrays, refused, request
from tests.e2e.model_peer import ModelPeer
from tests.e2e.test_relay import in_front, listening
from tests.models import add_one, repository
from tests.support import EmbeddedServer, Server, reloadable, serve_process, wait_until

FOUR, FIVE = ("FP32", [-1, 4]), ("FP32", [-1, 5])
NEVER = "1h"


def row(columns: int) -> Array:
    return np.ones((1, columns), np.float32)


@contextlib.contextmanager
def behind(
    peer: ModelPeer, *, own: bool = False, **settings: Any
) -> Iterator[tuple[str, grpc.Server, EmbeddedServer, Stub]]:
    """The peer, and Modelward in front of it, which serves its every model, or with `own` its model m."""
    with listening(peer) as (address, upstream):
        key = "models__m__upstreams" if own else "upstreams"
        with in_front(**{key: f"[{address}]"}, **settings) as server, Stub(server.grpc) as stub:
            yield address, upstream, server, stub


@contextlib.contextmanager
def changing(peer: ModelPeer, **options: Any) -> Iterator[tuple[EmbeddedServer, Stub]]:
    with behind(peer, **options) as (_, _, server, stub):
        yield server, stub


def answers(stub: Stub, columns: int, **options: Any) -> bool:
    try:
        return bool(stub.infer(request("m", {"x": row(columns)}, **options)).outputs)
    except grpc.RpcError:
        return False


def test_a_request_for_a_signature_that_is_new_on_the_upstream_is_refused_only_until_it_is_noticed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    with caplog.at_level(logging.WARNING), changing(peer, health__refresh=NEVER) as (server, stub):
        assert answers(stub, 4)
        peer.models["m"] = {"1": FIVE}
        assert refused(stub, request("m", {"x": row(5)})).reason == "INVALID_INPUT"
        wait_until(lambda: answers(stub, 5), "the new signature")
        assert refused(stub, request("m", {"x": row(4)})).reason == "INVALID_INPUT"
        assert server.metric("modelward_upstream_changes_total", kind="signature") == 1
        assert "takes 'x' FP32[-1, 5] and gives 'y' FP32[-1, 5], before version 1 takes 'x' FP32[-1, 4]" in caplog.text


def test_an_upstreams_own_refusal_leads_to_the_question_what_it_takes_now() -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    with changing(peer, own=True, health__refresh=NEVER) as (server, stub):
        peer.models["m"] = {"1": FIVE}
        with pytest.raises(grpc.RpcError, match="INVALID_ARGUMENT"):
            stub.infer(request("m", {"x": row(4)}))
        wait_until(lambda: server.metric("modelward_upstream_changes_total", kind="signature") == 1, "the change")
        assert answers(stub, 5)


def test_new_models_and_versions_are_served_when_they_are_first_asked_for() -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    with changing(peer, health__refresh=NEVER) as (server, stub):
        peer.models = {"m": {"1": FOUR, "2": FOUR}, "n": {"1": FOUR}}
        assert refused(stub, request("m", {"x": row(4)}, version="2")).reason == "UNKNOWN_VERSION"
        wait_until(lambda: answers(stub, 4, version="2"), "version 2")
        assert refused(stub, request("n", {"x": row(4)})).reason == "UNKNOWN_MODEL"
        wait_until(lambda: stub.ask("ModelReady", name="n").ready, "model n")
        assert stub.infer(request("n", {"x": row(4)})).model_name == "n"
        assert server.metric("modelward_upstream_changes_total", kind="versions") == 1
        assert server.metric("modelward_upstream_changes_total", kind="added") == 1


def test_a_model_that_is_unloaded_is_gone_and_one_that_the_configuration_names_is_not_ready() -> None:
    peer = ModelPeer({"m": {"1": FOUR}, "n": {"1": FOUR}})
    with changing(peer, models__m__deadline="10s", health__refresh="100ms") as (_, stub):
        assert stub.ask("ModelReady", name="m").ready and stub.ask("ModelReady", name="n").ready
        peer.models = {"other": {"1": FOUR}}
        wait_until(lambda: not stub.ask("ModelReady", name="m").ready, "m to be unready")
        wait_until(lambda: refused(stub, request("n", {"x": row(4)})).reason == "UNKNOWN_MODEL", "n to be gone")
        index = {model.name: model.state for model in stub.ask("RepositoryIndex").models}
        assert index == {"m": "UNAVAILABLE", "other": "READY"}
        peer.models = {"m": {"1": FOUR}}
        wait_until(lambda: stub.ask("ModelReady", name="m").ready, "m to be back")
        assert answers(stub, 4)


def test_the_fallback_chain_answers_for_a_model_that_is_unloaded() -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    settings = {"models__m__fallback": "[{value: {y: [[7, 7, 7, 7]]}}]", "health__refresh": NEVER}
    with changing(peer, own=True, **settings) as (server, stub):
        peer.models = {}
        answer = stub.infer(request("m", {"x": row(4)}))
        assert answer.parameters["modelward_fallback"].string_param == "failure"
        with pytest.raises(grpc.RpcError, match="unknown model m"):
            stub.infer(request("m", {"x": row(4)}, version="1"))
        wait_until(lambda: server.metric("modelward_upstream_changes_total", kind="unavailable") == 1, "the news")
        assert stub.ask("ModelReady", name="m").ready, "as long as a fallback answers"
        assert [model.state for model in stub.ask("RepositoryIndex").models] == ["READY"]


def test_an_upstream_that_comes_back_is_asked_again() -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    with behind(peer, own=True, health__refresh=NEVER) as (address, first, server, stub):
        first.stop(None).wait()
        peer.models["m"] = {"1": FIVE}
        again = grpc.server(ThreadPoolExecutor(4), handlers=[peer])
        assert again.add_insecure_port(address)
        again.start()
        try:
            wait_until(lambda: server.metric("modelward_upstream_changes_total", kind="signature") == 1, "the change")
            assert answers(stub, 5)
        finally:
            again.stop(None).wait()


def test_a_change_that_the_configuration_does_not_fit_is_said_once_and_the_model_is_served_as_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = ModelPeer({"m": {"1": FOUR}, "n": {"1": FOUR}})
    fallback = {"models__m__fallback": "[{value: {y: [[7, 7, 7, 7]]}}]"}
    with caplog.at_level(logging.ERROR), changing(peer, health__refresh="100ms", **fallback) as (server, stub):
        peer.models = {"m": {"1": FIVE}, "n": {"1": FIVE}}
        wait_until(lambda: server.metric("modelward_upstream_changes_total", kind="refused") == 1, "the refusal")
        wait_until(lambda: server.metric("modelward_upstream_changes_total", kind="signature") == 1, "the other")
        before = peer.asked["RepositoryIndex"]
        wait_until(lambda: peer.asked["RepositoryIndex"] > before + 6, "more questions")
        assert caplog.text.count("model m has changed on its upstream; it is served as before") == 1
        assert refused(stub, request("m", {"x": row(5)})).reason == "INVALID_INPUT"
        assert stub.infer(request("n", {"x": row(5)})).outputs


def most_questions(began: float) -> float:
    """Since that time: the first pause doubles with each, and one more was on its way."""
    return 2 + log2(1 + (time.monotonic() - began) / refresh.FIRST_PAUSE)


def test_requests_that_are_wrong_cause_few_questions() -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    with changing(peer, health__refresh=NEVER) as (server, stub):
        before, began = server.metric("modelward_upstream_refreshes_total"), time.monotonic()
        for _ in range(2000):
            refused(stub, request("m", {"x": row(3)}))
        wait_until(lambda: server.metric("modelward_upstream_refreshes_total") > before, "a question")
        assert server.metric("modelward_upstream_refreshes_total") <= before + most_questions(began)


def test_many_questions_for_the_index_cause_few() -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    with changing(peer, health__refresh=NEVER) as (_, stub):
        stub.ask("RepositoryIndex")
        before, began = peer.asked["RepositoryIndex"], time.monotonic()
        for _ in range(200):
            assert [model.name for model in stub.ask("RepositoryIndex").models] == ["m"]
        assert peer.asked["RepositoryIndex"] <= before + most_questions(began)


def test_requests_under_way_end_as_they_began() -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    entered, go = threading.Event(), threading.Event()

    def slowly(message: Any, context: grpc.ServicerContext) -> Any:
        answer = peer.held(message, context)
        entered.set()
        assert go.wait(20)
        return answer

    with changing(peer, health__refresh="100ms") as (server, stub):
        peer.infer = slowly
        call = stub.future(request("m", {"x": row(4)}))
        assert entered.wait(10)
        peer.models["m"] = {"1": FIVE}
        wait_until(lambda: server.metric("modelward_upstream_changes_total", kind="signature") == 1, "the change")
        go.set()
        assert call.result().outputs


def test_an_upstream_that_cannot_be_asked_changes_nothing() -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    with behind(peer, health__refresh="100ms") as (_, upstream, server, stub):
        upstream.stop(None).wait()
        wait_until(lambda: server.metric("modelward_upstream_refreshes_total", result="failed") > 0, "a failure")
        wait_until(lambda: not stub.ask("ModelReady", name="m").ready, "the model to be not ready")
        assert [model.name for model in stub.ask("RepositoryIndex").models] == ["m"]
        assert refused(stub, request("m", {"x": row(4)})).reason == "NO_UPSTREAM"
        assert refused(stub, request("m", {"x": row(3)})).reason == "INVALID_INPUT"
        assert server.metric("modelward_upstream_changes_total") == 0


def test_one_upstream_of_two_that_lacks_a_model_does_not_make_it_unready() -> None:
    whole, lacking = ModelPeer({"m": {"1": FOUR}}), ModelPeer({"other": {"1": FOUR}})
    with listening(lacking) as (first, _), listening(whole) as (second, _):
        upstreams = f"[{first}, {second}]"
        with in_front(models__m__upstreams=upstreams, health__refresh="100ms") as server, Stub(server.grpc) as stub:
            wait_until(lambda: server.metric("modelward_upstream_refreshes_total", result="unchanged") > 2, "questions")
            assert stub.ask("ModelReady", name="m").ready


def test_status_of_a_whole_server_shows_versions_that_are_new(tmp_path: Path) -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    with listening(peer) as (address, _):
        sets = [f"upstreams=[{address}]", "health.refresh=100ms", f"state={tmp_path}", "models.m.versions={1: 1, 2: 1}"]
        arguments = [part for each in sets for part in ("--set", each)]
        with serve_process(*arguments) as server, Stub(server.grpc) as stub:
            peer.models["m"] = {"1": FOUR, "2": FOUR}
            wait_until(lambda: answers(stub, 4, version="2"), "version 2")
            wait_until(lambda: share_of(server, "2") == 0.5, "the supervisor to know")


def share_of(server: Server, version: str) -> float:
    return server.metric("modelward_version_share", model="m", version=version)


def test_a_model_of_the_repository_runs_here_though_an_upstream_lists_its_name(tmp_path: Path) -> None:
    peer = ModelPeer({"add": {"1": FOUR}, "theirs": {"1": FOUR}, "late": {"1": FOUR}})
    with (
        listening(peer) as (address, _),
        reloadable(tmp_path, {"add": add_one()}, upstreams=f"[{address}]") as server,
        Stub(server.grpc) as stub,
    ):
        assert values(stub, "add").tolist() == [[2, 2, 2, 2]]  # the model adds one, the peer does not
        assert values(stub, "theirs").tolist() == [[1, 1, 1, 1]]
        assert values(stub, "late").tolist() == [[1, 1, 1, 1]]
        repository(tmp_path, {"late": add_one()})
        server.reload(upstreams=f"[{address}]")
        assert values(stub, "late").tolist() == [[2, 2, 2, 2]]
        assert values(stub, "theirs").tolist() == [[1, 1, 1, 1]]


def test_a_version_that_is_here_and_on_its_upstream_is_a_problem(tmp_path: Path) -> None:
    peer = ModelPeer({"add": {"1": FOUR}})
    with listening(peer) as (address, _), reloadable(tmp_path, {"add": add_one()}) as server, Stub(server.grpc) as stub:
        with pytest.raises(ProblemsFound, match="model add version 1: the version is in the repository and on an ups"):
            server.reload(models__add__upstreams=f"[{address}]")
        peer.models["add"] = {"2": FOUR}
        server.reload(models__add__upstreams=f"[{address}]")
        assert values(stub, "add", "1").tolist() == [[2, 2, 2, 2]]
        assert values(stub, "add", "2").tolist() == [[1, 1, 1, 1]]


def values(stub: Stub, model: str, version: str = "") -> Any:
    return arrays(stub.infer(request(model, {"x": row(4)}, version=version)))["y"]
