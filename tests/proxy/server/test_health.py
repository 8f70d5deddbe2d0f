from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from modelward.rpc.protocol import message_class
from modelward.server.health import KNOWN_SERVICES, prepared
from modelward.server.readiness import Readiness
from tests.proxy.server.adapter import Served

REQUEST = message_class("grpc.health.v1.HealthCheckRequest")
RESPONSE = message_class("grpc.health.v1.HealthCheckResponse")
UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN = range(4)


def check(channel: grpc.Channel, service: str) -> int:
    ask = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=REQUEST.SerializeToString,
        response_deserializer=RESPONSE.FromString,
    )
    return int(ask(REQUEST(service=service), timeout=10).status)


@contextmanager
def watching(channel: grpc.Channel, service: str) -> Iterator[Any]:
    watch = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=REQUEST.SerializeToString,
        response_deserializer=RESPONSE.FromString,
    )
    stream = watch(REQUEST(service=service), timeout=10)
    try:
        yield stream
    finally:
        stream.cancel()


@pytest.mark.parametrize("ready", [True, False])
def test_prepared_answers_are_the_messages_framed(ready: bool) -> None:
    def framed(message: Any) -> bytes:
        encoded: bytes = message.SerializeToString()
        return struct.pack(">BI", 0, len(encoded)) + encoded

    health = RESPONSE(status="SERVING" if ready else "NOT_SERVING")
    live, able = (message_class(f"inference.Server{kind}Response") for kind in ("Live", "Ready"))
    assert prepared(ready) == {
        b"/grpc.health.v1.Health/Check": {
            REQUEST(service=name).SerializeToString(): framed(health) for name in KNOWN_SERVICES
        },
        b"/inference.GRPCInferenceService/ServerLive": {b"": framed(live(live=True))},
        b"/inference.GRPCInferenceService/ServerReady": {b"": framed(able(ready=ready))},
    }


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService", "grpc.health.v1.Health"])
def test_every_known_service_serves_when_the_server_is_ready(
    channel: grpc.Channel, server: Served, readiness: Readiness, service: str
) -> None:
    assert check(channel, service) == NOT_SERVING
    server.on_loop(readiness.set, True)
    assert check(channel, service) == SERVING


@pytest.mark.parametrize("service", ["fraud", "inference", "x" * 10_000])
def test_check_of_an_unknown_service_is_not_found(channel: grpc.Channel, service: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        check(channel, service)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert len(refused.value.details()) < 200


def test_watch_tells_the_present_state_and_then_each_change(
    channel: grpc.Channel, server: Served, readiness: Readiness
) -> None:
    with watching(channel, "") as stream:
        assert next(stream).status == NOT_SERVING
        server.on_loop(readiness.set, True)
        assert next(stream).status == SERVING
        server.on_loop(readiness.set, False, "draining")
        assert next(stream).status == NOT_SERVING


def test_watch_is_silent_when_nothing_changes(channel: grpc.Channel, server: Served, readiness: Readiness) -> None:
    with watching(channel, "") as stream:
        assert next(stream).status == NOT_SERVING
        server.on_loop(readiness.set, False, "another reason")
        server.on_loop(readiness.set, True)
        assert next(stream).status == SERVING


def test_watch_of_an_unknown_service_says_so_and_stays_open(
    channel: grpc.Channel, server: Served, readiness: Readiness
) -> None:
    with watching(channel, "fraud") as unknown, watching(channel, "") as known:
        assert next(unknown).status == SERVICE_UNKNOWN
        assert next(known).status == NOT_SERVING
        server.on_loop(readiness.set, True)
        assert next(known).status == SERVING
        assert unknown.is_active()


def test_many_watchers_hear_the_same_change(channel: grpc.Channel, server: Served, readiness: Readiness) -> None:
    with watching(channel, "") as first, watching(channel, "inference.GRPCInferenceService") as second:
        assert (next(first).status, next(second).status) == (NOT_SERVING, NOT_SERVING)
        server.on_loop(readiness.set, True)
        assert (next(first).status, next(second).status) == (SERVING, SERVING)
