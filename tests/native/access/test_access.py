"""Streams that wait for their caller's credential to be checked, and slots that identities give to one another."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np
import pytest

from loadtests.fuzz.simulation import Simulation
from modelward.access.rules import Rules
from modelward.config.access import Rule
from modelward_native.access.access import Access
from modelward_native.access.attempts import Attempt
from modelward_native.limits.limit import Limiter
from modelward_native.region.region import Region
from tests.e2e.h2client import framed
from tests.e2e.messages import request
from tests.native.simulated import INFER, REFLECTION, STREAM_INFER, Client, Start, models, start

__all__ = ["models", "start"]  # fixtures

UNAUTHENTICATED, PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNAVAILABLE = 16, 7, 8, 14
MINUTE_NS = 60 * 10**9
MESSAGE_BYTES = 65_536


class Guarded:
    """A simulated server with a rule for everybody, and the checks that wait for this test to decide them."""

    def __init__(
        self,
        start: Start,
        rules: Iterable[dict[str, object]] = ({"identity": "*", "models": ["*"]},),
        limiter: Limiter | None = None,
        region: Region | None = None,
        **more: int,
    ):
        self.simulation: Simulation = start(limiter or Limiter(1024), region)
        checked = Rules(tuple(map(Rule.model_validate, rules)))
        self.access = Access(self.simulation.server.listener, checked, **more)
        self.attempts: list[Attempt] = []
        self.access.verify = self.attempts.append
        self.simulation.server.guard(self.access)
        self.model = self.simulation.models[0]

    def client(self) -> Client:
        return Client(self.simulation)

    def message(self) -> bytes:
        (name, datatype, shape), *_ = self.model.engine.inputs
        assert datatype == "FP32"
        return request(self.model.name, {name: np.zeros([max(n, 1) for n in shape], np.float32)}).SerializeToString()

    def accept(self, name: str = "somebody") -> None:
        self.attempts.pop(0).accept("jwt", name, time.monotonic_ns() + MINUTE_NS)


def bearer(token: str = "token") -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


def settled(client: Client, stream: int) -> int | None:
    """The status of a stream, None while there is none."""
    client.simulation.settle()
    client.read()
    reply = client.replies[stream]
    return reply.code if reply.over else None


@pytest.mark.parametrize("when", ["before the body", "in the middle of the body", "after the body"])
def test_a_call_goes_on_where_it_waited(start: Start, when: str) -> None:
    guarded = Guarded(start)
    client = guarded.client()
    stream = client.begin(headers=bearer())
    body = framed(guarded.message())
    if when == "before the body":
        guarded.accept()
    client.send(stream, body[:7])
    if when == "in the middle of the body":
        guarded.accept()
    client.send(stream, body[7:], end=True)
    if when == "after the body":
        client.read()
        assert not client.replies[stream].over
        guarded.accept()
    assert settled(client, stream) == 0
    assert client.call(guarded.message(), bearer()).code == 0
    assert not guarded.attempts, "the second time it is known"


def test_an_unknown_caller_sends_no_more_than_a_window_and_it_is_not_read(start: Start) -> None:
    guarded = Guarded(start)
    client = guarded.client()
    stream = client.begin(headers=bearer())
    sent = client.send(stream, framed(b"x" * (1 << 20)))
    assert sent <= 262_144
    assert guarded.simulation.server.totals()["inflight_bytes"] <= 2 * 262_144
    guarded.attempts.pop().reject()
    assert settled(client, stream) == UNAUTHENTICATED
    assert guarded.simulation.server.totals()["inflight_bytes"] == 0


@pytest.mark.parametrize("outcome", ["accept", "reject", "postpone"])
@pytest.mark.parametrize("path", [INFER, STREAM_INFER, REFLECTION])
@pytest.mark.parametrize("gone", ["reset", "the connection is lost", ""])
def test_a_client_that_leaves_meanwhile_leaves_nothing_behind(start: Start, outcome: str, path: str, gone: str) -> None:
    guarded = Guarded(start)
    client = guarded.client()
    stream = client.begin(path, bearer())
    client.send(stream, framed(b"abc"), end=True)
    (attempt,) = guarded.attempts
    assert attempt.wanted
    if gone == "reset":
        client.h2.reset_stream(stream)
        client.flush()
    elif gone:
        client.peer.leave()
    assert attempt.wanted is (not gone)
    if outcome == "accept":
        attempt.accept("jwt", "somebody")
    elif outcome == "reject":
        attempt.reject()
    else:
        attempt.postpone()
    guarded.simulation.settle()
    assert not guarded.access.busy
    assert guarded.simulation.server.totals()["inflight_bytes"] == 0


def test_streams_that_bring_one_credential_wait_for_one_check(start: Start) -> None:
    guarded = Guarded(start)
    clients = [guarded.client() for _ in range(3)]
    streams = [(client, client.infer(guarded.message(), bearer())) for client in clients for _ in range(5)]
    first, last = streams[0], streams[-1]
    for client, stream in (first, last):
        client.h2.reset_stream(stream)
        client.flush()
    guarded.accept()
    assert not guarded.attempts
    assert {settled(client, stream) for client, stream in streams[1:-1]} == {0}


def test_a_check_that_cannot_be_made_is_reported_and_made_again(start: Start) -> None:
    guarded = Guarded(start)
    client = guarded.client()
    stream = client.infer(guarded.message(), bearer())
    guarded.attempts.pop().postpone()
    assert settled(client, stream) == UNAVAILABLE
    stream = client.infer(guarded.message(), bearer())
    guarded.accept()
    assert settled(client, stream) == 0


def test_the_checks_under_way_are_bounded_per_peer(start: Start) -> None:
    guarded = Guarded(start)
    client = guarded.client()
    streams = [client.infer(guarded.message(), bearer(f"token {i}")) for i in range(100)]
    assert len(guarded.attempts) == 64
    client.read()
    assert [client.replies[stream].code for stream in streams[64:]] == [UNAVAILABLE] * 36
    other = Client(guarded.simulation, ("127.0.0.9", 1))
    stream = other.infer(guarded.message(), bearer("other"))
    assert len(guarded.attempts) == 65, "another peer has room of its own"
    while guarded.attempts:
        guarded.accept()
    assert settled(other, stream) == 0
    assert {settled(client, stream) for stream in streams[:64]} == {0}


def test_a_peer_whose_credentials_were_refused_waits_and_the_known_go_on(start: Start) -> None:
    guarded = Guarded(start)
    client = guarded.client()
    good = client.infer(guarded.message(), bearer("good"))
    guarded.accept()
    assert settled(client, good) == 0
    codes = []
    for i in range(130):
        stream = client.infer(guarded.message(), bearer(f"bad {i}"))
        if guarded.attempts:
            guarded.attempts.pop().reject()
        codes.append(settled(client, stream))
    assert codes[:100] == [UNAUTHENTICATED] * 100
    assert codes[-1] == RESOURCE_EXHAUSTED
    assert client.call(guarded.message(), bearer("good")).code == 0


def test_slots_go_round_and_an_identity_in_use_keeps_its_own(start: Start) -> None:
    guarded = Guarded(start, ({"identity": "keep", "models": ["*"]},), identities=4)
    client = guarded.client()
    open_call = client.begin(STREAM_INFER, bearer("keep"))
    guarded.accept("keep")
    client.send(open_call, framed(guarded.message()))
    guarded.simulation.settle()
    for i in range(50):
        stream = client.infer(guarded.message(), bearer(f"passing {i}"))
        guarded.accept(f"passing {i}")
        assert settled(client, stream) == PERMISSION_DENIED
    client.send(open_call, framed(guarded.message()), end=True)
    assert settled(client, open_call) == 0
    assert guarded.access.totals()["identities"] == 4
    # a credential whose identity has lost its slot is checked again, and is never another's
    stream = client.infer(guarded.message(), bearer("passing 0"))
    assert len(guarded.attempts) == 1
    guarded.accept("passing 0")
    assert settled(client, stream) == PERMISSION_DENIED


def test_a_full_table_of_callers_who_are_all_there_takes_no_more(start: Start) -> None:
    guarded = Guarded(start, identities=2)
    client = guarded.client()
    for name in ("a", "b"):
        client.begin(STREAM_INFER, bearer(name))
        guarded.accept(name)
    stream = client.infer(guarded.message(), bearer("c"))
    guarded.accept("c")
    assert settled(client, stream) == UNAVAILABLE


def test_new_rules_hold_for_known_callers_and_open_streams(start: Start) -> None:
    guarded = Guarded(start)
    client = guarded.client()
    open_call = client.begin(STREAM_INFER, bearer())
    guarded.accept()
    client.send(open_call, framed(guarded.message()))
    guarded.simulation.settle()
    client.read()
    before = len(client.replies[open_call].data)
    assert b"may not" not in client.replies[open_call].data
    nobody = Rule.model_validate({"identity": "nobody", "models": ["*"]})
    guarded.access.identities.replace_rules(Rules((nobody,)))
    assert client.call(guarded.message(), bearer()).code == PERMISSION_DENIED
    client.send(open_call, framed(guarded.message()), end=True)
    assert settled(client, open_call) == 0
    assert b"may not" in client.replies[open_call].data[before:]


def test_a_revoked_identity_is_checked_again(start: Start) -> None:
    guarded = Guarded(start)
    client = guarded.client()
    stream = client.infer(guarded.message(), bearer())
    guarded.accept()
    assert settled(client, stream) == 0
    guarded.access.identities.revoke("jwt", "somebody")
    stream = client.infer(guarded.message(), bearer())
    assert len(guarded.attempts) == 1
    guarded.attempts.pop().reject(expired=True)
    assert settled(client, stream) == UNAUTHENTICATED
    assert "expired" in client.replies[stream].message


def test_the_name_of_a_caller_is_never_the_budget_of_an_address(start: Start) -> None:
    limiter = Limiter(1024)
    limiter.set_identity(0.001, 1)
    rules = ({"identity": "*", "models": ["*"]}, {"anonymous": True, "models": ["*"]})
    guarded = Guarded(start, rules, limiter)
    lettered = Client(guarded.simulation, ("97.98.99.100", 1))
    assert [lettered.call(guarded.message()).code for _ in range(2)] == [0, RESOURCE_EXHAUSTED]
    client = guarded.client()
    stream = client.infer(guarded.message(), bearer())
    guarded.accept("abcd")  # the four bytes of that address
    assert settled(client, stream) == 0


def test_rules_that_are_taken_back_end_open_calls_within_a_second(start: Start) -> None:
    guarded = Guarded(start)
    client = guarded.client()
    idle, other = client.begin(STREAM_INFER, bearer()), client.begin(REFLECTION, bearer())
    guarded.accept()
    assert settled(client, idle) is None
    nobody = Rule.model_validate({"identity": "nobody", "models": ["*"]})
    guarded.access.identities.replace_rules(Rules((nobody,)))
    guarded.simulation.loop.advance(1)
    assert [settled(client, stream) for stream in (idle, other)] == [PERMISSION_DENIED] * 2


def test_an_open_call_without_a_credential_ends_when_there_is_no_rule_for_it_any_more(start: Start) -> None:
    guarded = Guarded(start, rules=({"anonymous": True, "models": ["*"]},))
    client = guarded.client()
    idle, busy = client.begin(STREAM_INFER), client.begin(STREAM_INFER)
    client.send(busy, framed(guarded.message()))
    assert settled(client, idle) is None
    nobody = Rule.model_validate({"identity": "nobody", "models": ["*"]})
    guarded.access.identities.replace_rules(Rules((nobody,)))
    client.send(busy, framed(guarded.message()))
    assert settled(client, busy) is None
    assert b"revoked" in client.replies[busy].data
    guarded.simulation.loop.advance(1)
    assert [settled(client, stream) for stream in (idle, busy)] == [UNAUTHENTICATED] * 2
