"""Shadows: other versions and other servers that get a model's requests, and whose answers no client sees."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from modelward.access import keys
from modelward.server import pressure
from modelward.shadow.samples import FOLDER, kept, read
from modelward.upstream import connector, endpoint_managers
from modelward_native.request.server import Server
from modelward_native.shadow.shadows import Slices, shadows
from tests import models
from tests.e2e.h2client import framed
from tests.e2e.messages import RESPONSE, TIMEOUT, Stub, arrays, refused, request
from tests.e2e.raw_upstream import Request, answer_message, raw_upstream
from tests.support import EmbeddedServer, reloadable, serving, wait_until

REQUESTS = 40


def ask_add(value: float = 3, rows: int = 1, **options: Any) -> Any:
    return request("add", {"x": np.full((rows, 4), value, np.float32)}, **options)


@pytest.fixture(autouse=True)
def time_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else this machine does, it is not taken for want of time: every request is mirrored."""
    monkeypatch.setattr(pressure, "LOOP_BUSY", inf)
    monkeypatch.setattr(pressure, "STARVED", inf)


def figures(server: EmbeddedServer, primary: str = "1", shadow: str = "2", model: str = "add") -> Slices:
    return shadows(server.application.region)[model, primary, shadow]


def native(server: EmbeddedServer) -> Server:
    assert server.application.server is not None
    return server.application.server


def ended(server: EmbeddedServer, **of: str) -> int:
    """Pairs that have ended, and requests that were not mirrored."""
    sums = figures(server, **of).total.sums()
    pairs = sum(sums[key] for key in ("compared", "primary_failed", "shadow_failed", "both_failed"))
    return int(pairs) + sum(sums["dropped"].values())


def after(server: EmbeddedServer, count: int, **of: str) -> Slices:
    wait_until(lambda: ended(server, **of) >= count, f"{count} pairs")
    assert ended(server, **of) == count
    return figures(server, **of)


def two_versions(first: bytes, second: bytes) -> dict[str, bytes | dict[int, bytes]]:
    return {"add": {1: first, 2: second}}


OF_TWO = {"models__add__versions": '{"1": 1}'}


@pytest.fixture
def alike(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Version 1 answers, and version 2, which gives the same, shadows it."""
    root = tmp_path / "models"
    versions = two_versions(models.add_one(), models.add_one())
    with serving(root, versions, models__add__shadow="{version: 2, warmup: 0}", **OF_TWO) as server:
        yield server


def test_a_shadow_gets_every_request_and_its_answers_are_compared(alike: EmbeddedServer) -> None:
    with Stub(alike.grpc) as stub:
        for value in range(REQUESTS):
            answer = stub.infer(ask_add(value, rows=1 + value % 3, typed=value % 2 == 0))
            assert (answer.model_version, arrays(answer)["y"][0, 0]) == ("1", value + 1)
    sums = after(alike, REQUESTS).total.sums()
    assert (sums["compared"], sums["disagreeing"], sum(sums["dropped"].values())) == (REQUESTS, 0, 0)
    assert sums["labels"] > 0
    assert sum(sums["latency_shadow"]) == sum(sums["latency_primary"]) == REQUESTS


def test_outputs_that_were_asked_for_are_what_is_compared(tmp_path: Path) -> None:
    versions: Any = {"mlp": {1: models.mlp(seed=1), 2: models.mlp(seed=1)}}
    settings = {"models__mlp__shadow": "{version: 2, warmup: 0}", "models__mlp__versions": '{"1": 1}'}
    with serving(tmp_path, versions, **settings) as server, Stub(server.grpc) as stub:
        rows = np.random.default_rng(0).normal(size=(5, 30)).astype(np.float32)
        stub.infer(request("mlp", {"input": rows}, outputs=["probabilities"]))
        sums = after(server, 1, model="mlp").total.sums()
    assert (sums["extra"], sums["missing"], sums["labels"], sums["labels_differ"]) == (0, 0, 5, 0)


def test_a_shadow_that_answers_differently_disagrees_and_its_answers_reach_no_client(tmp_path: Path) -> None:
    flipped = models.mlp(seed=2)
    versions: Any = {"mlp": {1: models.mlp(seed=1), 2: flipped}}
    settings = {"models__mlp__shadow": "{version: 2, warmup: 0}", "models__mlp__versions": '{"1": 1}'}
    state = tmp_path / "state"
    rows = np.random.default_rng(0).normal(size=(REQUESTS, 30)).astype(np.float32)
    with serving(tmp_path / "models", versions, state=state, **settings) as server, Stub(server.grpc) as stub:
        ours = [arrays(stub.infer(request("mlp", {"input": rows[i : i + 1]})))["label"][0] for i in range(REQUESTS)]
        sums = after(server, REQUESTS, model="mlp").total.sums()
        theirs = [
            arrays(stub.infer(request("mlp", {"input": rows[i : i + 1]}, version="2")))["label"][0]
            for i in range(REQUESTS)
        ]
        (*_, oldest) = wait_until(lambda: kept(state / FOLDER, "mlp"), "samples")
    differ = sum(a != b for a, b in zip(ours, theirs, strict=True))
    assert 0 < differ < REQUESTS
    assert sums["disagreeing"] == differ
    sample, first = read(oldest.file), next(i for i in range(REQUESTS) if ours[i] != theirs[i])
    assert (sample.model, sample.shadow_name, sample.disagreement) == ("mlp", "2", 1.0)
    assert sample.request == request("mlp", {"input": rows[first : first + 1]}).SerializeToString()
    labels = [arrays(RESPONSE.FromString(answer))["label"][0] for answer in (sample.primary, sample.shadow)]
    assert labels == [ours[first], theirs[first]]


def test_nothing_is_written_of_a_shadow_without_samples(tmp_path: Path) -> None:
    versions: Any = {
        "add": {1: models.add_one(columns=1), **dict.fromkeys((2, 3), models.identity(shape=("batch", 1)))}
    }
    shadows_of_add = "[{version: 2, warmup: 0, samples: false}, {version: 3, warmup: 0}]"
    asked, state = request("add", {"x": np.zeros((1, 1), np.float32)}), tmp_path / "state"
    with (
        serving(tmp_path / "models", versions, state=state, models__add__shadow=shadows_of_add, **OF_TWO) as server,
        Stub(server.grpc) as stub,
    ):
        stub.infer(asked)
        assert after(server, 1).total.sums()["disagreeing"] == 1
        stub.infer(asked)  # what was there to be written before this is taken with it, or was before
        wait_until(lambda: len(kept(state / FOLDER, "add", "3")) == 2, "samples of the other shadow")
        assert kept(state / FOLDER, "add", "2") == []


def copies_and_others(server: EmbeddedServer, key: str = "") -> int:
    """Sends REQUESTS that are marked as copies and one that is not; the pairs that come of them."""
    caller = [("x-api-key", key)] if key else []
    with Stub(server.grpc) as stub:
        for _ in range(REQUESTS):
            stub.infer(ask_add(3), metadata=[("modelward-shadow", "1"), *caller])
        messages = iter([ask_add(i) for i in range(REQUESTS)])
        metadata = (("modelward-shadow", "1"), *caller)
        assert len(list(stub.stream_call(messages, timeout=TIMEOUT, metadata=metadata))) == REQUESTS
        stub.infer(ask_add(), metadata=caller)
    wait_until(lambda: not native(server).mirroring, "all pairs")
    return ended(server)


SLOW_ROW = {"x": np.ones((1, 4), np.float32)}
SHADOW_OF_ADD = {"models__add__shadow": "{version: 2, warmup: 0}", **OF_TWO}


@pytest.mark.parametrize("trusted", [True, False], ids=["by a trusted proxy", "by a stranger"])
def test_a_request_that_says_it_is_a_copy_is_believed_only_by_those_who_may_say_so(
    tmp_path: Path, *, trusted: bool
) -> None:
    proxies = {"trusted_proxies": ["127.0.0.1"]} if trusted else {}
    versions = two_versions(models.add_one(), models.add_one())
    with serving(tmp_path / "models", versions, **proxies, **SHADOW_OF_ADD) as server:
        assert copies_and_others(server) == (1 if trusted else 2 * REQUESTS + 1)


def test_an_identity_may_mark_copies_where_a_rule_grants_it(tmp_path: Path) -> None:
    made = {name: keys.make(name) for name in ("shadowing", "client")}
    with keys.editing(tmp_path / "keys.json") as kept_keys:
        kept_keys.update({key.id: key for key, _ in made.values()})
    rules = [
        {"identity": "shadowing", "models": "add", "methods": ["infer", "stream", "shadow"]},
        {"identity": "client", "models": "add"},
    ]
    access = {"keys": str(tmp_path / "keys.json"), "rules": rules}
    versions = two_versions(models.add_one(), models.add_one())
    with serving(tmp_path / "models", versions, access=access, **SHADOW_OF_ADD) as server:
        assert copies_and_others(server, made["shadowing"][1]) == 1
        assert copies_and_others(server, made["client"][1]) == 1 + 2 * REQUESTS + 1


def test_requests_with_deadlines_that_the_version_hardly_keeps_are_no_pairs(tmp_path: Path) -> None:
    """Only those that it answers quickly would make one, and the shadow would look slow."""
    slow = models.slow_loop(1000)
    with (
        serving(tmp_path / "models", {"add": {1: slow, 2: slow}}, **SHADOW_OF_ADD) as server,
        Stub(server.grpc) as stub,
    ):
        took = []
        for _ in range(5):
            began = time.monotonic()
            stub.infer(request("add", SLOW_ROW))
            took.append(time.monotonic() - began)
        assert after(server, 5).total.sums()["compared"] == 5
        hardly = {"timeout": int(1e6 * min(took))}  # the quickest answer: no busy moment counts
        answered = 0

        def in_time() -> int:
            nonlocal answered
            with contextlib.suppress(grpc.RpcError):
                answered += bool(stub.infer(request("add", SLOW_ROW, parameters=hardly)))
            return answered

        wait_until(in_time, "an answer that is in time")
        wait_until(lambda: not native(server).mirroring, "all pairs")
        sums = figures(server).total.sums()
        assert sums["compared"] == 5
        assert sums["dropped"]["deadline"] >= answered > 0


@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "stream"])
def test_messages_of_a_stream_are_mirrored_too(alike: EmbeddedServer, streaming: bool) -> None:
    with Stub(alike.grpc) as stub:
        if streaming:
            assert len(list(stub.stream(ask_add(i) for i in range(REQUESTS)))) == REQUESTS
        else:
            assert [f.result() for f in [stub.future(ask_add(i)) for i in range(REQUESTS)]]
    sums = after(alike, REQUESTS).total.sums()
    assert (sums["compared"], sums["disagreeing"], sums["unreadable_answers"]) == (REQUESTS, 0, 0)


def test_failures_of_either_side_are_told_apart(tmp_path: Path) -> None:
    versions = two_versions(models.add_one_below(100), models.add_one_below(50))
    with (
        serving(tmp_path, versions, models__add__shadow="{version: 2, warmup: 0}", **OF_TWO) as server,
        Stub(server.grpc) as stub,
    ):
        assert arrays(stub.infer(ask_add(60)))["y"][0, 0] == 61
        assert refused(stub, ask_add(200)).code == grpc.StatusCode.INTERNAL
        stub.infer(ask_add(3))
        sums = after(server, 3).total.sums()
    found = (sums["compared"], sums["shadow_failed"], sums["primary_failed"], sums["both_failed"])
    assert found == (1, 1, 0, 1)


def test_a_version_that_shadows_itself_agrees_with_itself(tmp_path: Path) -> None:
    with (
        serving(tmp_path, {"add": models.add_one()}, models__add__shadow="{version: 1, warmup: 3}") as server,
        Stub(server.grpc) as stub,
    ):
        for i in range(10):
            stub.infer(ask_add(i))
        wait_until(lambda: ended(server, shadow="1") == 7, "7 pairs after the warm-up")
        found = figures(server, shadow="1")
    assert found.warmed == 3
    assert found.total.sums()["disagreeing"] == 0


def test_a_share_of_requests_is_mirrored(tmp_path: Path) -> None:
    shadow = "[{version: 2, warmup: 0, fraction: 0.5}, {version: 1, warmup: 0}]"
    versions = two_versions(models.add_one(), models.add_one())
    with serving(tmp_path, versions, models__add__shadow=shadow, **OF_TWO) as server, Stub(server.grpc) as stub:
        for _ in range(400):
            stub.infer(ask_add())
        after(server, 400, shadow="1")
        wait_until(lambda: native(server).mirroring == 0, "the end of what is under way")
        assert 140 <= ended(server) <= 260


def test_an_upstream_shadow_gets_the_bytes_marked_and_without_the_clients_metadata(tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []

    def behave(asked: Request) -> None:
        seen.append(asked.headers)
        asked.answer(answer_message(np.full(4, 4, np.float32).tobytes()))

    with raw_upstream(behave) as upstream:
        shadow = f"{{upstreams: [{upstream.address}], warmup: 0}}"
        with (
            serving(tmp_path, {"add": models.add_one()}, models__add__shadow=shadow) as server,
            Stub(server.grpc) as stub,
        ):
            for _ in range(REQUESTS):
                stub.infer(ask_add(3), metadata=(("authorization", "Bearer secret"),))
            sums = after(server, REQUESTS, shadow=upstream.address).total.sums()
    assert (sums["compared"], sums["disagreeing"]) == (REQUESTS, 0)
    assert all(headers["modelward-shadow"] == "1" and "authorization" not in headers for headers in seen)


@pytest.mark.parametrize("how", ["frozen", "refusing", "garbage", "resetting", "closing"])
def test_a_shadow_that_is_broken_changes_nothing_for_clients(tmp_path: Path, how: str) -> None:
    def behave(asked: Request) -> None:
        match how:
            case "refusing":
                asked.headers_out((":status", "200"), ("grpc-status", "13"), end=True)
            case "garbage":
                asked.answer(framed(b"\xff" * 100))
            case "resetting":
                asked.reset(2)
            case "closing":
                asked.connection.close()

    with raw_upstream(behave) as upstream:
        shadow = f"{{upstreams: [{upstream.address}], warmup: 0, deadline: 200ms, concurrency: 8}}"
        with (
            serving(tmp_path, {"add": models.add_one()}, models__add__shadow=shadow) as server,
            Stub(server.grpc) as stub,
        ):
            answers = [arrays(stub.infer(ask_add(i)))["y"][0, 0] for i in range(REQUESTS)]
            sums = after(server, REQUESTS, shadow=upstream.address).total.sums()
            assert answers == [i + 1 for i in range(REQUESTS)]
            assert server.metric("modelward_requests_total", model="add", code="OK") == REQUESTS
    bad = sums["shadow_failed"] + sums["unreadable_answers"]
    assert bad > 0
    assert sums["primary_failed"] == 0
    assert bad + sum(sums["dropped"].values()) == REQUESTS


def test_a_shadow_that_runs_here_and_takes_too_long_is_given_up(tmp_path: Path) -> None:
    versions = two_versions(models.add_one(), models.slow_loop(10_000))  # some 100 ms for a row
    shadow = "{version: 2, warmup: 0, deadline: 10ms, concurrency: 4}"
    with (
        serving(tmp_path, versions, models__add__shadow=shadow, **OF_TWO) as server,
        Stub(server.grpc) as stub,
    ):
        assert [arrays(stub.infer(ask_add(i)))["y"][0, 0] for i in range(REQUESTS)] == [i + 1 for i in range(REQUESTS)]
        sums = after(server, REQUESTS).total.sums()
        wait_until(lambda: native(server).mirroring == 0, "the end of what is under way")
    assert sums["shadow_failed"] > 0
    assert sums["shadow_failed"] + sums["dropped"]["places"] == REQUESTS


PATIENT_SECONDS = 60.0  # that a start waits for an upstream of the model itself


def test_a_start_does_not_wait_for_a_shadow_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector, "CONNECT_SECONDS", PATIENT_SECONDS)
    monkeypatch.setattr(endpoint_managers, "CONNECT_SECONDS", PATIENT_SECONDS)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts; no server answers
        shadow = f"{{upstreams: ['127.0.0.1:{silent.getsockname()[1]}']}}"
        began = time.monotonic()
        with (
            serving(tmp_path, {"add": models.add_one()}, models__add__shadow=shadow) as server,
            Stub(server.grpc) as stub,
        ):
            assert time.monotonic() - began < PATIENT_SECONDS
            stub.infer(ask_add())


def test_no_more_requests_than_its_places_are_with_a_shadow(tmp_path: Path) -> None:
    go = threading.Event()

    def behave(asked: Request) -> None:
        go.wait(60)
        asked.answer()

    with raw_upstream(behave) as upstream:
        shadow = f"{{upstreams: [{upstream.address}], warmup: 0, deadline: 60s, concurrency: 4}}"
        with (
            serving(tmp_path, {"add": models.add_one()}, models__add__shadow=shadow) as server,
            Stub(server.grpc) as stub,
        ):
            for i in range(REQUESTS):
                stub.infer(ask_add(i))
            assert figures(server, shadow=upstream.address).total.sums()["dropped"]["places"] == REQUESTS - 4
            go.set()
            sums = after(server, REQUESTS, shadow=upstream.address).total.sums()
    assert sums["compared"] == 4


def test_a_reload_keeps_what_is_known_of_a_shadow_that_stays(tmp_path: Path) -> None:
    root = tmp_path / "models"
    versions = two_versions(models.add_one(), models.add_one())
    with (
        reloadable(root, versions, models__add__shadow="{version: 2, warmup: 0}", **OF_TWO) as server,
        Stub(server.grpc) as stub,
    ):
        for i in range(REQUESTS):
            stub.infer(ask_add(i))
        after(server, REQUESTS)
        server.reload(models__add__shadow="{version: 2, warmup: 0, concurrency: 8}")
        stub.infer(ask_add())
        after(server, REQUESTS + 1)
        server.reload(models__add__shadow="{version: 2, warmup: 0, tolerance: 0.5}")
        stub.infer(ask_add())
        after(server, 1)
        server.reload(models__add__shadow=None)
        stub.infer(ask_add())
        wait_until(lambda: not shadows(server.application.region), "the end of the last generation with a shadow")


def test_a_shadow_of_a_version_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="the repository has no version 7 of model add"):  # noqa: SIM117
        with serving(tmp_path, {"add": models.add_one()}, models__add__shadow="{version: 7}"):
            pass


def test_a_shadow_that_takes_other_inputs_is_refused(tmp_path: Path) -> None:
    versions = two_versions(models.add_one(), models.two_inputs())
    with pytest.raises(Exception, match="version 2 cannot shadow it: it takes a FP32"):  # noqa: SIM117
        with serving(tmp_path, versions, models__add__shadow="{version: 2}", **OF_TWO):
            pass
