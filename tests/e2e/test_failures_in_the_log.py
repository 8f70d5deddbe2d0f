"""Failures are told: by whom, how often and in whose words, in few lines however many there are."""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme

from modelward.problem import ProblemsFound
from modelward.telemetry import summary
from tests.certificates import authority_file, write_pair
from tests.e2e.messages import Stub, refused, request
from tests.e2e.model_peer import ModelPeer
from tests.e2e.raw_upstream import Request, raw_upstream
from tests.e2e.test_relay import in_front, listening
from tests.e2e.test_undecoded import Plain, guarded
from tests.e2e.test_upstream_changes import FOUR, changing
from tests.support import EmbeddedServer, serve_process, wait_until

ROW = np.ones((1, 4), np.float32)
ONE_A_MINUTE = "{rate: 1/m, burst: 1}"


def failing(code: grpc.StatusCode, text: str) -> ModelPeer:
    peer = ModelPeer({"m": {"1": FOUR}})
    peer.infer = lambda message, context: context.abort(code, text)
    return peer


def lines(caplog: pytest.LogCaptureFixture, holding: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if holding in record.getMessage()]


def send(stub: Stub, times: int) -> None:
    for _ in range(times):
        with pytest.raises(grpc.RpcError):
            stub.infer(request("m", {"x": ROW}))


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "SECONDS", 1.0)


@pytest.mark.usefixtures("often")
def test_errors_of_an_upstream_are_told_in_its_words_and_its_breaker_too(caplog: pytest.LogCaptureFixture) -> None:
    peer = failing(grpc.StatusCode.INTERNAL, "cuda oom\n\x1b[31m" + "x" * 5000)
    with caplog.at_level(logging.INFO), changing(peer, own=True) as (server, stub):
        send(stub, 9)
        (line,) = wait_until(lambda: lines(caplog, "failed request"), "the failures")
        assert re.search(
            r"upstream 127.0.0.1:\d+: \d failed requests?, the last with INTERNAL: cuda oom\\n", line.getMessage()
        )
        assert line.levelno == logging.WARNING
        assert "\x1b" not in line.getMessage() and len(line.getMessage()) < 600
        assert line.fields["code"] == "INTERNAL"  # type: ignore[attr-defined]
        wait_until(lambda: lines(caplog, "is taken out by its breaker"), "the breaker")
        send(stub, 50)
        wait_until(lambda: lines(caplog, " in 10 s: "), "the next round")
        assert len(lines(caplog, "failed request")) == 1, "the next line waits ten seconds"
        assert server.metric("modelward_upstream_failures_total") >= 5


def test_a_breaker_that_closes_is_told(caplog: pytest.LogCaptureFixture) -> None:
    peer = failing(grpc.StatusCode.INTERNAL, "broken")
    breaker = "{consecutive_failures: 2, ejection: 1200ms}"
    with caplog.at_level(logging.INFO), changing(peer, own=True, breaker=breaker) as (_, stub):
        send(stub, 2)
        wait_until(lambda: lines(caplog, "is taken out by its breaker"), "it to open")
        peer.infer = peer.held
        wait_until(lambda: lines(caplog, "is tried with one request"), "it to be half-open")
        assert stub.infer(request("m", {"x": ROW})).outputs
        wait_until(lambda: lines(caplog, "works again: its breaker is closed"), "it to close")


def test_answers_that_are_none_are_told() -> None:
    def behave(asked: Request) -> None:
        asked.headers_out((":status", "503"), ("content-type", "text/html"), end=True)

    with raw_upstream(behave) as upstream, in_front(models__add__upstreams=f"[{upstream.address}]") as server:
        with Stub(server.grpc) as stub:
            assert refused(stub, request("add", {"x": ROW})).reason == "BACKEND_FAILED"
        (endpoint,) = server.application.upstreams
        # the log may have taken it already
        seen = server.application.serving.events.faults._seen.get(endpoint)
        assert endpoint.take_failures() == (1, -1, "HTTP status 503") or (seen and seen.text == "HTTP status 503")


@pytest.mark.usefixtures("often")
def test_refusals_are_summed_up_for_each_model(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO),
        changing(ModelPeer({"m": {"1": FOUR}}), models__m__limit=ONE_A_MINUTE) as (_, stub),
    ):
        stub.infer(request("m", {"x": ROW}))
        send(stub, 200)
        (first, *more) = wait_until(lambda: lines(caplog, "MODEL_LIMIT"), "the summary")
        assert re.search(r"model m: \d+ requests refused in 10 s: \d+ MODEL_LIMIT", first.getMessage())
        assert first.levelno == logging.WARNING
        assert len(more) <= 1, "a line a round"


def test_a_server_writes_json_when_it_is_told_to(tmp_path: Any) -> None:
    peer = failing(grpc.StatusCode.INTERNAL, "cuda oom")
    with listening(peer) as (address, _):
        sets = [f"models.m.upstreams=[{address}]", "log={format: json, level: info}", f"state={tmp_path}"]
        with serve_process(*(part for each in sets for part in ("--set", each))) as server, Stub(server.grpc) as stub:
            send(stub, 3)
            found = wait_until(lambda: [line for line in server.output if "cuda oom" in line], "the line")
            line = json.loads(found[0])
            assert (line["level"], line["logger"], line["worker"]) == ("warning", "modelward.upstream", 0)
            assert line["fields"]["code"] == "INTERNAL" and line["fields"]["text"] == "cuda oom"
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
            logged = [json.loads(each) for each in server.output]
            assert all({"time", "level", "logger", "message", "fields"} <= each.keys() for each in logged), "READY too"


# ---- an upstream that refuses us


DENIED, NAMELESS = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED
OURS = "the upstream server refused this proxy's credentials, not yours"
ANONYMOUS = {"access__rules": [{"anonymous": True, "models": "*"}]}


@contextlib.contextmanager
def with_our_certificate(peer: ModelPeer, folder: Path, **settings: Any) -> Iterator[tuple[EmbeddedServer, Stub]]:
    """The peer asks for a client certificate, and Modelward in front of it shows one."""
    authority = trustme.CA()
    pair, ca = write_pair(authority.issue_cert("127.0.0.1"), folder, "pair"), authority_file(authority, folder / "ca")
    key, certificate, root = (file.read_bytes() for file in (pair.key, pair.certificate, ca))
    upstream = grpc.server(ThreadPoolExecutor(4), handlers=[peer])
    credentials = grpc.ssl_server_credentials([(key, certificate)], root, require_client_auth=True)
    port = upstream.add_secure_port("127.0.0.1:0", credentials)
    upstream.start()
    tls = {"ca": str(ca), "certificate": str(pair.certificate), "key": str(pair.key)}
    try:
        with (
            in_front(models__m__upstreams=f"[127.0.0.1:{port}]", models__m__upstream_tls=tls, **settings) as server,
            Stub(server.grpc) as stub,
        ):
            yield server, stub
    finally:
        upstream.stop(None).wait()


@pytest.mark.parametrize("code", [DENIED, NAMELESS])
def test_an_upstream_that_refuses_our_certificate_is_the_hops_failure(
    code: grpc.StatusCode, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    peer = failing(code, "this identity may not call this method")
    with caplog.at_level(logging.WARNING), with_our_certificate(peer, tmp_path) as (server, stub):
        refusal = refused(stub, request("m", {"x": ROW}))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_CREDENTIALS")
        assert refusal.message == OURS
        assert server.metric("modelward_upstream_failures_total") == 1
        assert server.metric("modelward_refusals_total", reason="UPSTREAM_CREDENTIALS") == 1
        wait_until(lambda: lines(caplog, f"{code.name}: this identity may not call this method"), "the line")
        for _ in range(20):  # a client may have caused it by sending no credential: that is no evidence
            assert refused(stub, request("m", {"x": ROW})).reason == "UPSTREAM_CREDENTIALS"
        assert server.metric("modelward_upstream_ejections_total") == 0


@pytest.mark.parametrize("code", [DENIED, NAMELESS])
def test_a_client_without_the_credential_that_an_upstream_wants_of_it_is_told_so_in_its_words(
    code: grpc.StatusCode,
) -> None:
    """Nothing of ours was shown, and the client's authorization would have been passed on."""
    fallback = {"models__m__fallback": "[{value: {y: [[7, 7, 7, 7]]}}]"}
    with changing(failing(code, "send a token"), own=True, **fallback) as (server, stub):
        for _ in range(20):
            with pytest.raises(grpc.RpcError, match="send a token") as raised:
                stub.infer(request("m", {"x": ROW}))
            assert raised.value.code() is code
        with pytest.raises(grpc.RpcError, match="send a token") as raised:
            list(stub.stream([request("m", {"x": ROW})]))
        assert raised.value.code() is code
        assert server.metric("modelward_upstream_failures_total") == 0
        assert server.metric("modelward_upstream_ejections_total") == 0


@pytest.mark.parametrize(("status", "code"), [("401", NAMELESS), ("403", DENIED)])
def test_what_a_proxy_before_the_upstream_refuses_in_http_alone_is_the_same(status: str, code: grpc.StatusCode) -> None:
    def behave(asked: Request) -> None:
        asked.headers_out((":status", status), ("content-type", "text/html"))
        asked.data(b"<h1>who are you</h1>", end=True)

    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(raw_upstream(behave))
        for settings, expected in (({}, code), (ANONYMOUS, grpc.StatusCode.UNAVAILABLE)):
            server = stack.enter_context(in_front(models__add__upstreams=f"[{upstream.address}]", **settings))
            stub = stack.enter_context(Stub(server.grpc))
            for _ in range(20):
                with pytest.raises(grpc.RpcError) as raised:
                    stub.infer(request("add", {"x": ROW}))
                assert raised.value.code() is expected
                assert raised.value.details() == (
                    OURS if settings else f"the upstream answered with HTTP status {status}"
                )
            assert (server.metric("modelward_upstream_failures_total") > 0) == bool(settings)
            assert server.metric("modelward_upstream_ejections_total") == 0 or settings


def test_where_clients_credentials_end_here_an_upstream_that_wants_one_refuses_us() -> None:
    with changing(failing(NAMELESS, "who are you"), own=True, **ANONYMOUS) as (server, stub):
        refusal = refused(stub, request("m", {"x": ROW}))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_CREDENTIALS")
        assert server.metric("modelward_refusals_total", reason="UPSTREAM_CREDENTIALS") == 1


@pytest.mark.parametrize(
    ("settings", "code"),
    [({}, NAMELESS), (ANONYMOUS, grpc.StatusCode.UNAVAILABLE)],
    ids=["passed on", "not passed on"],
)
def test_a_question_that_an_upstream_refuses_is_answered_as_a_request_is(
    settings: dict[str, Any], code: grpc.StatusCode
) -> None:
    def nameless(message: bytes, context: grpc.ServicerContext) -> bytes:
        return context.abort(NAMELESS, "send a token")  # raises

    with guarded(Plain(ModelMetadata=nameless, ModelReady=nameless), **settings) as (_, stub):
        with pytest.raises(grpc.RpcError) as raised:
            stub.ask("ModelMetadata", name="plain")
        assert raised.value.code() is code


def test_an_upstream_that_tells_its_models_only_to_clients_with_a_token_has_to_be_configured() -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    peer.secret = True
    with pytest.raises(ProblemsFound, match="does not tell us the list of its models") as found, changing(peer):
        pass
    assert (
        found.value.problems[0].how == "Name its models in the configuration, each with its upstreams: and signature:"
    )


def test_the_fallback_chain_answers_where_an_upstream_refuses_us() -> None:
    fallback = {"models__m__fallback": "[{value: {y: [[7, 7, 7, 7]]}}]"}
    with changing(failing(NAMELESS, "no"), own=True, **fallback, **ANONYMOUS) as (_, stub):
        assert stub.infer(request("m", {"x": ROW})).parameters["modelward_fallback"].string_param == "failure"


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "cookie", "x-my-token"])
def test_what_an_upstream_says_of_a_clients_own_credential_is_the_clients_to_see(name: str) -> None:
    fallback = {"models__m__fallback": "[{value: {y: [[7, 7, 7, 7]]}}]"}
    with changing(failing(NAMELESS, "your token has expired"), own=True, **fallback) as (server, stub):
        with pytest.raises(grpc.RpcError, match="your token has expired"):
            stub.infer(request("m", {"x": ROW}), metadata=((name, "Bearer x"),))
        assert server.metric("modelward_upstream_failures_total") == 0


def test_a_stream_that_an_upstream_refuses_us_says_so_too() -> None:
    access = {"rules": [{"anonymous": True, "models": "*", "methods": ["stream"]}]}
    with changing(failing(DENIED, "no"), own=True, access=access) as (_, stub):
        with pytest.raises(grpc.RpcError, match=OURS) as raised:
            list(stub.stream([request("m", {"x": ROW})]))
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


def test_with_access_an_endpoint_that_does_not_know_us_is_taken_out_and_another_is_asked(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from modelward.access import keys  # noqa: PLC0415 - of this test alone

    key, text = keys.make("alice")
    with keys.editing(tmp_path / "keys.json") as kept:
        kept[key.id] = key
    access = {"keys": str(tmp_path / "keys.json"), "rules": [{"identity": "*", "models": "*"}]}
    refusing, sound = failing(NAMELESS, "who are you"), ModelPeer({"m": {"1": FOUR}})
    with listening(refusing) as (first, _), listening(sound) as (second, _):
        upstreams = {"models__m__upstreams": f"[{first}, {second}]"}
        with in_front(**upstreams, access=access) as server, Stub(server.grpc) as stub:
            for _ in range(40):
                assert stub.infer(request("m", {"x": ROW}), metadata=(("x-api-key", text),)).outputs
            assert server.metric("modelward_upstream_ejections_total", endpoint=first) == 1
