"""Methods of the admin API as rows for modelward.server.methods.Dispatcher, their errors from a closed list."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import Any

from modelward.admin.messages import SERVICE
from modelward.admin.operator import NotNow
from modelward.rpc.call import Method
from modelward.rpc.protocol import Code, Message, RpcError

INTERNAL = "internal error; the server's log says more"

log = logging.getLogger("modelward.admin")

Context = Any  # modelward.admin.server.Context
Unary = Callable[[Message, Context], Awaitable[Message]]
Streaming = Callable[[Message, Context], AsyncIterator[Message]]


def path(name: str) -> bytes:
    return f"/{SERVICE}/{name}".encode()


def unary(name: str, method: Unary) -> Method:
    return Method(SERVICE, name, request_streaming=False, response_streaming=False, handler=_answered(method), kind=0)


def streaming(name: str, method: Streaming) -> Method:
    return Method(SERVICE, name, request_streaming=False, response_streaming=True, handler=_streamed(method), kind=0)


def _answered(method: Unary) -> Unary:
    @wraps(method)
    async def answer(request: Message, context: Context) -> Message:
        try:
            return await method(request, context)
        except Exception as error:  # noqa: BLE001 - a client is not told what it was
            raise _ending(error) from None

    return answer


def _streamed(method: Streaming) -> Callable[[Message, Context], AsyncGenerator[Message, None]]:
    @wraps(method)
    async def answer(request: Message, context: Context) -> AsyncGenerator[Message, None]:
        try:
            async for each in method(request, context):
                yield each
        except Exception as error:  # noqa: BLE001 - a client is not told what it was
            raise _ending(error) from None

    return answer


def _ending(error: Exception) -> RpcError:
    """Status and text of a call that has failed."""
    if isinstance(error, RpcError):
        return error
    if isinstance(error, NotNow):
        return RpcError(Code.FAILED_PRECONDITION, str(error), "NOT_NOW")
    log.error("an admin call failed", exc_info=error)
    return RpcError(Code.INTERNAL, INTERNAL, "INTERNAL")
