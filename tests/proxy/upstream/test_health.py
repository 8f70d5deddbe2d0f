"""Health checks against real gRPC servers that say one thing or another, or nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import grpc
import pytest

from modelward.config.health import Health
from modelward.config.upstream import parse_upstream
from modelward.rpc.protocol import message_class
from modelward.upstream.channel import open_channel
from modelward.upstream.health import HealthCheck
from modelward_native.backend.pool import Endpoint

HEALTH = "/grpc.health.v1.Health/Check"
READY = "/inference.GRPCInferenceService/ServerReady"
SETTINGS = Health.model_validate({"interval": "60s", "timeout": "5s"})


class Answers(grpc.GenericRpcHandler):
    """Has the methods it is given, each with the bytes it answers."""

    def __init__(self, methods: dict[str, bytes]) -> None:
        self._methods = methods

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        answer = self._methods.get(details.method)
        return None if answer is None else grpc.unary_unary_rpc_method_handler(lambda request, context: answer)


def health(status: int) -> bytes:
    return message_class("grpc.health.v1.HealthCheckResponse")(status=status).SerializeToString()


def ready(is_ready: bool) -> bytes:
    return message_class("inference.ServerReadyResponse")(ready=is_ready).SerializeToString()


@asynccontextmanager
async def check_of(port: int) -> AsyncIterator[tuple[HealthCheck, Endpoint]]:
    address = parse_upstream(f"127.0.0.1:{port}")
    endpoint = Endpoint(address.text, address.authority)
    check = HealthCheck(address, endpoint, SETTINGS)
    try:
        yield check, endpoint
    finally:
        check.close()


def failure(methods: dict[str, bytes]) -> str:
    """What one check finds wrong with a server that has these methods."""
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Answers(methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    async def ask() -> str:
        address = parse_upstream(f"127.0.0.1:{port}")
        async with check_of(port) as (check, _), open_channel(address) as channel:
            return await check.failure(channel)

    try:
        return asyncio.run(ask())
    finally:
        server.stop(None).wait()


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ({HEALTH: health(1)}, ""),
        ({HEALTH: health(2), READY: ready(True)}, "it says that it does not serve"),
        ({READY: ready(True)}, ""),
        ({READY: ready(False)}, "it says that it does not serve"),
        ({}, ""),
    ],
    ids=["serving", "not serving", "ready", "not ready", "neither method"],
)
def test_what_a_server_says_of_itself_is_believed(methods: dict[str, bytes], expected: str) -> None:
    assert failure(methods) == expected


def test_a_server_that_cannot_be_reached_fails_with_the_reason() -> None:
    async def ask() -> str:
        async with check_of(1) as (check, _), open_channel(parse_upstream("127.0.0.1:1")) as channel:
            return await check.failure(channel)

    assert asyncio.run(ask()).startswith("UNAVAILABLE: ")


def judged(results: list[str]) -> list[bool]:
    """Whether the endpoint is healthy after each of the results."""

    async def judge() -> list[bool]:
        states = []
        async with check_of(1) as (check, endpoint):
            for result in results:
                check.judge(result)
                states.append(endpoint.healthy)
        return states

    return asyncio.run(judge())


def test_one_failure_is_forgiven_two_in_a_row_are_not_and_one_success_brings_back() -> None:
    assert judged(["x", "", "x", "x", "x", ""]) == [True, True, True, False, False, True]


def test_each_change_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "modelward.upstream"):
        judged(["why", "why", "why", "why", "", ""])
    assert caplog.messages == [
        "upstream 127.0.0.1:1 is taken out, it fails its health checks: why",
        "upstream 127.0.0.1:1 is healthy again",
    ]
