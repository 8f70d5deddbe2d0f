"""Upstreams that fail, fall silent and come back, as their breakers see them; over real sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from modelward.config.load import load
from modelward.problem import ProblemsFound
from modelward.upstream import connector
from modelward_native.backend.pool import Endpoint
from tests.e2e.messages import Stub, request
from tests.e2e.raw_upstream import HEADERS, Request, raw_upstream
from tests.e2e.test_upstream_control import SIGNATURE
from tests.e2e.test_upstream_faults import ONES, REFUSED_STREAM, behind, beside_a_sound_one, nothing_is_left, refused
from tests.e2e.test_upstreams import ROW, answer, in_front, infer
from tests.support import EmbeddedServer, wait_until


def failing(r: Request) -> None:
    r.headers_out(*HEADERS, ("grpc-status", "13"), end=True)


def codes(server: EmbeddedServer, count: int) -> list[grpc.StatusCode]:
    """Of `count` requests, one after the other."""
    found = []
    with Stub(server.grpc) as stub:
        for _ in range(count):
            try:
                stub.infer(request("add", {"x": ROW}))
                found.append(grpc.StatusCode.OK)
            except grpc.RpcError as error:
                found.append(error.code())
    return found


def shown(server: EmbeddedServer, endpoint: Endpoint) -> str:
    """The breaker's state as the metrics have it."""
    name = "modelward_upstream_breaker_state"
    states = [s for s in ("closed", "half-open", "open") if server.metric(name, endpoint=endpoint.address, state=s)]
    assert len(states) == 1
    return states[0]


# ---- failures


def test_an_upstream_that_fails_two_of_three_is_taken_out_though_never_five_in_a_row() -> None:
    def mostly_failing(r: Request) -> None:
        r.answer() if r.number % 3 == 0 else failing(r)

    with beside_a_sound_one(mostly_failing, breaker="{min_requests: 10}") as server:
        bad, _ = server.application.upstreams
        wait_until(lambda: codes(server, 10) and bad.ejections, "the ejection")
        assert shown(server, bad) == "open"
        assert server.metric("modelward_upstream_ejections_total", endpoint=bad.address) == 1
        assert codes(server, 30) == [grpc.StatusCode.OK] * 30


def test_a_client_whose_requests_fail_has_no_upstream_taken_out_for_the_others() -> None:
    def by_what_is_sent(r: Request) -> None:
        failing(r) if "x-bad" in r.headers else r.answer()

    with behind(by_what_is_sent, trusted_proxies="['127.0.0.1']") as (server, _), Stub(server.grpc) as stub:
        asked, (upstream,) = request("add", {"x": ROW}), server.application.upstreams
        for _ in range(30):
            stub.infer(asked, metadata=[("x-forwarded-for", "10.0.0.1")])
            for _ in range(5):
                with pytest.raises(grpc.RpcError):
                    stub.infer(asked, metadata=[("x-forwarded-for", "10.0.0.2"), ("x-bad", "1")])
        assert (upstream.failures, upstream.ejections) == (150, 0)
        assert upstream.usable


def test_one_trial_brings_an_upstream_back() -> None:
    def failing_at_first(r: Request) -> None:
        failing(r) if r.number < 5 else r.answer()

    with beside_a_sound_one(failing_at_first, breaker="{ejection: 2s}") as server:
        bad, _ = server.application.upstreams
        wait_until(lambda: codes(server, 1) and bad.ejections, "the ejection")
        assert not bad.usable
        wait_until(lambda: bad.state == "half-open", "the end of the ejection")
        assert shown(server, bad) == "half-open"
        assert bad.requests == 5
        assert codes(server, 1) == [grpc.StatusCode.OK]
        assert shown(server, bad) == "closed"
        assert bad.requests == 6


def test_a_trial_that_fails_takes_it_out_for_longer() -> None:
    with beside_a_sound_one(failing, breaker="{ejection: 200ms}") as server:
        bad, _ = server.application.upstreams
        wait_until(lambda: codes(server, 1) and bad.ejections == 3, "three ejections")
        assert bad.requests == 7  # the five that took it out, and two trials


def test_a_cancelled_trial_leaves_the_next_request_to_be_one() -> None:
    def failing_then_hanging(r: Request) -> None:
        if r.number < 5:
            failing(r)
        elif r.number > 5:
            r.answer()

    with beside_a_sound_one(failing_then_hanging, breaker="{ejection: 200ms}") as server, Stub(server.grpc) as stub:
        bad, _ = server.application.upstreams
        wait_until(lambda: codes(server, 1) and bad.ejections, "the ejection")
        wait_until(lambda: bad.state == "half-open", "the end of the ejection")
        trial = stub.future(request("add", {"x": ROW}))
        wait_until(lambda: bad.inflight == 1, "the trial")
        assert codes(server, 10) == [grpc.StatusCode.OK] * 10
        assert bad.requests == 6
        trial.cancel()
        wait_until(lambda: bad.inflight == 0, "its end")
        assert codes(server, 1) == [grpc.StatusCode.OK]
        assert (bad.requests, bad.state) == (7, "closed")


def test_requests_beyond_what_may_be_in_flight_are_refused() -> None:
    held: list[Request] = []
    with behind(held.append, breaker="{max_inflight: 2}") as (server, _), ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(infer, server.grpc) for _ in range(2)]
        wait_until(lambda: len(held) == 2, "both to be on their way")
        error = refused(server)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        for each in held:
            each.answer()
            each.connection.flush()
        assert [answer(each.result()) for each in waiting] == [ONES, ONES]


# ---- silence


class Frozen:
    """A behaviour: once told to, freezes with the next request, and its connection with it, until it is let go."""

    def __init__(self) -> None:
        self.told = threading.Event()
        self.begun = threading.Event()
        self.go = threading.Event()

    def __call__(self, r: Request) -> None:
        if self.told.is_set():
            self.begun.set()
            assert self.go.wait(60)
        r.answer()


@contextlib.contextmanager
def one_freezes(**settings: Any) -> Iterator[tuple[EmbeddedServer, Endpoint, Frozen]]:
    """A pool of two, the first of which freezes with the next request that it is sent."""
    frozen = Frozen()
    with beside_a_sound_one(frozen, **settings) as server:
        first, _ = server.application.upstreams
        with ThreadPoolExecutor(16) as pool:  # enough at a time that both are asked, whichever seems quicker
            wait_until(lambda: list(pool.map(infer, [server.grpc] * 32)) and first.requests >= 20, "its usual pauses")
        frozen.told.set()
        try:
            yield server, first, frozen
        finally:
            frozen.go.set()


def until_it_freezes(server: EmbeddedServer, frozen: Frozen, pool: ThreadPoolExecutor, **options: Any) -> list[Any]:
    """Requests, one after the other, the last of which the frozen endpoint has."""
    calls = []
    while not frozen.begun.is_set():
        calls.append(pool.submit(infer, server.grpc, **options))
        wait_until(lambda: calls[-1].done() or frozen.begun.is_set(), "an answer, or the freezing")
    return calls


def test_a_frozen_upstream_gets_no_more_requests_until_it_stirs() -> None:
    with one_freezes() as (server, first, frozen), ThreadPoolExecutor(1) as pool:
        stuck = until_it_freezes(server, frozen, pool)[-1]
        wait_until(lambda: first.silences, "its silence to be noticed")
        before = first.requests
        assert codes(server, 30) == [grpc.StatusCode.OK] * 30
        assert first.requests == before
        assert first.ejections == first.failures == 0
        assert shown(server, first) == "open"
        assert server.metric("modelward_upstream_silences_total", endpoint=first.address) == 1
        frozen.go.set()
        assert answer(stuck.result()) == ONES
        wait_until(lambda: first.usable, "its return")
        assert shown(server, first) == "closed"


def test_what_a_frozen_upstream_has_is_asked_of_another_where_that_is_wanted() -> None:
    with (
        one_freezes(models__add__retries="{unanswered: true}") as (server, first, frozen),
        ThreadPoolExecutor(1) as pool,
    ):
        assert answer(until_it_freezes(server, frozen, pool)[-1].result(30)) == ONES
        assert not frozen.go.is_set()
        assert first.retries == 1
        assert server.metric("modelward_upstream_retries_total", endpoint=first.address) == 1


def test_a_request_of_a_sequence_is_never_asked_twice() -> None:
    with (
        one_freezes(models__add__retries="{unanswered: true}") as (server, first, frozen),
        Stub(server.grpc) as stub,
    ):
        message = request("add", {"x": ROW}, parameters={"sequence_id": 7})
        calls = []
        while not frozen.begun.is_set():
            calls.append(stub.future(message))
            wait_until(lambda: calls[-1].done() or frozen.begun.is_set(), "an answer, or the freezing")
        wait_until(lambda: first.silences, "its silence to be noticed")
        with pytest.raises(grpc.FutureTimeoutError):
            calls[-1].result(timeout=0.3)
        assert first.retries == 0
        frozen.go.set()
        assert answer(calls[-1].result()) == ONES


@pytest.mark.parametrize("sequence", [0, 7], ids=["single", "of a sequence"])
@pytest.mark.parametrize("signature", [SIGNATURE, "null"], ids=["decoded", "undecoded"])
def test_what_an_upstream_has_answered_with_unavailable_is_not_asked_again_in_a_sequence(
    signature: str, sequence: int
) -> None:
    seen: list[int] = []

    def unavailable(r: Request) -> None:
        seen.append(r.number)
        r.headers_out(*HEADERS, ("grpc-status", "14"), end=True)

    with (
        raw_upstream(unavailable) as first,
        raw_upstream(unavailable) as second,
        in_front([first.address, second.address], models__add__signature=signature) as server,
        Stub(server.grpc) as stub,
    ):
        parameters = {"sequence_id": sequence} if sequence else {}
        with pytest.raises(grpc.RpcError) as error:
            stub.infer(request("add", {"x": ROW}, parameters=parameters))
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        assert len(seen) == (1 if sequence else 3)


def test_a_request_of_a_sequence_that_was_certainly_not_begun_is_asked_of_another() -> None:
    def refusing(r: Request) -> None:
        r.reset(REFUSED_STREAM)

    with beside_a_sound_one(refusing) as server, Stub(server.grpc) as stub:
        message = request("add", {"x": ROW}, parameters={"sequence_id": 7})
        assert [answer(stub.infer(message)) for _ in range(10)] == [ONES] * 10
        first, _ = server.application.upstreams
        assert first.retries >= 1


def test_a_connection_that_is_cut_costs_no_request_where_that_is_wanted() -> None:
    def cut(r: Request) -> None:
        r.connection.close()

    with beside_a_sound_one(cut, models__add__retries="{unanswered: true}") as server:
        assert [answer(infer(server.grpc)) for _ in range(20)] == [ONES] * 20
        bad, _ = server.application.upstreams
        assert bad.failures == bad.retries >= 1


def test_a_slow_upstream_that_answers_pings_stays_in_use() -> None:
    held: list[Request] = []

    def slow_in_the_end(r: Request) -> None:
        r.answer() if r.number < 20 else held.append(r)

    with behind(slow_in_the_end) as (server, _), ThreadPoolExecutor(1) as pool:
        (endpoint,) = server.application.upstreams
        codes(server, 20)
        waiting = pool.submit(infer, server.grpc)
        wait_until(lambda: endpoint.silences, "the question whether it is there")
        wait_until(lambda: endpoint.usable, "its answer")
        held[0].answer()
        held[0].connection.flush()
        assert answer(waiting.result()) == ONES
        assert (endpoint.silences, endpoint.state) == (1, "closed")


def test_a_server_that_accepts_and_says_nothing_is_not_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector, "CONNECT_SECONDS", 2.0)
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        raw_upstream(Request.answer) as sound,
        in_front([f"127.0.0.1:{mute.getsockname()[1]}", sound.address], models__add__signature=SIGNATURE) as server,
    ):
        assert codes(server, 20) == [grpc.StatusCode.OK] * 20
        assert [e.connected for e in server.application.upstreams] == [False, True]
        nothing_is_left(server)


# ---- configuration


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("breaker={ejection: 10s, max_ejection: 5s}", "max_ejection is shorter than ejection"),
        ("breaker={success_rate: 1.5}", "success_rate"),
        ("breaker={max_inflight: 0}", "max_inflight"),
        ("models.add.retries={unanswered: true}", "models.add.retries is set and there are no upstreams"),
    ],
)
def test_a_breaker_that_makes_no_sense_is_a_problem(text: str, finding: str) -> None:
    with pytest.raises(ProblemsFound, match=finding):
        load(sets=[text], environ={})


def test_the_breaker_of_an_only_upstream_stops_no_requests_and_that_shows(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "modelward.upstream")
    with behind(failing) as (server, _):
        (upstream,) = server.application.upstreams
        assert server.metric("modelward_upstream_panic", model="add") == 0
        codes(server, 5)
        assert shown(server, upstream) == "open"
        before = upstream.requests
        codes(server, 3)
        assert upstream.requests == before + 3, "they are tried"
        assert server.metric("modelward_upstream_panic", model="add") == 1
        assert server.metric("modelward_upstream_available") == 0
        wait_until(lambda: "model add: fewer than half" in caplog.text, "a line in the log")


def test_a_pause_whose_ping_is_answered_is_no_warning_and_a_frozen_endpoint_is_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    held: list[Request] = []

    def warned() -> list[str]:
        return [r.getMessage() for r in caplog.records if "no sign of life" in r.getMessage()]

    def slow_in_the_end(r: Request) -> None:
        r.answer() if r.number < 20 else held.append(r)

    with behind(slow_in_the_end) as (server, _), ThreadPoolExecutor(1) as pool:
        (endpoint,) = server.application.upstreams
        codes(server, 20)
        waiting = pool.submit(infer, server.grpc)
        wait_until(lambda: endpoint.silences, "the question whether it is there")
        wait_until(lambda: endpoint.usable, "its answer")
        held[0].answer()
        held[0].connection.flush()
        assert answer(waiting.result()) == ONES
        assert endpoint.unanswered == 0
    with one_freezes() as (server, first, frozen), ThreadPoolExecutor(1) as pool:
        until_it_freezes(server, frozen, pool)
        wait_until(warned, "the warning")
        assert [words.split(": ")[0] for words in warned()] == [f"upstream {first.address}"]
        assert (first.silences, first.unanswered) == (1, 1)
        frozen.go.set()
