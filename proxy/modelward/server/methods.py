"""The table of cold methods, and the one way from a call's bytes to a handler and back.

Cold is everything but ModelInfer and ModelStreamInfer: the data plane looks a path up here when it does not own it,
lends the call and the stream of its messages to `dispatch`, and turns an RpcError into trailers.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import cast

from modelward.models.catalog import Catalog
from modelward.rpc.call import Call, Method, Requests, StreamHandler, UnaryHandler
from modelward.rpc.protocol import (
    HEALTH_SERVICE,
    INFERENCE_SERVICE,
    REFLECTION_SERVICES,
    Code,
    Malformed,
    Message,
    RpcError,
    clip,
    find_descriptors,
    parse,
)
from modelward.server.health import Health
from modelward.server.inference import Inference, Known, at_once
from modelward.server.readiness import Readiness
from modelward.server.reflection import Reflection
from modelward_native.access.identities import PERMITS
from modelward_native.wire.call import Call as NativeCall

# Bytes of one cold request. They hold names only; whatever a handler does with one, its cost is bounded by this.
MAX_REQUEST_BYTES = 64 * 1024
# Health: every client that may connect may ask, since orchestrators have no credentials.
OPEN = 0

log = logging.getLogger("modelward.server")

Send = Callable[[bytes], Awaitable[None]]


def build(catalog: Callable[[], Catalog], readiness: Readiness, known: Known = at_once) -> dict[bytes, Method]:
    """The method table by path, such as b"/inference.GRPCInferenceService/ServerLive".

    catalog: called for every request, since a reload replaces it. known: as Inference has it.
    """
    find_descriptors()  # at once, not at the first question
    inference = Inference(catalog, readiness, known)
    health = Health(readiness)
    table = _rows(
        INFERENCE_SERVICE,
        OPEN,
        ServerLive=inference.server_live,
        ServerReady=inference.server_ready,
        ModelReady=inference.model_ready,
    )
    table |= _rows(
        INFERENCE_SERVICE,
        PERMITS["metadata"],
        ServerMetadata=inference.server_metadata,
        ModelMetadata=inference.model_metadata,
        ModelConfig=inference.model_config,
    )
    table |= _rows(INFERENCE_SERVICE, PERMITS["statistics"], ModelStatistics=inference.model_statistics)
    table |= _rows(INFERENCE_SERVICE, PERMITS["repository"], RepositoryIndex=inference.repository_index)
    table |= _rows(HEALTH_SERVICE, OPEN, Check=health.check)
    table |= _rows(HEALTH_SERVICE, OPEN, response_streaming=True, Watch=health.watch)
    for service in REFLECTION_SERVICES:
        info = Reflection(service.rpartition(".")[0]).info
        both = _rows(
            service, PERMITS["metadata"], request_streaming=True, response_streaming=True, ServerReflectionInfo=info
        )
        table |= both
    return table


def _rows(
    service: str,
    kind: int,
    /,
    *,
    request_streaming: bool = False,
    response_streaming: bool = False,
    **handlers: UnaryHandler | StreamHandler,
) -> dict[bytes, Method]:
    return {
        f"/{service}/{name}".encode(): Method(service, name, request_streaming, response_streaming, handler, kind)
        for name, handler in handlers.items()
    }


class Dispatcher:
    """Runs calls of one method table. Holds no state of any call: a cancelled task leaves nothing behind."""

    def __init__(self, methods: Mapping[bytes, Method]) -> None:
        self.methods = methods
        self.kinds = {path: method.kind for path, method in methods.items()}
        self.streaming = {path for path, method in methods.items() if method.response_streaming}
        self.client_streaming = {path for path, method in methods.items() if method.request_streaming}

    async def dispatch(self, path: bytes, messages: AsyncIterator[bytes], call: Call, send: Send) -> None:
        """Decodes `messages`, runs the handler, and sends each response; returning means status OK.

        `send` may wait (flow control), and a handler makes its next response only afterwards. Raises RpcError: the
        handler's own, UNIMPLEMENTED for an unknown path or a wrong number of requests, INVALID_ARGUMENT for bytes that
        are not the request message, RESOURCE_EXHAUSTED for one over MAX_REQUEST_BYTES, INTERNAL for a bug.
        """
        method = self.methods.get(path)
        if method is None:
            name = clip(path.decode(errors="replace"))
            raise RpcError(Code.UNIMPLEMENTED, f"unknown method {name}", "UNKNOWN_METHOD")
        try:
            await _run(method, messages, call, send)
        except RpcError:
            raise
        except Exception:
            log.exception("%s from %s failed", path.decode(), call.peer)
            raise RpcError(Code.INTERNAL, "internal error; the server's log says more", "INTERNAL") from None

    async def answer(self, call: NativeCall, context: Call | None = None) -> None:
        """Answers a call and ends it with its status. context: what the handler may know, in place of the call."""
        try:
            await self.dispatch(call.path, call, call if context is None else context, call.send)
        except RpcError as error:
            call.finish(int(error.code), error.message, error.reason)
        else:
            call.finish(0)


async def _run(method: Method, messages: AsyncIterator[bytes], call: Call, send: Send) -> None:
    requests: Requests = _decoded(method, messages)
    if not method.request_streaming:
        requests = await _only(requests)
    if method.response_streaming:
        handler = cast(StreamHandler, method.handler)
        # Closed at once when the send fails or the call is cancelled, not when the collector finds the generator.
        async with aclosing(handler(requests, call)) as responses:
            async for response in responses:
                await send(response.SerializeToString())
    else:
        response = await cast(UnaryHandler, method.handler)(requests, call)
        await send(response.SerializeToString())


async def _decoded(method: Method, messages: AsyncIterator[bytes]) -> AsyncGenerator[Message, None]:
    async for message in messages:
        name = method.request.DESCRIPTOR.full_name
        if len(message) > MAX_REQUEST_BYTES:
            raise RpcError(
                Code.RESOURCE_EXHAUSTED,
                f"a {name} of {len(message)} bytes: at most {MAX_REQUEST_BYTES} are read",
                "MESSAGE_TOO_LARGE",
            )
        try:
            decoded = parse(method.request, message)
        except Malformed:
            raise RpcError(Code.INVALID_ARGUMENT, f"not a valid {name} message", "MALFORMED_MESSAGE") from None
        yield decoded


async def _only(requests: AsyncIterator[Message]) -> Message:
    """The one request of a unary call; any other number is UNIMPLEMENTED (grpc/grpc doc/statuscodes.md)."""
    request: Message | None = None
    async for message in requests:
        if request is not None:
            raise RpcError(Code.UNIMPLEMENTED, "this method takes one request message", "REQUEST_CARDINALITY")
        request = message
    if request is None:
        raise RpcError(Code.UNIMPLEMENTED, "the call ended before its request message", "REQUEST_CARDINALITY")
    return request
