"""The control plane's own gRPC client: what real servers answer it, and what servers that misbehave do to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded

from modelward.config.upstream import parse_upstream
from modelward.status import Code
from modelward.upstream.channel import CallError, Channel, open_channel
from modelward_native.backend.questions import MOST_BYTES

METHOD = "/inference.GRPCInferenceService/ServerReady"
SECONDS = 10.0

Behaviour = Callable[[H2Connection, int, asyncio.StreamWriter], None]


class Handler(grpc.GenericRpcHandler):
    """One method, and what it does with a request."""

    def __init__(self, answer: Callable[[bytes, grpc.ServicerContext], bytes]) -> None:
        self._answer = answer

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return grpc.unary_unary_rpc_method_handler(self._answer) if details.method == METHOD else None


@contextmanager
def grpc_server(answer: Callable[[bytes, grpc.ServicerContext], bytes], port: int = 0) -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Handler(answer)], options=[("grpc.so_reuseport", 0)])
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield bound
    finally:
        server.stop(None).wait()


@asynccontextmanager
async def h2_server(behave: Behaviour) -> AsyncIterator[int]:
    """behave: called for each request that has come whole."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        h2 = H2Connection(H2Configuration(client_side=False))
        h2.initiate_connection()
        writer.write(h2.data_to_send())
        while not writer.is_closing() and (data := await reader.read(1 << 16)):
            for event in h2.receive_data(data):
                if isinstance(event, StreamEnded):
                    behave(h2, event.stream_id, writer)
                assert not isinstance(event, RequestReceived) or (b"te", b"trailers") in event.headers
            if not writer.is_closing():
                writer.write(h2.data_to_send())

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def channel_to(port: int) -> Channel:
    return open_channel(parse_upstream(f"127.0.0.1:{port}"))


async def call(port: int, message: bytes = b"", seconds: float = SECONDS, path: str = METHOD) -> bytes:
    async with channel_to(port) as channel:
        return await channel.call(path, message, seconds, [("x-header", "value")])


def refused(port: int, **arguments: object) -> CallError:
    with pytest.raises(CallError) as raised:
        asyncio.run(call(port, **arguments))  # type: ignore[arg-type]
    return raised.value


def misbehaved(behave: Behaviour, seconds: float = SECONDS) -> CallError:
    async def ask() -> CallError:
        async with h2_server(behave) as port:
            with pytest.raises(CallError) as raised:
                await call(port, seconds=seconds)
            return raised.value

    return asyncio.run(ask())


@pytest.mark.parametrize("size", [0, 1, 100_000, 1_000_000])
def test_a_message_goes_there_and_back(size: int) -> None:
    seen: dict[str, Any] = {}

    def answer(message: bytes, context: grpc.ServicerContext) -> bytes:
        seen.update(context.invocation_metadata(), remaining=context.time_remaining())
        return message[::-1]

    message = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with grpc_server(answer) as port:
        assert asyncio.run(call(port, message)) == message[::-1]
    assert seen["x-header"] == "value"
    assert 0 < seen["remaining"] <= SECONDS


def test_a_status_comes_with_its_words() -> None:
    def answer(message: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not yet: 10 % ä")
        raise AssertionError

    with grpc_server(answer) as port:
        error = refused(port)
        assert (error.code, error.details) == (Code.FAILED_PRECONDITION, "not yet: 10 % ä")
        assert refused(port, path="/no.Such/Method").code is Code.UNIMPLEMENTED


def test_one_that_does_not_answer_is_not_waited_for() -> None:
    assert misbehaved(lambda h2, stream, writer: None, 0.05).code is Code.DEADLINE_EXCEEDED


def test_one_that_is_not_there_is_unavailable() -> None:
    error = refused(1)
    assert error.code is Code.UNAVAILABLE
    assert "cannot connect" in error.details


def test_a_channel_outlives_its_server() -> None:
    async def ask() -> None:
        with grpc_server(lambda message, context: b"first") as port:
            channel = channel_to(port)
            assert await channel.call(METHOD, b"", SECONDS) == b"first"
        with pytest.raises(CallError) as raised:
            await channel.call(METHOD, b"", SECONDS)
        assert raised.value.code is Code.UNAVAILABLE
        with grpc_server(lambda message, context: b"second", port):
            assert await channel.call(METHOD, b"", SECONDS) == b"second"
        await channel.close()

    asyncio.run(ask())


def test_calls_share_a_connection() -> None:
    peers = set()

    def answer(message: bytes, context: grpc.ServicerContext) -> bytes:
        peers.add(context.peer())
        return message

    async def ask(port: int) -> list[bytes]:
        async with channel_to(port) as channel:
            return await asyncio.gather(*(channel.call(METHOD, bytes([i]), SECONDS) for i in range(20)))

    with grpc_server(answer) as port:
        assert asyncio.run(ask(port)) == [bytes([i]) for i in range(20)]
    assert len(peers) == 1


HEAD = [(":status", "200"), ("content-type", "application/grpc")]
DONE = [("grpc-status", "0")]


def respond(head: list[tuple[str, str]], data: bytes | None, trailers: list[tuple[str, str]] | None) -> Behaviour:
    def behave(h2: H2Connection, stream: int, writer: asyncio.StreamWriter) -> None:
        h2.send_headers(stream, head, end_stream=data is None)
        if data is not None:
            h2.send_data(stream, data, end_stream=trailers is None)
            if trailers is not None:
                h2.send_headers(stream, trailers, end_stream=True)

    return behave


@pytest.mark.parametrize(
    ("behave", "code"),
    [
        (respond([(":status", "503")], None, None), Code.UNAVAILABLE),
        (respond([(":status", "404")], None, None), Code.UNIMPLEMENTED),
        (respond([(":status", "404")], b"<html>no such page", DONE), Code.UNIMPLEMENTED),
        (respond([(":status", "200")], None, None), Code.UNKNOWN),
        (respond([*HEAD, ("grpc-status", "7")], None, None), Code.PERMISSION_DENIED),
        (respond([*HEAD, ("grpc-status", "99")], None, None), Code.UNKNOWN),
        (respond([*HEAD, ("grpc-status", "x")], None, None), Code.UNKNOWN),
        (respond([*HEAD, ("grpc-status", "7" * 5000)], None, None), Code.UNKNOWN),
        (respond(HEAD, b"", DONE), Code.INTERNAL),
        (respond(HEAD, b"\1\0\0\0\1x", DONE), Code.INTERNAL),
        (respond(HEAD, b"\0\0\0\0\2x", DONE), Code.INTERNAL),
        (respond(HEAD, b"\0\0\0\0\0\0\0\0\0\0", DONE), Code.INTERNAL),
        (lambda h2, stream, writer: h2.reset_stream(stream, 7), Code.UNAVAILABLE),
        (lambda h2, stream, writer: h2.reset_stream(stream, 11), Code.RESOURCE_EXHAUSTED),
        (lambda h2, stream, writer: h2.reset_stream(stream, 2), Code.INTERNAL),
        (lambda h2, stream, writer: writer.transport.abort(), Code.UNAVAILABLE),
        (lambda h2, stream, writer: writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Code.UNAVAILABLE),
    ],
)
def test_what_is_no_answer_has_a_status_too(behave: Behaviour, code: Code) -> None:
    assert misbehaved(behave).code is code


def test_an_answer_is_one_message_of_a_bounded_size() -> None:
    with grpc_server(lambda message, context: bytes(MOST_BYTES)) as port:
        assert refused(port).code is Code.RESOURCE_EXHAUSTED
    many = [(f"x-{i}", "y" * 1000) for i in range(100)]
    assert misbehaved(respond([*HEAD, *many], None, None)).code in (Code.RESOURCE_EXHAUSTED, Code.INTERNAL)


def test_a_call_that_is_given_up_leaves_the_connection_to_others() -> None:
    answered = []

    def behave(h2: H2Connection, stream: int, writer: asyncio.StreamWriter) -> None:
        answered.append(stream)
        if len(answered) > 1:
            respond(HEAD, b"\0\0\0\0\1x", DONE)(h2, stream, writer)

    async def ask() -> None:
        async with h2_server(behave) as port, channel_to(port) as channel:
            with pytest.raises(CallError, match="DEADLINE_EXCEEDED"):
                await channel.call(METHOD, b"", 0.05)
            assert await channel.call(METHOD, b"", SECONDS) == b"x"

    asyncio.run(ask())
    assert answered == [1, 3]
