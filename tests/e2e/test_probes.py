"""Health checks: places and a rate of their own, which no other call takes from them."""

from __future__ import annotations

import contextlib
import time

import numpy as np
import pytest

from tests import models
from tests.conftest import Serve
from tests.e2e.h2client import H2Client, framed
from tests.e2e.messages import request
from tests.support import wait_until

INFERENCE = "/inference.GRPCInferenceService"
WATCH, CHECK = "/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
READY = f"{INFERENCE}/ModelReady"
MODEL = b"\x0a\x03add"  # name: "add"
PROBES = [(CHECK, b""), (f"{INFERENCE}/ServerLive", b""), (f"{INFERENCE}/ServerReady", b""), (READY, MODEL)]
SERVING = b"\x08\x01"
AT_ONCE = 200  # probes of one peer


def watched(client: H2Client, count: int, path: str = WATCH, headers: tuple[tuple[str, str], ...] = ()) -> int:
    """How many of `count` calls are answered with a stream that stays open."""
    streams = [client.begin(path, headers) for _ in range(count)]
    for stream in streams:
        if path == REFLECTION:  # asks for more as long as it likes
            client.send(stream, framed(b"\x3a\x00"))
        else:
            client.send(stream, framed(b""), end=True)
    client.read_until(lambda: all(client.replies[s].messages or client.replies[s].over for s in streams))
    return sum(not client.replies[s].over for s in streams)


@pytest.mark.parametrize("path", [WATCH, REFLECTION])
def test_open_streams_of_eight_peers_keep_no_probe_out_and_leave_room_for_a_ninth(serve: Serve, path: str) -> None:
    server = serve({"add": models.add_one()})
    with contextlib.ExitStack() as stack:
        opened = 0
        for peer in range(8):
            for _ in range(2):
                client = stack.enter_context(H2Client(server.grpc, source=f"127.0.0.{10 + peer}"))
                opened += watched(client, 64, path)
        assert opened > 800
        bystander = stack.enter_context(H2Client(server.grpc, source="127.0.0.100"))
        for probe, message in PROBES:
            assert bystander.call(framed(message), probe).code == 0
        assert bystander.call(framed(b""), f"{INFERENCE}/ServerMetadata").code == 0
        assert watched(bystander, 8, path) == 8


def test_calls_without_a_message_take_no_place(serve: Serve) -> None:
    server = serve({"add": models.add_one()})
    with contextlib.ExitStack() as stack:
        for peer in range(10):
            client = stack.enter_context(H2Client(server.grpc, source=f"127.0.0.{10 + peer}"))
            for i in range(120):
                client.begin((CHECK, READY, f"{INFERENCE}/ServerMetadata")[i % 3])
            assert client.call(framed(MODEL), READY).code == 0
        bystander = stack.enter_context(H2Client(server.grpc, source="127.0.0.100"))
        assert bystander.call(framed(MODEL), READY).code == 0


def test_behind_a_proxy_the_client_that_it_names_counts(serve: Serve) -> None:
    server = serve({"add": models.add_one()}, trusted_proxies="[127.0.0.1/32]")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(H2Client(server.grpc)) for _ in range(3)]
        greedy, other = (("x-forwarded-for", "10.0.0.1"),), (("x-forwarded-for", "10.0.0.2"),)
        assert watched(clients[0], 100, headers=greedy) == 100
        assert watched(clients[1], 100, headers=greedy) == 28
        assert watched(clients[2], 100, headers=other) == 100


def test_what_an_address_sends_otherwise_takes_nothing_from_its_probes(serve: Serve) -> None:
    server = serve({"add": models.add_one()}, limits__peer="{rate: 1/h, burst: 1}")
    body = framed(request("add", {"x": np.ones((1, 4), np.float32)}).SerializeToString())
    with H2Client(server.grpc) as client:
        assert [client.call(body).code for _ in range(20)] == [0] + [8] * 19
        for _ in range(10):
            for probe, message in PROBES:
                assert client.call(framed(message), probe).code == 0


def test_probes_beyond_their_rate_are_paid_for_like_other_calls(serve: Serve) -> None:
    server = serve({"add": models.add_one()}, limits__peer="{rate: 5/s, burst: 1}")
    with H2Client(server.grpc) as client, H2Client(server.grpc, source="127.0.0.2") as other:
        began = time.monotonic()
        replies = [reply for _ in range(10) for reply in client.calls([framed(b"")] * 100, CHECK)]
        seconds = time.monotonic() - began
        answered = sum(reply.code == 0 for reply in replies)
        assert AT_ONCE <= answered <= AT_ONCE + 106 * seconds + 2
        assert {reply.reason for reply in replies if reply.code} == {"PEER_LIMIT"}
        assert other.call(framed(b""), CHECK).code == 0


def test_other_spellings_of_a_probe_and_wrong_ones_are_answered_as_they_were(serve: Serve) -> None:
    server = serve({"add": models.add_one()})
    service = b"\x0a\x1einference.GRPCInferenceService"
    with H2Client(server.grpc) as client:
        for message in (b"", b"\x0a\x00", service):
            assert client.call(framed(message), CHECK).messages == [(False, SERVING)]
        assert client.call(framed(b"\x0a\x03add"), CHECK).code == 5
        # END_STREAM without a message
        assert client.call(b"", CHECK).code == 12
    wait_until(lambda: server.application.server.totals()["inflight_bytes"] == 0, "all bytes to be given back")
