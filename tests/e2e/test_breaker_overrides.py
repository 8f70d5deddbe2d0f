"""Breakers that operators hold open or closed on a running server of two workers, in front of two small upstreams."""

from __future__ import annotations

import json
import queue
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from tests.commands import modelward
from tests.e2e.messages import Stub, parameters, refused, request
from tests.e2e.model_peer import ModelPeer
from tests.e2e.test_audit import records
from tests.e2e.test_operators import told
from tests.e2e.test_relay import listening
from tests.support import ServerProcess, serve_process, wait_until

ROW = np.ones((1, 4), np.float32)
MODELS = ("a", "b", "guarded")
KEPT_OUT = "an operator keeps requests from the upstream servers of this model"


@dataclass
class Upstream:
    """requests: inference requests that have come, by model. failing: it refuses them. slow: seconds that it takes, by
    which others are preferred to it."""

    peer: ModelPeer = field(default_factory=lambda: ModelPeer({name: {"1": ("FP32", [-1, 4])} for name in MODELS}))
    requests: Counter[str] = field(default_factory=Counter)
    failing: bool = False
    slow: float = 0.0
    address: str = ""

    def __post_init__(self) -> None:
        self.peer.infer = self.infer

    def infer(self, asked: Any, context: grpc.ServicerContext) -> Any:
        self.requests[asked.model_name] += 1
        time.sleep(self.slow)
        if self.failing:
            context.abort(grpc.StatusCode.INTERNAL, "it fails")
        return self.peer.held(asked, context)


@dataclass
class Site:
    first: Upstream
    second: Upstream
    server: ServerProcess
    audit: Path

    @property
    def at(self) -> tuple[str, str]:
        return "--admin", self.server.admin

    def breaker(self, *words: str) -> str:
        ended = modelward("breaker", *words, *self.at)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def ask(self, model: str, times: int = 12) -> tuple[int, int, int]:
        """Requests that were answered, and those that came to either upstream; each on a connection of its own: workers
        take turns."""
        before = self.first.requests[model], self.second.requests[model]
        answered = 0
        for _ in range(times):
            with Stub(self.server.grpc) as stub:
                try:
                    answered += not stub.infer(request(model, {"x": ROW})).parameters
                except grpc.RpcError as error:
                    assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL)
        return answered, self.first.requests[model] - before[0], self.second.requests[model] - before[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, first, second = tmp_path_factory.mktemp("site"), Upstream(), Upstream(slow=0.005)
    with listening(first.peer) as (one, _), listening(second.peer) as (two, _):
        first.address, second.address = one, two
        models = {name: {"upstreams": [one, two]} for name in MODELS}
        models["guarded"]["fallback"] = [{"value": {"y": [[7, 7, 7, 7]]}}]  # type: ignore[list-item]
        file = folder / "modelward.yaml"
        written = {"models": models, "workers": 2, "audit": {"folder": str(folder / "audit")}, "watch": False}
        file.write_text(json.dumps(written))
        with serve_process("--config", file) as server:
            yield Site(first, second, server, folder / "audit")


@pytest.fixture(autouse=True)
def given_back(site: Site) -> Iterator[None]:
    """No test leaves an override to the next."""
    yield
    site.first.failing = False
    for model in {each["model"] for each in told("breaker", "list", *site.at)}:
        site.breaker("auto", model)


def test_requests_of_one_model_are_kept_from_one_upstream_until_it_is_given_back(site: Site) -> None:
    said = site.breaker("open", "a", site.first.address, "--reason", "it answers slowly", "--for", "10m")
    assert f"a, {site.first.address}: held open until" in said
    assert site.ask("a") == (12, 0, 12)
    assert site.ask("b", 40)[1] > 0, "the same connections, and another model"
    (listed,) = told("breaker", "list", *site.at)
    assert (listed["model"], listed["endpoint"], listed["state"]) == ("a", site.first.address, "open")
    assert "breaker overrides" in modelward("status", *site.at).stdout
    labels = {"model": "a", "endpoint": site.first.address, "state": "open"}
    assert site.server.metric("modelward_upstream_breaker_override", **labels) == 1
    assert site.breaker("auto", "a") == "a: no breaker override any more\n"
    assert site.ask("a", 40)[1] > 0
    assert told("breaker", "list", *site.at) == []
    found = records(site.audit)
    asked, done = [record for record in found if record["verb"] == "breaker.open"][-2:]
    assert (asked["result"], done["result"], done["of"]) == ("asked", "done", found.index(asked))
    assert (asked["reason"], asked["model"]) == ("it answers slowly", "a")
    assert (asked["before"], done["after"]["breakers"][site.first.address]["state"]) == ({"breakers": {}}, "open")
    events = [each for each in told("status", *site.at)["events"] if each["what"] == "breaker open"]
    assert events[-1]["why"] == f"model a, upstream {site.first.address}: it answers slowly"


def test_a_model_without_upstreams_is_unavailable_and_fallbacks_answer_through_a_restart(site: Site) -> None:
    for model in ("a", "guarded"):
        site.breaker("open", model)
    assert modelward("restart", *site.at).returncode == 0
    assert site.ask("a") == (0, 0, 0)
    assert site.ask("b")[0] == 12
    with Stub(site.server.grpc) as stub:
        answer = refused(stub, request("a", {"x": ROW}))
        assert (answer.code, answer.message) == (grpc.StatusCode.UNAVAILABLE, KEPT_OUT)
        assert not stub.ask("ModelReady", name="a").ready
        assert parameters(stub.infer(request("guarded", {"x": ROW})))["modelward_fallback"] == "failure"
        assert stub.ask("ModelReady", name="guarded").ready
    site.breaker("close", "a", site.second.address)
    assert site.ask("a") == (12, 0, 12)
    for model in ("a", "guarded"):
        site.breaker("auto", model)
    assert site.ask("guarded")[0] == 12
    unknown = modelward("breaker", "auto", "a", *site.at)
    assert (unknown.returncode, "no override is set for it" in unknown.stderr) == (1, True)


def test_an_upstream_that_its_breaker_has_taken_out_is_used_while_it_is_held_closed(site: Site) -> None:
    site.first.failing = True
    ejections = "modelward_upstream_ejections_total"
    wait_until(
        lambda: site.ask("b", 20) and site.server.metric(ejections, endpoint=site.first.address) >= 2,
        "its ejection in both workers",
    )
    assert site.ask("b") == (12, 0, 12)
    site.breaker("close", "b", site.first.address, "--for", "500ms")
    assert site.ask("b", 4)[1] > 0
    wait_until(lambda: told("breaker", "list", *site.at) == [], "the end of its time")
    assert site.ask("b") == (12, 0, 12)
    assert any("no breaker override any more: the time is over" in line for line in site.server.output)


def test_a_stream_that_is_bound_to_an_upstream_is_refused_while_that_is_held_open(site: Site) -> None:
    messages: queue.Queue[Any] = queue.Queue()
    with Stub(site.server.grpc) as stub:
        stream = stub.stream(iter(messages.get, None))
        messages.put(request("guarded", {"x": ROW}))
        assert next(stream).infer_response.outputs
        site.breaker("open", "guarded", site.first.address)
        site.breaker("open", "guarded", site.second.address)
        before = site.first.requests + site.second.requests
        messages.put(request("guarded", {"x": ROW}))
        answer = next(stream)
        assert answer.error_message or parameters(answer.infer_response)["modelward_fallback"] == "failure"
        assert site.first.requests + site.second.requests == before
        messages.put(None)
