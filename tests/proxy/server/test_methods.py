"""Dispatch: bytes to handler and back, and what each kind of failure becomes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.rpc.call import Call, Method
from modelward.rpc.protocol import INFERENCE_SERVICE, Code, Message, RpcError, message_class, pool
from modelward.server.methods import MAX_REQUEST_BYTES, OPEN, Dispatcher, build
from modelward.server.readiness import Readiness
from tests.proxy.server.adapter import AdapterCall
from tests.proxy.server.catalogs import catalog

CALL = AdapterCall("127.0.0.1:50000", {})
METADATA = b"/inference.GRPCInferenceService/ModelMetadata"
WATCH = b"/grpc.health.v1.Health/Watch"
FRAUD = message_class("inference.ModelMetadataRequest")(name="fraud").SerializeToString()


async def stream(*messages: bytes) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


def run(dispatcher: Dispatcher, path: bytes, *messages: bytes) -> list[bytes]:
    sent: list[bytes] = []

    async def send(message: bytes) -> None:
        sent.append(message)

    asyncio.run(dispatcher.dispatch(path, stream(*messages), CALL, send))
    return sent


def refusal(dispatcher: Dispatcher, path: bytes, *messages: bytes) -> RpcError:
    with pytest.raises(RpcError) as refused:
        run(dispatcher, path, *messages)
    return refused.value


def cold() -> Dispatcher:
    return Dispatcher(build(catalog, Readiness()))


def with_handler(handler: Callable[..., Any], *, streaming: bool = False) -> Dispatcher:
    """One method, at METADATA, that runs `handler`."""
    return Dispatcher({METADATA: Method(INFERENCE_SERVICE, "ModelMetadata", False, streaming, handler, OPEN)})


def test_the_table_holds_every_method_but_the_compiled_two() -> None:
    names = sorted(path.decode().rpartition("/")[2] for path in build(catalog, Readiness()))
    assert names == [
        "Check", "ModelConfig", "ModelMetadata", "ModelReady", "ModelStatistics", "RepositoryIndex", "ServerLive",
        "ServerMetadata", "ServerReady", "ServerReflectionInfo", "ServerReflectionInfo", "Watch",
    ]  # fmt: skip


def test_each_method_streams_as_its_descriptor_says() -> None:
    table = build(catalog, Readiness())
    for path, method in table.items():
        described = pool().FindServiceByName(method.service).methods_by_name[method.name]
        assert path.decode() == f"/{method.service}/{method.name}"
        assert method.request_streaming == described.client_streaming
        assert method.response_streaming == described.server_streaming
        assert method.request is message_class(described.input_type.full_name)
    assert table[WATCH].response_streaming


def test_a_unary_call_is_decoded_answered_and_encoded() -> None:
    (answer,) = run(cold(), METADATA, FRAUD)
    assert message_class("inference.ModelMetadataResponse").FromString(answer).name == "fraud"


def test_an_unknown_path_is_unimplemented() -> None:
    error = refusal(cold(), b"/inference.GRPCInferenceService/RepositoryModelLoad", b"")
    assert error.code is Code.UNIMPLEMENTED
    assert "RepositoryModelLoad" in error.message


def test_a_path_that_is_not_text_is_unimplemented_too() -> None:
    assert refusal(cold(), b"/\xff\xfe" * 500, b"").code is Code.UNIMPLEMENTED


@pytest.mark.parametrize("garbage", [b"\xff", FRAUD[:-1], b"\x0a\x02\xff\xfe"], ids=["tag", "truncated", "not UTF-8"])
def test_bytes_that_are_not_the_message_are_an_invalid_argument(garbage: bytes) -> None:
    error = refusal(cold(), METADATA, garbage)
    assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, "MALFORMED_MESSAGE")
    assert error.message == "not a valid inference.ModelMetadataRequest message"


@pytest.mark.parametrize("messages", [(), (FRAUD, FRAUD)], ids=["none", "two"])
def test_a_unary_call_with_any_other_number_of_requests_is_unimplemented(messages: tuple[bytes, ...]) -> None:
    assert refusal(cold(), METADATA, *messages).reason == "REQUEST_CARDINALITY"


def test_a_request_over_the_bound_is_refused_before_it_is_decoded() -> None:
    error = refusal(cold(), METADATA, b"\xff" * (MAX_REQUEST_BYTES + 1))
    assert error.code is Code.RESOURCE_EXHAUSTED


def test_a_bug_in_a_handler_is_internal_and_its_details_stay_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: Message, call: Call) -> Message:
        raise ZeroDivisionError("secret path")

    with caplog.at_level(logging.ERROR):
        error = refusal(with_handler(broken), METADATA, FRAUD)
    assert (error.code, error.message) == (Code.INTERNAL, "internal error; the server's log says more")
    assert "secret path" in caplog.text
    assert "ModelMetadata from 127.0.0.1:50000 failed" in caplog.text


def test_a_handlers_own_error_passes_as_it_is_and_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(request: Message, call: Call) -> Message:
        raise RpcError(Code.NOT_FOUND, "no such thing", "NOTHING")

    error = refusal(with_handler(refuse), METADATA, FRAUD)
    assert (error.code, error.message, error.reason) == (Code.NOT_FOUND, "no such thing", "NOTHING")
    assert not caplog.records


def test_a_cancelled_call_closes_its_handler_at_once() -> None:
    closed = []

    async def endless(request: Message, call: Call) -> AsyncGenerator[Message, None]:
        try:
            yield message_class("inference.ModelMetadataResponse")()
            await asyncio.get_running_loop().create_future()
        finally:
            closed.append(True)

    async def cancelled() -> None:
        first = asyncio.Event()

        async def send(message: bytes) -> None:
            first.set()

        dispatcher = with_handler(endless, streaming=True)
        task = asyncio.create_task(dispatcher.dispatch(METADATA, stream(FRAUD), CALL, send))
        await first.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert closed == [True]

    asyncio.run(cancelled())


def test_a_handler_is_closed_when_its_answer_can_no_longer_be_sent() -> None:
    closed = []

    async def two(request: Message, call: Call) -> AsyncGenerator[Message, None]:
        try:
            yield message_class("inference.ModelMetadataResponse")()
            yield message_class("inference.ModelMetadataResponse")()
        finally:
            closed.append(True)

    async def gone(message: bytes) -> None:
        raise RpcError(Code.CANCELLED, "the client is gone")

    async def call() -> None:
        with pytest.raises(RpcError, match="the client is gone"):
            await with_handler(two, streaming=True).dispatch(METADATA, stream(FRAUD), CALL, gone)
        assert closed == [True]

    asyncio.run(call())


def test_the_next_answer_is_made_only_after_the_last_was_sent() -> None:
    order: list[str] = []

    async def counted(request: Message, call: Call) -> AsyncGenerator[Message, None]:
        for i in range(3):
            order.append(f"made {i}")
            yield message_class("inference.ModelMetadataResponse")()

    async def send(message: bytes) -> None:
        await asyncio.sleep(0)
        order.append("sent")

    asyncio.run(with_handler(counted, streaming=True).dispatch(METADATA, stream(FRAUD), CALL, send))
    assert order == ["made 0", "sent", "made 1", "sent", "made 2", "sent"]


UNARY = sorted(path for path, method in build(catalog, Readiness()).items() if not method.response_streaming)


@given(path=st.sampled_from(UNARY), garbage=st.binary(max_size=200))
def test_no_bytes_make_a_unary_method_fail_internally(path: bytes, garbage: bytes) -> None:
    try:
        run(cold(), path, garbage)
    except RpcError as error:
        assert error.code in (Code.INVALID_ARGUMENT, Code.NOT_FOUND)
